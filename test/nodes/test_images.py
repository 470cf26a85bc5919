"""Every encoding of the table becomes RGB; every kind of broken image is one clear sentence."""

from __future__ import annotations

import array
import zlib

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from stride_ros.errors import FrameError  # noqa: E402
from stride_ros.nodes.images import (  # noqa: E402
    MAX_PIXELS,
    compressed_to_rgb,
    image_to_rgb,
    rgb_to_compressed,
    rgb_to_image,
)

HEIGHT, WIDTH = 48, 64


def smooth_picture() -> np.ndarray:
    """A colour gradient: chroma subsampling and demosaicing change it little."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([40 + 2 * x, 60 + 3 * y, 200 - x - y], axis=-1).astype(np.uint8)


def message(
    encoding: str, rows: np.ndarray, *, padding: int = 0, height: int = HEIGHT, big: int = 0
) -> Image:
    """An Image from rows of bytes (rows, bytes), each followed by `padding` bytes of rubbish."""
    rows = np.concatenate([rows, np.full((len(rows), padding), 255, np.uint8)], axis=1)
    image = Image(encoding=encoding, height=height, width=WIDTH, step=rows.shape[1], is_bigendian=big)
    image.data = array.array("B", rows.tobytes())
    return image


def rows_of(encoding: str, rgb: np.ndarray, big: bool = False) -> np.ndarray:
    """The picture in an encoding, as rows of bytes."""
    alpha = np.full((HEIGHT, WIDTH, 1), 7, np.uint8)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None]
    base, bits = (encoding[:-2], 16) if encoding.endswith("16") else (encoding.removesuffix("8"), 8)
    pixels = {
        "rgb": rgb,
        "bgr": rgb[..., ::-1],
        "rgba": np.concatenate([rgb, alpha], -1),
        "bgra": np.concatenate([rgb[..., ::-1], alpha], -1),
        "mono": grey,
        "8UC1": grey,
        "8UC3": rgb[..., ::-1],
        "8UC4": np.concatenate([rgb[..., ::-1], alpha], -1),
    }[base]
    if bits == 16:
        wide = pixels.astype(np.uint16) * 256 + 77
        return wide.astype(">u2" if big else "<u2").view(np.uint8).reshape(HEIGHT, -1)
    return pixels.reshape(HEIGHT, -1)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "8UC3", "8UC4"])
def test_colour_encodings_are_exact(encoding: str, padding: int) -> None:
    rgb = smooth_picture()
    assert np.array_equal(image_to_rgb(message(encoding, rows_of(encoding, rgb), padding=padding)), rgb)


@pytest.mark.parametrize("big", [0, 1])
@pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16"])
def test_16_bit_colour_keeps_the_high_byte_in_either_byte_order(encoding: str, big: int) -> None:
    rgb = smooth_picture()
    image = message(encoding, rows_of(encoding, rgb, bool(big)), padding=3, big=big)
    assert np.array_equal(image_to_rgb(image), rgb)


@pytest.mark.parametrize(("encoding", "big"), [("mono8", 0), ("8UC1", 0), ("mono16", 0), ("mono16", 1)])
def test_grey_encodings_give_three_equal_channels(encoding: str, big: int) -> None:
    rgb = smooth_picture()
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    out = image_to_rgb(message(encoding, rows_of(encoding, rgb, bool(big)), padding=2, big=big))
    assert np.array_equal(out, np.stack([grey] * 3, -1))


@pytest.mark.parametrize("encoding", ["yuv422_yuy2", "yuyv", "yuv422", "uyvy", "nv12", "nv21"])
def test_yuv_encodings_match_the_picture(encoding: str) -> None:
    rgb = smooth_picture()
    i420 = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    luma = i420[:HEIGHT]
    u, v = (i420[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)[i] for i in (0, 1))
    if encoding.startswith("nv"):
        chroma = np.stack([u, v] if encoding == "nv12" else [v, u], -1).reshape(HEIGHT // 2, WIDTH)
        rows = np.concatenate([luma, chroma])
    else:
        rows = np.empty((HEIGHT, 2 * WIDTH), np.uint8)
        first = 1 if encoding in ("yuv422", "uyvy") else 0
        rows[:, first::2] = luma
        rows[:, 1 - first :: 4] = np.repeat(u, 2, 0)
        rows[:, 3 - first :: 4] = np.repeat(v, 2, 0)
    out = image_to_rgb(message(encoding, rows, padding=6))
    assert np.abs(out.astype(int) - rgb).mean() < 3


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_match_the_picture(pattern: str, bits: int) -> None:
    rgb = smooth_picture()
    mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
    for i, colour in enumerate(pattern):
        mosaic[i // 2 :: 2, i % 2 :: 2] = rgb[i // 2 :: 2, i % 2 :: 2, "rgb".index(colour)]
    rows = mosaic if bits == 8 else (mosaic.astype("<u2") * 256).view(np.uint8).reshape(HEIGHT, -1)
    out = image_to_rgb(message(f"bayer_{pattern}{bits}", rows, padding=4))
    assert np.abs(out.astype(int) - rgb)[2:-2, 2:-2].mean() < 4


def test_last_row_may_lack_its_padding() -> None:
    rgb = smooth_picture()
    image = message("rgb8", rows_of("rgb8", rgb), padding=9)
    image.data = image.data[:-9]
    assert np.array_equal(image_to_rgb(image), rgb)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoding": ""}, "no encoding"),
        ({"encoding": "hal9000"}, "'hal9000' is not known"),
        ({"encoding": "bayer_rggb12"}, "not known"),
        ({"encoding": "16UC1"}, "depth"),
        ({"encoding": "32FC1"}, "depth"),
        ({"width": 0}, "no pixels"),
        ({"height": 0}, "no pixels"),
        ({"height": 4_000_000_000}, f"more than {MAX_PIXELS}"),
        ({"step": 10}, "step is 10"),
        ({"height": HEIGHT + 1}, "cut short"),
        ({"step": 2**32 - 1}, "cut short"),
        ({"encoding": "nv12", "height": HEIGHT - 1}, "even sides"),
        ({"encoding": "yuyv", "width": WIDTH - 1}, "even width"),
        ({"encoding": "bayer_rggb8", "width": 1}, "too small"),
    ],
)
def test_broken_image_is_one_sentence(change: dict[str, object], sentence: str) -> None:
    image = message("rgb8", rows_of("rgb8", smooth_picture()))
    for field, value in change.items():
        setattr(image, field, value)
    with pytest.raises(FrameError, match=sentence) as error:
        image_to_rgb(image)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_compressed_formats_decode(kind: str) -> None:
    rgb = smooth_picture()
    _, data = cv2.imencode(kind, rgb[..., ::-1])
    out = compressed_to_rgb(CompressedImage(format=kind[1:], data=array.array("B", data.tobytes())))
    assert out.shape == rgb.shape
    assert np.abs(out.astype(int) - rgb).mean() < 3


def test_16_bit_grey_png_keeps_the_high_byte() -> None:
    grey = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 20
    _, data = cv2.imencode(".png", grey)
    out = compressed_to_rgb(CompressedImage(format="png", data=array.array("B", data.tobytes())))
    assert np.array_equal(out, np.stack([grey >> 8] * 3, -1))


def test_truncated_jpeg_is_refused() -> None:
    _, data = cv2.imencode(".jpg", smooth_picture())
    half = array.array("B", data.tobytes()[: len(data) // 2])
    with pytest.raises(FrameError, match="damaged"):
        compressed_to_rgb(CompressedImage(format="jpeg", data=half))


@pytest.mark.parametrize(("side", "sentence"), [(9000, f"more than {MAX_PIXELS}"), (4000, "bytes claims")])
def test_compressed_image_is_bounded_before_it_is_decoded(side: int, sentence: str) -> None:
    """A file of 79 bytes whose header claims many pixels costs no memory."""
    _, data = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))
    claims = bytearray(data.tobytes())
    claims[16:24] = side.to_bytes(4, "big") * 2
    claims[29:33] = zlib.crc32(bytes(claims[12:29])).to_bytes(4, "big")
    with pytest.raises(FrameError, match=sentence):
        compressed_to_rgb(CompressedImage(format="png", data=array.array("B", bytes(claims))))


@pytest.mark.parametrize(
    ("data", "image_format", "sentence"),
    [
        (b"", "jpeg", "empty"),
        (b"no picture at all", "jpeg", "damaged or not"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "png", "damaged or not"),
        (b"x", "16UC1; compressedDepth png", "depth"),
    ],
)
def test_broken_compressed_image_is_one_sentence(data: bytes, image_format: str, sentence: str) -> None:
    with pytest.raises(FrameError, match=sentence):
        compressed_to_rgb(CompressedImage(format=image_format, data=array.array("B", data)))


def test_rgb_survives_the_way_through_a_message() -> None:
    rgb, header = smooth_picture(), Header(frame_id="camera")
    image = rgb_to_image(rgb, header)
    assert np.array_equal(image_to_rgb(image), rgb)
    assert image.header.frame_id == "camera"
    jpeg = rgb_to_compressed(rgb, header)
    assert np.abs(compressed_to_rgb(jpeg).astype(int) - rgb).mean() < 3
