"""What decoding a picture may cost, told by its header: more than a robot has to spare is refused before it.

The figures are upper ones of a core at 2.5 GHz that does other work too, measured by tools/build_pictures.py.
"""

from __future__ import annotations

import struct

from stride_ros.errors import FrameError
from stride_ros.imaging.jpeg import JpegInfo

MAX_SECONDS = 2.0  # of processor time
MAX_MEMORY = 300_000_000  # bytes beside the file
MAX_WEBP = 50_000_000  # bytes of a WebP file, whose library copies all of it, twice
_MAX_PARTS = 50_000  # chunks of a PNG file, and strips or tiles of a TIFF file; each costs some time
_NS = 1e-9

# Bytes of a sample of all channels as a file has it, where they are not 3; with 16 bits twice as many.
_SAMPLE = {"1": 1, "L": 1, "P": 1, "LA": 2, "PA": 2, "RGBA": 4, "RGBX": 4, "CMYK": 4, "F": 4}
_HELD = {"1": 1, "L": 1, "P": 1}  # Pillow's bytes a pixel, where they are not 4
# ns for each byte of samples: the slowest filters and compressions of each format.
_PACE = {"PNG": 20.0, "TIFF": 14.0, "BMP": 8.0, "WEBP": 40.0}
_TABLES = 8_000_000  # bytes of a JPEG decoder beside the picture
_BLOCKS = 20_000_000  # bytes for what is converted at a time
_STRIPS, _TILES = 273, 324  # tags of TIFF: where the parts of the picture are


def check_jpeg(info: JpegInfo, size: int, *, twice: bool = False) -> None:
    """Refuse a JPEG file of `size` bytes that is too costly; `twice`: it has to be decoded twice."""
    pixels = info.width * info.height
    if info.buffered:
        seconds = (15 + 1.1 * info.scans) * _NS * pixels + 50 * _NS * size
        memory = max(6, 3 + 2 * info.components) * pixels + _TABLES  # all coefficients are kept
    else:
        seconds = 10 * _NS * pixels + 8 * _NS * size
        memory = 6 * pixels + _TABLES  # OpenCV hands out a copy
    if info.arithmetic:
        seconds *= 4
    if twice:
        seconds, memory = 2 * seconds, memory + 7 * pixels
    if seconds > MAX_SECONDS or memory > MAX_MEMORY:
        raise FrameError(
            f"A JPEG image of {info.width}x{info.height} pixels with {info.scans} scans would take too long "
            "or too much memory to decode; lower the camera's size, or turn progressive JPEG off."
        )


def check_samples(kind: str, width: int, height: int, mode: str, raw_mode: str, compression: str) -> None:
    """Refuse another picture by its size and by Pillow's names of its samples and their compression."""
    pixels = width * height
    grey16 = mode.startswith("I")
    deep = ";16" in raw_mode and not grey16
    samples = pixels * (2 if grey16 else _SAMPLE.get(mode, 3) * (1 + deep))
    pace = 40.0 if compression == "lzma" else _PACE.get(kind, 40.0)
    extra = 70 if mode == "LAB" else 12 if grey16 else 0  # to convert a pixel, or find its range
    seconds = (pace * samples + extra * pixels) * _NS
    held = 2 if mode.startswith("I;16") else _HELD.get(mode, 4)
    # What is given out a pixel, and what with the 8-bit colour that is made of it.
    given, shown = (2, 6) if grey16 else (1, 4) if mode == "L" else (3, 3)
    # A TIFF file may be one strip, which its library unpacks as a whole.
    memory = max((held + given) * pixels + (samples if kind == "TIFF" else 0), shown * pixels)
    memory = 6 * samples if kind == "WEBP" else memory + _BLOCKS
    if seconds > MAX_SECONDS or memory > MAX_MEMORY:
        raise FrameError(
            f"A {kind} image of {width}x{height} pixels would take too long or too much memory to decode; "
            "lower the camera's size, or publish JPEG."
        )


def check_parts(data: bytes) -> None:
    """Raise ValueError for a file in more parts than any writer makes."""
    if data.startswith(b"\x89PNG"):
        at = 8
        for _ in range(_MAX_PARTS):
            if at + 8 > len(data):
                return
            at += 12 + int.from_bytes(data[at : at + 4], "big")
        raise ValueError("it has too many chunks")
    if data[8:12] == b"WEBP" and len(data) > MAX_WEBP:
        raise ValueError("a WebP file of many pictures")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        if data[:4] in (b"II+\0", b"MM\0+"):
            raise ValueError("BigTIFF, for files of gigabytes")
        return
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (entries,) = struct.unpack_from(f"{order}H", data, at)
        for number in range(entries):
            tag, _, count = struct.unpack_from(f"{order}HHI", data, at + 2 + 12 * number)
            if tag in (_STRIPS, _TILES) and count > _MAX_PARTS:
                raise ValueError("it has too many strips")
    except struct.error:
        return  # the parser says what is wrong
