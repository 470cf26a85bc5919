"""Image messages to NumPy arrays and back.

Done with NumPy because the C++ cv_bridge crashes under NumPy 2 on Humble and Jazzy; cv_bridge is used, with
NumPy 1 and where it imports, only for an encoding that is not known here. What the encodings mean:
sensor_msgs/image_encodings.hpp.
"""

from __future__ import annotations

import array
import io
from typing import TYPE_CHECKING

import numpy as np

from stride_ros.errors import FrameError
from stride_ros.imaging import jpeg
from stride_ros.text.wording import counted

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import Header

# Larger claims are refused before anything is allocated for them (an 8K frame has 33 million pixels).
MAX_PIXELS = 64_000_000
# Each scan of a progressive JPEG file costs a pass over all its pixels; cameras make 1 to 20.
MAX_SCANS = 50
# A compressed camera image has fewer pixels than this for each byte; a file that claims far more is damaged,
# or made to fill the memory.
_PIXELS_A_BYTE, _FREE_PIXELS = 2000, 4_000_000

# encoding: (bytes a sample, samples a pixel, OpenCV's name of the conversion)
_PACKED = {
    "rgb8": (1, 3, ""),
    "bgr8": (1, 3, "BGR2RGB"),
    "rgba8": (1, 4, "RGBA2RGB"),
    "bgra8": (1, 4, "BGRA2RGB"),
    "mono8": (1, 1, "GRAY2RGB"),
    "rgb16": (2, 3, ""),
    "bgr16": (2, 3, "BGR2RGB"),
    "rgba16": (2, 4, "RGBA2RGB"),
    "bgra16": (2, 4, "BGRA2RGB"),
    "mono16": (2, 1, "GRAY2RGB"),
    # Bare OpenCV types: one channel is grey, three and four are in OpenCV's order.
    "8UC1": (1, 1, "GRAY2RGB"),
    "8UC3": (1, 3, "BGR2RGB"),
    "8UC4": (1, 4, "BGRA2RGB"),
}
# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first row's first two.
_BAYER = {"rggb": "BG", "bggr": "RG", "gbrg": "GR", "grbg": "GB"}
_YUV422 = {"yuv422_yuy2": "YUY2", "yuyv": "YUY2", "yuv422": "UYVY", "uyvy": "UYVY"}
_YUV420 = {"nv12": "NV12", "nv21": "NV21"}
_DEPTH = ("16UC1", "16SC1", "32FC1", "64FC1", "32SC1")
_COMPRESSED_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")


def image_to_rgb(message: Image) -> np.ndarray:
    """Return a sensor_msgs/Image as (height, width, 3) uint8 RGB; it may share memory with the message.

    Raises FrameError for an unknown or depth encoding, a size of zero or beyond MAX_PIXELS, or data that is
    shorter than step * height.
    """
    encoding, height, width = message.encoding, message.height, message.width
    if not encoding:
        raise FrameError("The image has no encoding; set it in the camera driver, for example to rgb8.")
    _refuse_depth(encoding)
    _check_size(width, height)
    if encoding in _PACKED:
        return _packed(message)
    if encoding in _YUV422:
        return _yuv422(message)
    if encoding in _YUV420:
        return _yuv420(message)
    if encoding.startswith("bayer_"):
        return _bayer(message)
    return _other(message)


def compressed_to_rgb(message: CompressedImage) -> np.ndarray:
    """Return a sensor_msgs/CompressedImage (JPEG, PNG, WebP, TIFF, BMP) as (height, width, 3) uint8 RGB.

    `format` may name the original encoding before a semicolon, as image_transport does: depth is refused, a
    Bayer mosaic that was compressed as it is becomes colour. As there, an EXIF orientation is not applied.
    Raises FrameError for depth images, other formats, data that does not decode, a JPEG file with more than
    MAX_SCANS scans, and sizes beyond MAX_PIXELS.
    """
    original = message.format.partition(";")[0].strip()
    if "compressedDepth" in message.format:
        raise FrameError(f"Format '{message.format}' is a depth image; use the camera's colour topic.")
    _refuse_depth(original)
    data = bytes(message.data)
    if not data:
        raise FrameError("The compressed image is empty; check the camera's compression plugin.")
    try:
        pixels = _decode_jpeg(data) if data.startswith(jpeg.SIGNATURE) else _decode_file(data)
    except FrameError:
        raise
    except Exception as error:  # image parsers raise many types on broken data
        raise FrameError(
            f"A compressed image of {counted(len(data), 'byte')} with format '{message.format[:40]}' is "
            f"damaged or not one of {', '.join(_COMPRESSED_FORMATS)}; check its publisher, or use "
            "image_transport: raw."
        ) from error
    if pixels.ndim == 3:
        return pixels
    if original.startswith("bayer_"):
        return _demosaic(pixels, original)
    return _recolour(pixels, "GRAY2RGB")


