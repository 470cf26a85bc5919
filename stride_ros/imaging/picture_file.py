"""Decode picture files (JPEG, PNG, WebP, TIFF, BMP) to arrays, within limits, and encode arrays as JPEG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import FrameError
from stride_ros.imaging import cost, jpeg
from stride_ros.imaging.grey import stretch
from stride_ros.imaging.limits import MAX_PIXELS, check_claim
from stride_ros.imaging.orientation import UPRIGHT, turn_upright

# Each scan of a progressive JPEG file costs a pass over all its pixels; cameras write 1 to 20.
MAX_SCANS = 50
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_EXIF_ORIENTATION = 0x0112
_BLOCK = 1 << 20  # pixels transferred at a time


def encode_jpeg(rgb: NDArray[np.uint8], quality: int = 90) -> bytes:
    """An (H, W, 3) uint8 RGB image as a JPEG file; `quality` 1 to 100."""
    import cv2

    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def read_picture(data: bytes) -> NDArray[np.uint8]:
    """Read a picture file as a viewer shows it: (H, W, 3) uint8 RGB.

    It is turned upright according to its EXIF orientation; 16-bit grey is scaled by the range of its values.

    Raises FrameError beyond the limits, and whatever the parser raises for damaged data.
    """
    pixels, orientation = _read(data)
    if pixels.ndim == 2:
        pixels = np.repeat(as_8_bit(pixels)[:, :, None], 3, axis=2)
    return turn_upright(pixels, orientation)


def as_8_bit(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey pixels (H, W) of a file with 8 bits, scaled by the range of their values if there are more."""
    return grey if grey.dtype == np.uint8 else stretch(grey)


def decode(data: bytes) -> NDArray[Any]:
    """Decode the pixels of a file as stored: (H, W, 3) uint8 RGB, or (H, W) grey, uint8 or uint16.

    Raises FrameError beyond the limits and for floating point pixels, and whatever the parser raises for
    damaged data.
    """
    return _decode_jpeg(data) if data.startswith(jpeg.SIGNATURE) else _decode_any(data)[0]


def _read(data: bytes) -> tuple[NDArray[Any], int]:
    """The pixels and the EXIF orientation that is not yet applied."""
    from PIL import Image as PillowImage

    if not data.startswith(jpeg.SIGNATURE):
        return _decode_any(data)
    pixels = _decode_jpeg(data)
    try:
        with PillowImage.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            return pixels, _orientation(picture)
    except Exception:  # Pillow is stricter, and the picture has been decoded
        return pixels, UPRIGHT


def _decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    import cv2

    info = jpeg.inspect(data)
    check_claim(info.width, info.height, len(data))
    if info.scans > MAX_SCANS:
        raise FrameError(
            f"A JPEG image of {len(data)} bytes has {info.scans} scans, more than {MAX_SCANS}; "
            "check its publisher."
        )
    cost.check_jpeg(info, len(data), twice=info.end is None)
    if info.end is None:
        return _decode_endless_jpeg(data)
    flags = cv2.IMREAD_IGNORE_ORIENTATION
    flags |= cv2.IMREAD_GRAYSCALE if info.components == 1 else cv2.IMREAD_COLOR
    picture: NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(data, np.uint8, info.end), flags)
    if picture is None or picture.shape[:2] != (info.height, info.width):
        raise ValueError("it does not decode")
    if info.components != 1:
        rows = max(1, _BLOCK // info.width)
        for top in range(0, info.height, rows):  # in place, since OpenCV copies its input
            block = picture[top : top + rows]
            cv2.cvtColor(block, cv2.COLOR_BGR2RGB, block)
    return picture


def _decode_endless_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Decode a file without an end marker, which some drivers omit, if the picture is complete."""
    # Pillow, since OpenCV prints a line on stderr for each of them.
    picture, _ = _decode_any(jpeg.with_end(data))
    if not np.array_equal(picture, _decode_any(jpeg.with_canary(data))[0]):
        raise ValueError("it is cut short")
    return picture


def _decode_any(data: bytes) -> tuple[NDArray[Any], int]:
    """Like `_read`, for any format."""
    from PIL import Image as PillowImage

    # Pillow, since OpenCV takes seconds and gigabytes for some damaged files of a hundred bytes.
    cost.check_parts(data)
    try:
        opened = PillowImage.open(io.BytesIO(data), formats=FORMATS)
    except PillowImage.DecompressionBombError as error:  # its own limit is above ours
        raise FrameError(
            f"A compressed image claims more than {MAX_PIXELS} pixels; lower the camera's size."
        ) from error
    with opened as picture:
        width, height = picture.size
        check_claim(width, height, len(data))  # only the header has been read so far
        compression = str(picture.info.get("compression", ""))
        if picture.format != "JPEG":
            kind, mode = str(picture.format), picture.mode
            cost.check_samples(kind, width, height, mode, _raw_mode(picture), compression)
        if picture.format == "TIFF" and "jpeg" in compression:
            raise ValueError("a TIFF file with a JPEG file in it")  # whose scans cannot be counted
        if picture.format == "BMP" and picture.tile[0][0] == "bmp_rle":
            raise ValueError("a BMP file in runs")  # run-length encoded, which Pillow reads byte by byte
        pixels = _samples(picture)
        # Read after loading: some formats have it at their end, and newer versions of Pillow rotate some
        # pictures by it on loading and then no longer report it.
        return pixels, _orientation(picture)


def _samples(picture: Any) -> NDArray[Any]:
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow returns with 16 or 32 bits
        return _pixels(picture, picture.mode, np.uint16)
    if picture.mode == "F":
        raise FrameError(
            "A floating-point picture is a depth or measurement image; use the camera's colour topic."
        )
    return _pixels(picture, "L" if picture.mode == "L" else "RGB", np.uint8)


def _pixels(picture: Any, mode: str, dtype: Any) -> NDArray[Any]:
    """The samples in this mode, read some rows at a time: at once, Pillow takes several times the memory."""
    picture.load()
    pixels = np.empty((picture.height, picture.width, *((3,) if mode == "RGB" else ())), dtype)
    rows = max(1, _BLOCK // picture.width)
    for top in range(0, picture.height, rows):
        part = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        block = np.asarray(part if part.mode == mode else part.convert(mode))
        pixels[top : top + rows] = block if block.dtype == dtype else block.clip(0, 65535)
    return pixels


def _raw_mode(picture: Any) -> str:
    """How the samples are stored, in Pillow's terms, or "" if unknown."""
    return str(picture.tile[0][3]) if picture.tile else ""


def _orientation(picture: Any) -> int:
    try:
        found = picture.getexif().get(_EXIF_ORIENTATION, UPRIGHT)
    except Exception:  # damaged EXIF data raises many types, and the picture was decoded without it
        return UPRIGHT
    return found if isinstance(found, int) else UPRIGHT
