"""Convert image messages to NumPy arrays and back.

This uses NumPy because the C++ cv_bridge crashes under NumPy 2 on Humble and Jazzy; cv_bridge is used only
for encodings that are unknown here, with NumPy 1 and if it can be imported. The encodings are defined in
sensor_msgs/image_encodings.hpp.
"""

from __future__ import annotations

import array
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import FrameError
from stride_ros.imaging import picture_file
from stride_ros.imaging.grey import stretch
from stride_ros.imaging.limits import MAX_PIXELS, check_size
from stride_ros.imaging.packets import codec_of
from stride_ros.imaging.picture_file import MAX_SCANS
from stride_ros.text.wording import counted

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import Header

__all__ = [
    "MAX_PIXELS",
    "MAX_SCANS",
    "compressed_to_rgb",
    "image_to_rgb",
    "rgb_to_compressed",
    "rgb_to_image",
]

# encoding: (bytes per sample, samples per pixel, OpenCV's name of the conversion)
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
# OpenCV names a Bayer pattern by the second and third pixel of the second row, ROS by the first two of the
# first row.
_BAYER = {"rggb": "BG", "bggr": "RG", "gbrg": "GR", "grbg": "GB"}
_YUV422 = {"yuv422_yuy2": "YUY2", "yuyv": "YUY2", "yuv422": "UYVY", "uyvy": "UYVY"}
_YUV420 = {"nv12": "NV12", "nv21": "NV21"}
_SPELLINGS = {
    name.lower(): name
    for name in (
        *_PACKED,
        *_YUV422,
        *_YUV420,
        "nv24",
        *(f"bayer_{pattern}{bits}" for pattern in _BAYER for bits in (8, 16)),
        "16UC1",
        "32FC1",
    )
}
_DEPTH = ("16UC1", "16SC1", "32FC1", "64FC1", "32SC1")


def image_to_rgb(message: Image) -> NDArray[np.uint8]:
    """Return a sensor_msgs/Image as (height, width, 3) uint8 RGB; it may share memory with the message.

    mono16 is scaled by the range of its values (see grey.stretch), 16-bit colour by its high byte. A step of
    0, or of all planes together, counts as that of one plane if the data has the length of the pixels.

    Raises FrameError for an unknown or depth encoding, a size of zero or beyond MAX_PIXELS, or data that is
    shorter than step * height.
    """
    height, width = message.height, message.width
    encoding = _spelt(message.encoding)
    if not encoding:
        raise FrameError("The image has no encoding; set it in the camera driver, for example to rgb8.")
    _refuse_depth(encoding)
    check_size(width, height)
    if encoding in _PACKED:
        return _packed(message, encoding)
    if encoding in _YUV422:
        return _yuv422(message, encoding)
    if encoding in _YUV420:
        return _yuv420(message, encoding)
    if encoding == "nv24":
        return _nv24(message)
    if encoding.startswith("bayer_"):
        return _bayer(message, encoding)
    return _other(message)


def compressed_to_rgb(message: CompressedImage) -> NDArray[np.uint8]:
    """Return a sensor_msgs/CompressedImage (JPEG, PNG, WebP, TIFF, BMP) as (height, width, 3) uint8 RGB.

    `format` may name the original encoding before a semicolon, as image_transport does: depth is refused, and
    a Bayer mosaic that was compressed as such becomes colour. As in image_transport, an EXIF orientation is
    not applied. Raises FrameError for depth images, other formats, data that does not decode, a JPEG file
    with more than MAX_SCANS scans, and sizes beyond MAX_PIXELS.
    """
    original = _spelt(message.format.partition(";")[0])
    if "compressedDepth" in message.format:
        raise FrameError(f"Format '{message.format}' is a depth image; use the camera's colour topic.")
    _refuse_depth(original)
    if codec_of(message.format) not in (None, "mjpeg"):
        raise FrameError(
            f"Format '{message.format[:40]}' is a video packet, which is not a complete image; republish the "
            "topic as raw images with image_transport, or replay a recording of it."
        )
    data = bytes(message.data)
    if not data:
        raise FrameError("The compressed image is empty; check the camera's compression plugin.")
    try:
        pixels = picture_file.decode(data)
    except FrameError:
        raise
    except Exception as error:  # image parsers raise many types on broken data
        raise FrameError(
            f"A compressed image of {counted(len(data), 'byte')} with format '{message.format[:40]}' is "
            f"damaged or not one of {', '.join(picture_file.FORMATS)}; check its publisher, or set "
            "image_transport to raw."
        ) from error
    if pixels.ndim == 3:
        return pixels
    if original.startswith("bayer_"):
        return _demosaic(pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8), original)
    return _recolour(picture_file.as_8_bit(pixels), "GRAY2RGB")