def rgb_to_image(rgb: np.ndarray, header: Header) -> Image:
    """Return a (height, width, 3) uint8 RGB array as an rgb8 sensor_msgs/Image with this header."""
    from sensor_msgs.msg import Image

    height, width = rgb.shape[:2]
    message = Image(header=header, height=height, width=width, encoding="rgb8", step=3 * width)
    message.data = array.array("B", np.ascontiguousarray(rgb, np.uint8).tobytes())
    return message


def rgb_to_compressed(rgb: np.ndarray, header: Header, quality: int = 90) -> CompressedImage:
    """Return a (height, width, 3) uint8 RGB array as a JPEG sensor_msgs/CompressedImage with this header."""
    import cv2
    from sensor_msgs.msg import CompressedImage

    _, data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    message.data = array.array("B", data.tobytes())
    return message


def _refuse_depth(encoding: str) -> None:
    if encoding in _DEPTH:
        raise FrameError(
            f"Encoding '{encoding}' is a depth or measurement image; use the camera's colour topic."
        )


def _check_size(width: int, height: int) -> None:
    if width == 0 or height == 0:
        raise FrameError(f"The image is {width}x{height}, so it has no pixels; check the camera driver.")
    if width * height > MAX_PIXELS:
        raise FrameError(
            f"The image claims {width}x{height} pixels, more than {MAX_PIXELS}; lower the camera's size."
        )


def _check_claim(width: int, height: int, size: int) -> None:
    _check_size(width, height)
    if width * height > _FREE_PIXELS + _PIXELS_A_BYTE * size:
        raise FrameError(
            f"A compressed image of {counted(size, 'byte')} claims {width}x{height} pixels; check its "
            "publisher."
        )


def _decode_jpeg(data: bytes) -> np.ndarray:
    """Return the picture, (height, width, 3) RGB or (height, width) grey; Exception when it is damaged."""
    import cv2

    info = jpeg.inspect(data)
    _check_claim(info.width, info.height, len(data))
    if info.scans > MAX_SCANS:
        raise FrameError(
            f"A JPEG image of {len(data)} bytes has {info.scans} scans, more than {MAX_SCANS}; "
            "check its publisher."
        )
    if info.end is None:
        return _decode_endless_jpeg(data)
    flags = cv2.IMREAD_IGNORE_ORIENTATION
    flags |= cv2.IMREAD_GRAYSCALE if info.components == 1 else cv2.IMREAD_COLOR
    picture = cv2.imdecode(np.frombuffer(data, np.uint8, info.end), flags)
    if picture is None or picture.shape[:2] != (info.height, info.width):
        raise ValueError("it does not decode")
    return picture if info.components == 1 else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, picture)


def _decode_endless_jpeg(data: bytes) -> np.ndarray:
    """The same for a file without an end marker, which some drivers leave out: is the picture whole?"""
    # Pillow, as OpenCV prints a line on stderr for each of them.
    picture = _decode_file(jpeg.with_end(data))
    if not np.array_equal(picture, _decode_file(jpeg.with_canary(data))):
        raise ValueError("it is cut short")
    return picture


