"""Every encoding of the table becomes RGB; every kind of broken image is one clear sentence."""

from __future__ import annotations

import array
import io
import zlib

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from stride_ros.errors import FrameError  # noqa: E402
from stride_ros.imaging.images import (  # noqa: E402
    MAX_PIXELS,
    MAX_SCANS,
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


@pytest.mark.parametrize(("encoding", "big"), [("mono8", 0), ("8UC1", 0)])
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


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "8UC1", "8UC3", "8UC4"])
def test_last_row_may_lack_its_padding(encoding: str) -> None:
    whole = message(encoding, rows_of(encoding, smooth_picture()), padding=9)
    image = message(encoding, rows_of(encoding, smooth_picture()), padding=9)
    image.data = image.data[:-9]
    assert np.array_equal(image_to_rgb(image), image_to_rgb(whole))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (5, 3), (33, 17)])
@pytest.mark.parametrize(
    ("encoding", "channels", "order"),
    [
        ("rgb8", 3, (0, 1, 2)),
        ("bgr8", 3, (2, 1, 0)),
        ("rgba8", 4, (0, 1, 2)),
        ("bgra8", 4, (2, 1, 0)),
        ("mono8", 1, (0, 0, 0)),
        ("8UC1", 1, (0, 0, 0)),
        ("8UC3", 3, (2, 1, 0)),
        ("8UC4", 4, (2, 1, 0)),
    ],
)
def test_any_size_and_step_is_exact(
    encoding: str, channels: int, order: tuple[int, ...], size: tuple[int, int]
) -> None:
    """Odd sizes, rows that begin at odd addresses, and pixels that differ in every byte."""
    width, height = size
    pixels = np.random.default_rng(width).integers(0, 256, (height, width * channels), np.uint8)
    for padding in (0, 1, 13):
        image = message(encoding, pixels, padding=padding, height=height)
        image.width = width
        expected = pixels.reshape(height, width, channels)[:, :, order]
        assert np.array_equal(image_to_rgb(image), expected)


def test_a_step_that_the_driver_left_out_is_that_of_the_pixels() -> None:
    rgb = smooth_picture()
    image = message("rgb8", rows_of("rgb8", rgb))
    image.step = 0
    assert np.array_equal(image_to_rgb(image), rgb)


@pytest.mark.parametrize("step", [WIDTH, WIDTH * 3 // 2, WIDTH * 2, 0])
@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_the_step_of_a_planar_image_may_count_all_planes(encoding: str, step: int) -> None:
    y, x = np.mgrid[0 : HEIGHT * 3 // 2, 0:WIDTH]
    image = message(encoding, (y + x).astype(np.uint8))
    expected = image_to_rgb(image)
    image.step = step
    assert np.array_equal(image_to_rgb(image), expected)


def test_nv24_has_a_colour_for_each_pixel() -> None:
    rgb = smooth_picture()
    yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)  # of which the luma is used
    r, g, b = (rgb[..., i].astype(float) for i in range(3))
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    colours = np.stack([u, v], axis=-1).round().astype(np.uint8).reshape(2 * HEIGHT, WIDTH)
    image = message("nv24", np.concatenate([yuv[:HEIGHT], colours]))
    assert np.abs(image_to_rgb(image).astype(int) - rgb).max() <= 3


@pytest.mark.parametrize("spelt", ["RGB8", "rgb8 ", " Rgb8"])
def test_encodings_are_known_in_other_spellings(spelt: str) -> None:
    rgb = smooth_picture()
    assert np.array_equal(image_to_rgb(message(spelt, rows_of("rgb8", rgb))), rgb)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"encoding": ""}, "no encoding"),
        ({"encoding": "hal9000"}, "'hal9000' is not supported"),
        ({"encoding": "bayer_rggb12"}, "not supported"),
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


RANGES = {  # the values of a picture, and what is expected of the grey levels
    "thermal": (7_000, 8_000, 0, 255),
    "whole": (0, 65_535, 0, 255),
    "above the middle": (40_000, 60_000, 0, 255),
    "flat": (9_000, 9_050, 0, 50),  # noise is not blown up
}


