"""Costly pictures are refused by their headers, before anything is decoded."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from stride_ros.errors import FrameError
from stride_ros.imaging.grey import stretch
from stride_ros.imaging.picture_file import decode, read_picture

cv2 = pytest.importorskip("cv2")
PillowImage = pytest.importorskip("PIL.Image")


def jpeg(width: int, height: int, *, size: int, progressive: bool = False, scans: int = 0) -> bytes:
    """A small JPEG file whose header claims a size, filled up to `size` bytes with zeros."""
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    data = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8), options)[1].tobytes()
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    data = data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]
    data = data[:-2] + scans * data[data.rfind(b"\xff\xda") : -2]
    return data + bytes(max(0, size - len(data) - 2)) + b"\xff\xd9"


def png(width: int, height: int, depth: int, colour: int, chunks: int = 1) -> bytes:
    """A PNG file of zeros without most of its rows, in so many chunks."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(bytes(100_000)))] + [(b"IDAT", b"")] * (chunks - 1) + [(b"IEND", b"")]
    file = b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts
    )
    return b"\x89PNG\r\n\x1a\n" + file


@pytest.mark.parametrize(
    "data",
    [
        jpeg(7680, 4320, size=60_000_000, progressive=True),
        jpeg(7680, 4320, size=200_000, progressive=True, scans=39),
        jpeg(7680, 4320, size=300_000_000),
        jpeg(7900, 7900, size=100_000),
        jpeg(7900, 4320, size=100_000, progressive=True),
    ],
    ids=["many bytes", "many scans", "too many bytes for any", "too large", "too large for its coefficients"],
)
def test_jpeg_that_costs_too_much_is_refused(data: bytes) -> None:
    with pytest.raises(
        FrameError, match=r"would take too long or too much memory.*turn off progressive JPEG\."
    ):
        decode(data)


@pytest.mark.parametrize(("depth", "colour"), [(8, 2), (8, 4), (8, 6), (16, 2), (16, 6), (16, 0), (16, 4)])
def test_png_that_costs_too_much_is_refused(depth: int, colour: int) -> None:
    with pytest.raises(
        FrameError, match=r"A PNG image of 7900x7900 pixels would take too long.*publish JPEG\."
    ):
        decode(png(7900, 7900, depth, colour) + bytes(40_000))


@pytest.mark.parametrize(("depth", "colour"), [(8, 2), (8, 6), (16, 2), (16, 0)])
def test_a_4k_camera_is_not_refused(depth: int, colour: int) -> None:
    channels = {0: 1, 2: 3, 6: 4}[colour]
    picture = np.zeros((2160, 3840, channels), np.uint16 if depth == 16 else np.uint8)
    data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    assert read_picture(data).shape == (2160, 3840, 3)


@pytest.mark.parametrize(
    ("suffix", "channels", "depth"), [(".png", 3, 8), (".png", 1, 16), (".tiff", 3, 8), (".bmp", 3, 8)]
)
def test_a_camera_of_24_megapixels_may_save_without_loss(suffix: str, channels: int, depth: int) -> None:
    picture = np.zeros((4000, 6000, channels), np.uint16 if depth == 16 else np.uint8)
    data = cv2.imencode(suffix, picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    assert decode(data).shape == (4000, 6000, 3)[: 2 if channels == 1 else 3]


def test_a_picture_of_a_folder_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would do it again to look for an orientation."""
    from PIL.PngImagePlugin import PngImageFile

    begun = []
    prepare = PngImageFile.load_prepare
    monkeypatch.setattr(PngImageFile, "load_prepare", lambda self: (begun.append(self), prepare(self)))
    read_picture(cv2.imencode(".png", np.zeros((40, 30, 3), np.uint8))[1].tobytes())
    assert len(begun) == 1


def test_bmp_in_runs_is_refused() -> None:
    """Reading them takes seconds for a megapixel."""
    rows = (bytes((2, 7)) * 8 + b"\0\0") * 16 + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, 16, 16, 1, 8, 1, len(rows), 0, 0, 256, 0)
    file = struct.pack("<IHHI", 1078 + len(rows), 0, 0, 1078) + head + bytes(1024) + rows
    with pytest.raises(ValueError, match="in runs"):
        decode(b"BM" + file)


def test_webp_of_many_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="many pictures"):
        decode(b"RIFF\0\0\0\0WEBP" + bytes(60_000_000))


def test_pictures_in_absurdly_many_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="too many chunks"):
        decode(png(16, 16, 8, 2, chunks=60_000))
    file = io.BytesIO()
    PillowImage.fromarray(np.zeros((60_000, 1), np.uint8)).save(file, "TIFF")
    data = bytearray(file.getvalue())
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(f"{order}I", data, 4)[0]
    for number in range(struct.unpack_from(f"{order}H", data, at)[0]):
        entry = at + 2 + 12 * number
        if struct.unpack_from(f"{order}H", data, entry)[0] == 273:  # StripOffsets
            struct.pack_into(f"{order}I", data, entry + 4, 60_000)
    with pytest.raises(ValueError, match="too many strips"):
        decode(bytes(data))


@pytest.mark.parametrize("shape", [(2000, 3000), (1, 6_000_000), (6_000_000, 1)])
def test_grey_of_16_bits_takes_little_more_memory_than_its_levels(shape: tuple[int, int]) -> None:
    grey = np.arange(6_000_000, dtype=np.uint32).astype(np.uint16).reshape(shape)
    tracemalloc.start()
    levels = stretch(grey)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert levels.shape == shape
    assert peak < 4 * grey.size  # 1 for each level, and blocks of a million with their indices