def _decode_file(data: bytes) -> np.ndarray:
    """Return a picture in any of the formats, (height, width, 3) RGB or (height, width) grey, 8 bits."""
    from PIL import Image as PillowImage

    # Pillow, as OpenCV takes seconds and gigabytes for some damaged files of a hundred bytes.
    with PillowImage.open(io.BytesIO(data), formats=_COMPRESSED_FORMATS) as picture:
        _check_claim(*picture.size, len(data))  # only the header has been read so far
        if picture.format == "TIFF" and "jpeg" in str(picture.info.get("compression")):
            raise ValueError("a TIFF file with a JPEG file in it")  # its scans cannot be counted
        if picture.mode.startswith("I"):  # 16-bit grey
            return (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        if picture.mode == "F":
            _refuse_depth("32FC1")
        return np.asarray(picture if picture.mode == "L" else picture.convert("RGB"))


def _rows(message: Image, row_bytes: int, rows: int) -> np.ndarray:
    """Return the message's data as (rows, row_bytes) uint8 without the padding of each row."""
    step = message.step
    if step < row_bytes:
        raise FrameError(
            f"Image.step is {step}, but {message.width} {message.encoding} pixels need "
            f"{counted(row_bytes, 'byte')}; check the camera driver."
        )
    needed = step * (rows - 1) + row_bytes  # the last row's padding may be left out
    data = np.frombuffer(message.data, np.uint8)
    if data.size < needed:
        raise FrameError(
            f"The image's data is cut short: {data.size} of {counted(step * rows, 'byte')} for "
            f"{message.width}x{message.height} {message.encoding}; check the camera driver."
        )
    return np.lib.stride_tricks.as_strided(data, (rows, row_bytes), (step, 1), writeable=False)


def _packed(message: Image) -> np.ndarray:
    size, channels, conversion = _PACKED[message.encoding]
    pixels = _rows(message, message.width * channels * size, message.height)
    pixels = pixels.reshape(message.height, message.width, channels * size)
    if size == 2:  # the high byte is the 8-bit value
        pixels = np.ascontiguousarray(pixels[:, :, (0 if message.is_bigendian else 1) :: 2])
    return _recolour(pixels, conversion) if conversion else pixels


def _recolour(pixels: np.ndarray, conversion: str) -> np.ndarray:
    """Convert with OpenCV, several times faster than NumPy; `conversion` as in its COLOR_BGR2RGB."""
    import cv2

    return cv2.cvtColor(pixels, getattr(cv2, f"COLOR_{conversion}"))


def _yuv422(message: Image) -> np.ndarray:
    import cv2

    if message.width % 2:
        raise FrameError(
            f"A {message.encoding} image needs an even width, not {message.width}; check the camera driver."
        )
    rows = _rows(message, 2 * message.width, message.height)
    pairs = np.ascontiguousarray(rows).reshape(message.height, message.width, 2)
    return cv2.cvtColor(pairs, getattr(cv2, f"COLOR_YUV2RGB_{_YUV422[message.encoding]}"))


def _yuv420(message: Image) -> np.ndarray:
    import cv2

    if message.width % 2 or message.height % 2:
        raise FrameError(
            f"A {message.encoding} image needs even sides, not {message.width}x{message.height}; "
            "check the camera driver."
        )
    planes = _rows(message, message.width, message.height * 3 // 2)
    return cv2.cvtColor(
        np.ascontiguousarray(planes), getattr(cv2, f"COLOR_YUV2RGB_{_YUV420[message.encoding]}")
    )


def _bayer(message: Image) -> np.ndarray:
    bits = message.encoding[10:]
    if bits not in ("8", "16"):
        raise _unknown(message.encoding)
    size = int(bits) // 8
    mosaic = _rows(message, message.width * size, message.height)
    if size == 2:
        mosaic = mosaic[:, (0 if message.is_bigendian else 1) :: 2]
    return _demosaic(mosaic, message.encoding)


def _demosaic(mosaic: np.ndarray, encoding: str) -> np.ndarray:
    """Colours of an 8-bit mosaic (height, width); `encoding` as in bayer_rggb8."""
    pattern, bits = encoding[6:10], encoding[10:]
    if pattern not in _BAYER or bits not in ("8", "16"):
        raise _unknown(encoding)
    height, width = mosaic.shape
    if width < 2 or height < 2:
        raise FrameError(f"A Bayer image of {width}x{height} is too small; check the camera driver.")
    return _recolour(np.ascontiguousarray(mosaic), f"Bayer{_BAYER[pattern]}2RGB")


def _other(message: Image) -> np.ndarray:
    if int(np.__version__.partition(".")[0]) >= 2:
        # Importing a cv_bridge that was built for NumPy 1 would crash the process.
        raise _unknown(message.encoding)
    try:
        from cv_bridge import CvBridge

        rgb = CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")
    except Exception as error:  # it is missing, or it does not know the encoding either
        raise _unknown(message.encoding) from error
    if rgb.shape != (message.height, message.width, 3) or rgb.dtype != np.uint8:
        raise _unknown(message.encoding)
    return rgb


def _unknown(encoding: str) -> FrameError:
    known = ", ".join([*list(_PACKED)[:6], *_YUV422, *_YUV420, "bayer_*"])
    return FrameError(f"Encoding '{encoding[:40]}' is not known; publish one of {known}.")