def ramp(low: int, high: int) -> np.ndarray:
    return np.linspace(low, high, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("kind", ["raw", "raw, big-endian", "png", "tiff"])
def test_16_bit_grey_is_shown_by_the_range_of_its_values(kind: str, name: str) -> None:
    low, high, darkest, brightest = RANGES[name]
    grey = ramp(low, high)
    if kind.startswith("raw"):
        big = kind != "raw"
        rows = grey.astype(">u2" if big else "<u2").view(np.uint8)
        out = image_to_rgb(message("mono16", rows, padding=3, big=int(big)))
    else:
        data = cv2.imencode(f".{kind}", grey)[1].tobytes()
        out = compressed_to_rgb(compressed(data, f"mono16; {kind} compressed "))
    assert out.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(out[..., 0], out[..., 1])
    assert np.array_equal(out[..., 0], out[..., 2])
    expected = darkest + (grey.astype(float) - low) * (brightest - darkest) / (high - low)
    assert np.abs(out[..., 0] - expected).max() <= 2


def test_dead_pixels_do_not_darken_a_thermal_picture() -> None:
    grey = ramp(7_000, 8_000)
    clean = image_to_rgb(message("mono16", grey.view(np.uint8)))
    grey[0, 0], grey[3, 5] = 0, 65_535
    out = image_to_rgb(message("mono16", grey.view(np.uint8)))
    assert (
        np.abs(np.delete(out.reshape(-1, 3).astype(int) - clean.reshape(-1, 3), [0, 3 * WIDTH + 5], 0)).max()
        <= 2
    )


def compressed(data: bytes, image_format: str = "jpeg") -> CompressedImage:
    return CompressedImage(format=image_format, data=array.array("B", data))


def noisy_picture() -> np.ndarray:
    """A picture that goes on changing to its last pixel."""
    noise = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return cv2.GaussianBlur(noise, (3, 3), 0)


def encoded(kind: str, picture: np.ndarray, *options: int) -> bytes:
    return bytes(cv2.imencode(kind, picture, options)[1].tobytes())


PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTS = (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)


@pytest.mark.parametrize("options", [(), PROGRESSIVE, RESTARTS])
@pytest.mark.parametrize("picture", [noisy_picture(), noisy_picture()[:, :, 0]])
@pytest.mark.parametrize("end", [b"", b"\xff", b"\0" * 500, b"\xff\xd9\0\0\0", b"\xff\xd9\xff\xda" * 99])
def test_jpeg_is_shown_when_its_picture_is_whole(
    options: tuple[int, ...], picture: np.ndarray, end: bytes
) -> None:
    """Some drivers leave the end marker out, cut it, or send the rest of their buffer too."""
    data = encoded(".jpg", picture, *options)
    assert data.endswith(b"\xff\xd9")
    expected = compressed_to_rgb(compressed(data))
    assert np.array_equal(compressed_to_rgb(compressed(data[:-2] + end)), expected)


@pytest.mark.parametrize("options", [(), PROGRESSIVE, RESTARTS])
@pytest.mark.parametrize("left", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("filling", [b"", b"\0" * 500])
def test_jpeg_that_is_cut_short_is_refused(options: tuple[int, ...], left: float, filling: bytes) -> None:
    data = encoded(".jpg", noisy_picture(), *options)
    with pytest.raises(FrameError, match="damaged"):
        compressed_to_rgb(compressed(data[: int(left * len(data))] + filling))


@pytest.mark.parametrize("end", [b"\xff\xd9", b""])
def test_jpeg_with_hundreds_of_scans_is_refused_before_it_is_decoded(end: bytes) -> None:
    """Each scan costs a pass over all pixels: a few kilobytes could take minutes."""
    data = encoded(".jpg", noisy_picture(), *PROGRESSIVE)
    last_scan = data[data.rfind(b"\xff\xda") : -2]
    assert compressed_to_rgb(compressed(data[:-2] + 3 * last_scan + end)).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(FrameError, match=f"scans, more than {MAX_SCANS}"):
        compressed_to_rgb(compressed(data[:-2] + MAX_SCANS * last_scan + end))


def test_jpeg_inside_a_tiff_file_is_refused() -> None:
    """Its scans cannot be counted."""
    from PIL import Image as PillowImage
    from PIL import features

    if not features.check("libtiff"):
        pytest.skip("Pillow has no libtiff")
    file = io.BytesIO()
    PillowImage.fromarray(noisy_picture()).save(file, "TIFF", compression="jpeg")
    with pytest.raises(FrameError, match="damaged or not"):
        compressed_to_rgb(compressed(file.getvalue(), "tiff"))


def test_exif_orientation_is_not_applied() -> None:
    """As in image_transport: what the camera sends is what is seen."""
    from PIL import Image as PillowImage

    exif = PillowImage.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    file = io.BytesIO()
    PillowImage.fromarray(smooth_picture()).save(file, "JPEG", exif=exif, quality=95)
    out = compressed_to_rgb(compressed(file.getvalue()))
    assert out.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(out.astype(int) - smooth_picture()).mean() < 3


@pytest.mark.parametrize("codec", ["png", "jpeg", "tiff"])
@pytest.mark.parametrize("encoding", ["16UC1", "16SC1", "32FC1"])
def test_compressed_depth_is_refused_as_raw_depth_is(encoding: str, codec: str) -> None:
    data = encoded(f".{codec}", np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8))
    with pytest.raises(FrameError, match=f"'{encoding}' is a depth"):
        compressed_to_rgb(compressed(data, f"{encoding}; {codec} compressed "))


def test_floating_point_picture_is_refused_as_depth() -> None:
    data = encoded(".tiff", np.ones((HEIGHT, WIDTH), np.float32))
    with pytest.raises(FrameError, match="depth"):
        compressed_to_rgb(compressed(data, "tiff"))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", [".png", ".jpg", ".tiff"])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_compressed_mosaic_becomes_colour(pattern: str, kind: str, bits: int) -> None:
    """A Bayer mosaic that was compressed as it is: `format` names the pattern."""
    rgb = smooth_picture()
    mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
    for i, colour in enumerate(pattern):
        mosaic[i // 2 :: 2, i % 2 :: 2] = rgb[i // 2 :: 2, i % 2 :: 2, "rgb".index(colour)]
    if bits == 16 and kind != ".jpg":
        mosaic = mosaic.astype(np.uint16) * 256 + 9
    data = encoded(kind, mosaic, *((cv2.IMWRITE_JPEG_QUALITY, 100) if kind == ".jpg" else ()))
    out = compressed_to_rgb(compressed(data, f"bayer_{pattern}{bits}; {kind[1:]} compressed "))
    assert np.abs(out.astype(int) - rgb)[2:-2, 2:-2].mean() < 4


def test_mosaic_that_became_colour_before_it_was_compressed_stays() -> None:
    data = encoded(".jpg", smooth_picture()[:, :, ::-1])
    out = compressed_to_rgb(compressed(data, "bayer_rggb8; jpeg compressed bgr8"))
    assert np.abs(out.astype(int) - smooth_picture()).mean() < 3


@pytest.mark.parametrize(("side", "sentence"), [(9000, f"more than {MAX_PIXELS}"), (4000, "bytes claims")])
def test_compressed_image_is_bounded_before_it_is_decoded(side: int, sentence: str) -> None:
    """A file of 79 bytes whose header claims many pixels costs no memory."""
    _, data = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))
    claims = bytearray(data.tobytes())
    claims[16:24] = side.to_bytes(4, "big") * 2
    claims[29:33] = zlib.crc32(bytes(claims[12:29])).to_bytes(4, "big")
    with pytest.raises(FrameError, match=sentence):
        compressed_to_rgb(CompressedImage(format="png", data=array.array("B", bytes(claims))))


