"""Estimate from its header what decoding a picture costs, and refuse what is too costly for a robot.

The figures are upper bounds for a 2.5 GHz core that also does other work, measured with
tools/build_pictures.py.
"""

from __future__ import annotations

import struct

from stride_ros.errors import FrameError
from stride_ros.imaging.jpeg import JpegInfo

MAX_SECONDS = 2.0  # of processor time
MAX_MEMORY = 300_000_000  # bytes in addition to the file
MAX_WEBP = 50_000_000  # bytes of a WebP file, which its library copies twice
_MAX_PARTS = 50_000  # chunks of a PNG file, and strips or tiles of a TIFF file; each costs some time
_NS = 1e-9

# Bytes per pixel in the file, if not 3; with 16 bits, twice as many.
_SAMPLE = {"1": 1, "L": 1, "P": 1, "LA": 2, "PA": 2, "RGBA": 4, "RGBX": 4, "CMYK": 4, "F": 4}
_HELD = {"1": 1, "L": 1, "P": 1}  # Pillow's bytes per pixel, if not 4
# ns per byte of samples, for the slowest filters and compressions of each format.
_PACE = {"PNG": 20.0, "TIFF": 14.0, "BMP": 8.0, "WEBP": 40.0}
_TABLES = 8_000_000  # bytes of a JPEG decoder in addition to the picture
_BLOCKS = 20_000_000  # bytes for the part converted at a time
_STRIPS, _TILES = 273, 324  # TIFF tags for the locations of the picture's parts


def check_jpeg(info: JpegInfo, size: int, *, twice: bool = False) -> None:
    """Refuse a JPEG file of `size` bytes that is too costly to decode; `twice`: if decoded twice."""
    pixels = info.width * info.height
    if info.buffered:
        seconds = (15 + 1.1 * info.scans) * _NS * pixels + 50 * _NS * size
        memory = max(6, 3 + 2 * info.components) * pixels + _TABLES  # all coefficients are kept
    else:
        seconds = 10 * _NS * pixels + 8 * _NS * size
        memory = 6 * pixels + _TABLES  # OpenCV returns a copy
    if info.arithmetic:
        seconds *= 4
    if twice:
        seconds, memory = 2 * seconds, memory + 7 * pixels
    if seconds > MAX_SECONDS or memory > MAX_MEMORY:
        raise FrameError(
            f"A JPEG image of {info.width}x{info.height} pixels with {info.scans} scans would take too long "
            "or too much memory to decode; lower the camera's size, or turn off progressive JPEG."
        )


def check_samples(kind: str, width: int, height: int, mode: str, raw_mode: str, compression: str) -> None:
    """Refuse a picture in another format by its size and Pillow's names of its samples and compression."""
    pixels = width * height
    grey16 = mode.startswith("I")
    deep = ";16" in raw_mode and not grey16
    samples = pixels * (2 if grey16 else _SAMPLE.get(mode, 3) * (1 + deep))
    pace = 40.0 if compression == "lzma" else _PACE.get(kind, 40.0)
    extra = 70 if mode == "LAB" else 12 if grey16 else 0  # to convert a pixel, or find its range
    seconds = (pace * samples + extra * pixels) * _NS
    held = 2 if mode.startswith("I;16") else _HELD.get(mode, 4)
    # Bytes per pixel of the result, and including the 8-bit colour made from it.
    given, shown = (2, 6) if grey16 else (1, 4) if mode == "L" else (3, 3)
    # A TIFF file may be a single strip, which its library unpacks as a whole.
    memory = max((held + given) * pixels + (samples if kind == "TIFF" else 0), shown * pixels)
    memory = 6 * samples if kind == "WEBP" else memory + _BLOCKS
    if seconds > MAX_SECONDS or memory > MAX_MEMORY:
        raise FrameError(
            f"A {kind} image of {width}x{height} pixels would take too long or too much memory to decode; "
            "lower the camera's size, or publish JPEG."
        )


def check_parts(data: bytes) -> None:
    """Raise ValueError for a file with more parts than any writer makes."""
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
        return  # the parser reports the error