def rgb_to_image(rgb: NDArray[np.uint8], header: Header) -> Image:
    """Return a (height, width, 3) uint8 RGB array as an rgb8 sensor_msgs/Image with this header."""
    from sensor_msgs.msg import Image

    height, width = rgb.shape[:2]
    message = Image(header=header, height=height, width=width, encoding="rgb8", step=3 * width)
    message.data = array.array("B", np.ascontiguousarray(rgb, np.uint8).tobytes())
    return message


def rgb_to_compressed(rgb: NDArray[np.uint8], header: Header, quality: int = 90) -> CompressedImage:
    """Return a (height, width, 3) uint8 RGB array as a JPEG sensor_msgs/CompressedImage with this header."""
    from sensor_msgs.msg import CompressedImage

    message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    message.data = array.array("B", picture_file.encode_jpeg(rgb, quality))
    return message


def _refuse_depth(encoding: str) -> None:
    if encoding in _DEPTH:
        raise FrameError(
            f"Encoding '{encoding}' is a depth or measurement image; use the camera's colour topic"
            + (", or publish thermal images as mono16." if encoding == "16UC1" else ".")
        )


def _rows(message: Image, row_bytes: int, rows: int) -> NDArray[np.uint8]:
    """Return the message's data as (rows, row_bytes) uint8 without the padding of each row."""
    step = message.step
    data = np.frombuffer(message.data, np.uint8)
    planar = _spelt(message.encoding) in (*_YUV420, "nv24")
    if data.size == row_bytes * rows and (
        step == 0 or (planar and step in (row_bytes * 3 // 2, row_bytes * 2, row_bytes * 3))
    ):
        step = row_bytes  # some drivers set it to 0, or count all samples of a pixel
    if step < row_bytes:
        raise FrameError(
            f"Image.step is {step}, but {message.width} {message.encoding} pixels need "
            f"{counted(row_bytes, 'byte')}; check the camera driver."
        )
    needed = step * (rows - 1) + row_bytes  # the last row's padding may be missing
    if data.size < needed:
        raise FrameError(
            f"The image's data is cut short: {data.size} of {counted(step * rows, 'byte')} for "
            f"{message.width}x{message.height} {message.encoding}; check the camera driver."
        )
    return np.lib.stride_tricks.as_strided(data, (rows, row_bytes), (step, 1), writeable=False)


def _spelt(encoding: str) -> str:
    """An encoding in the spelling of sensor_msgs; some drivers write capitals or spaces."""
    encoding = encoding.strip()
    return (
        encoding if encoding in _PACKED or encoding in _DEPTH else _SPELLINGS.get(encoding.lower(), encoding)
    )


def _packed(message: Image, encoding: str) -> NDArray[np.uint8]:
    size, channels, conversion = _PACKED[encoding]
    pixels = _rows(message, message.width * channels * size, message.height)
    pixels = pixels.reshape(message.height, message.width, channels * size)
    if encoding == "mono16":
        grey = np.ascontiguousarray(pixels).view(">u2" if message.is_bigendian else "<u2")
        pixels = stretch(grey.reshape(message.height, message.width))
    elif size == 2:  # the high byte is the 8-bit value
        pixels = np.ascontiguousarray(pixels[:, :, (0 if message.is_bigendian else 1) :: 2])
    return _recolour(pixels, conversion) if conversion else pixels


def _recolour(pixels: NDArray[np.uint8], conversion: str) -> NDArray[np.uint8]:
    """Convert with OpenCV, several times faster than NumPy; `conversion` as in its COLOR_BGR2RGB."""
    import cv2

    converted: NDArray[np.uint8] = cv2.cvtColor(pixels, getattr(cv2, f"COLOR_{conversion}"))
    return converted


def _yuv422(message: Image, encoding: str) -> NDArray[np.uint8]:
    if message.width % 2:
        raise FrameError(
            f"A {message.encoding} image needs an even width, not {message.width}; check the camera driver."
        )
    rows = _rows(message, 2 * message.width, message.height)
    pairs = np.ascontiguousarray(rows).reshape(message.height, message.width, 2)
    return _recolour(pairs, f"YUV2RGB_{_YUV422[encoding]}")


def _yuv420(message: Image, encoding: str) -> NDArray[np.uint8]:
    if message.width % 2 or message.height % 2:
        raise FrameError(
            f"A {message.encoding} image needs even sides, not {message.width}x{message.height}; "
            "check the camera driver."
        )
    planes = _rows(message, message.width, message.height * 3 // 2)
    return _recolour(np.ascontiguousarray(planes), f"YUV2RGB_{_YUV420[encoding]}")


def _nv24(message: Image) -> NDArray[np.uint8]:
    """Convert a plane of Y and one of interleaved U and V, without subsampling; BT.601 like the others."""
    planes = np.ascontiguousarray(_rows(message, message.width, 3 * message.height))
    y, uv = planes[: message.height], planes[message.height :].reshape(message.height, message.width, 2)
    luma = 1.164 * (y.astype(np.float32) - 16)
    u, v = (uv[:, :, i].astype(np.float32) - 128 for i in (0, 1))
    rgb = np.stack([luma + 1.596 * v, luma - 0.392 * u - 0.813 * v, luma + 2.017 * u], axis=2)
    found: NDArray[np.uint8] = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return found


def _bayer(message: Image, encoding: str) -> NDArray[np.uint8]:
    bits = encoding[10:]
    if bits not in ("8", "16"):
        raise _unknown(encoding)
    size = int(bits) // 8
    mosaic = _rows(message, message.width * size, message.height)
    if size == 2:
        mosaic = mosaic[:, (0 if message.is_bigendian else 1) :: 2]
    return _demosaic(mosaic, encoding)


def _demosaic(mosaic: NDArray[np.uint8], encoding: str) -> NDArray[np.uint8]:
    """Colours of an 8-bit mosaic (height, width); `encoding` as in bayer_rggb8."""
    pattern, bits = encoding[6:10], encoding[10:]
    if pattern not in _BAYER or bits not in ("8", "16"):
        raise _unknown(encoding)
    height, width = mosaic.shape
    if width < 2 or height < 2:
        raise FrameError(f"A Bayer image of {width}x{height} is too small; check the camera driver.")
    return _recolour(np.ascontiguousarray(mosaic), f"Bayer{_BAYER[pattern]}2RGB")


def _other(message: Image) -> NDArray[np.uint8]:
    if int(np.__version__.partition(".")[0]) >= 2:
        # Importing a cv_bridge that was built for NumPy 1 would crash the process.
        raise _unknown(message.encoding)
    try:
        from cv_bridge import CvBridge

        rgb: NDArray[np.uint8] = CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")
    except Exception as error:  # it is missing, or does not know the encoding either
        raise _unknown(message.encoding) from error
    if rgb.shape != (message.height, message.width, 3) or rgb.dtype != np.uint8:
        raise _unknown(message.encoding)
    return rgb


def _unknown(encoding: str) -> FrameError:
    known = ", ".join([*list(_PACKED)[:6], *_YUV422, *_YUV420, "nv24", "bayer_*"])
    return FrameError(f"Encoding '{encoding[:40]}' is not supported; publish one of {known}.")