@pytest.mark.parametrize(("side", "sentence"), [(9000, f"more than {MAX_PIXELS}"), (4000, "bytes claims")])
@pytest.mark.parametrize("end", [-2, None])
def test_jpeg_is_bounded_before_it_is_decoded(side: int, sentence: str, end: int | None) -> None:
    data = encoded(".jpg", smooth_picture())
    at = data.index(b"\xff\xc0") + 5
    with pytest.raises(FrameError, match=sentence):
        compressed_to_rgb(compressed((data[:at] + side.to_bytes(2, "big") * 2 + data[at + 4 :])[:end]))


@pytest.mark.parametrize(
    ("data", "image_format", "sentence"),
    [
        (b"", "jpeg", "empty"),
        (b"no picture at all", "jpeg", "damaged or not"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "png", "damaged or not"),
        (b"\xff\xd8damaged", "jpeg", "damaged or not"),
        (b"\xff\xd8\xff", "jpeg", "damaged or not"),
        (b"\xff\xd8\xff\xd9", "jpeg", "damaged or not"),
        (b"\xff\xd8\xff\xe0\0\2" * 9999, "jpeg", "damaged or not"),
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


@pytest.mark.parametrize("image_format", ["h264", "hevc", "av1", "libx264;yuv420p;bgr8"])
def test_a_video_packet_is_told_from_an_image(image_format: str) -> None:
    with pytest.raises(FrameError, match="is a video packet, which is not a complete image; republish"):
        compressed_to_rgb(compressed(b"\0\0\0\1\x67", image_format))


def test_16_bit_depth_names_the_encoding_for_thermal_images() -> None:
    with pytest.raises(FrameError, match="publish thermal images as mono16"):
        image_to_rgb(message("16UC1", ramp(7_000, 8_000).view(np.uint8)))
