"""Convert decoded video pictures of any pixel format to upright arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import FrameError
from stride_ros.imaging.limits import check_size
from stride_ros.imaging.orientation import UPRIGHT, of_display_matrix, of_rotation, turn_upright

if TYPE_CHECKING:
    from av import VideoFrame


def frame_to_rgb(frame: VideoFrame, orientation: int | None = None) -> NDArray[np.uint8]:
    """A decoded picture as (H, W, 3) uint8 RGB, upright.

    The picture's own display matrix decides its orientation, otherwise `orientation` (EXIF, 1 to 8), which
    the file states for all its pictures. Raises FrameError for sizes and pixel formats that cannot be used.
    """
    check_size(frame.width, frame.height)
    if frame.format.name.startswith("bayer_") and (frame.width % 2 or frame.height % 2):
        raise FrameError(  # FFmpeg would end the process
            f"A Bayer picture needs even sides, not {frame.width}x{frame.height}; check the camera driver."
        )
    try:
        rgb: Any = frame.to_ndarray(format="rgb24")
    except Exception as error:  # av raises its own exceptions and ValueError
        raise FrameError(
            f"A picture of {frame.width}x{frame.height} {frame.format.name} cannot be converted ({error});"
            " convert the video, for example to H.264."
        ) from error
    own = _matrix(frame)
    return turn_upright(rgb, own if own is not None else orientation or UPRIGHT)


def orientation_of(stream: Any) -> int:
    """The EXIF orientation of all pictures of a stream, by its `rotate` tag (degrees clockwise).

    Older files and files that were copied between containers have only the tag; a display matrix comes with
    each picture.
    """
    tags: Mapping[str, str] = stream.metadata
    for name, value in tags.items():
        if name.lower() in ("rotate", "rotation"):
            try:
                return of_rotation(float(value))
            except (ValueError, OverflowError):
                return UPRIGHT
    return UPRIGHT


def _matrix(frame: VideoFrame) -> int | None:
    """The orientation from the picture's display matrix, or None."""
    for data in getattr(frame, "side_data", ()):
        if getattr(data.type, "name", "") == "DISPLAYMATRIX":
            return of_display_matrix(bytes(data))
    return None
