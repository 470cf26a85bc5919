"""Pictures of video files and cameras, decoded by FFmpeg."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import numpy as np

from stride_ros.errors import SourceError


def open_container(name: str, **options: Any) -> Any:
    """Open a container that has a video stream, or raise SourceError with the reason."""
    try:
        import av
    except ImportError as error:
        raise SourceError("Reading videos and cameras needs PyAV; install it with: pip install av") from error
    try:
        container = av.open(name, **options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(_reason(name, error, is_device="format" in options)) from error
    if not container.streams.video:
        container.close()
        raise SourceError(f"{name} has no video stream; choose another file.")
    return container


def _reason(name: str, error: Exception, is_device: bool) -> str:
    code = getattr(error, "errno", None)
    if code == errno.ENOENT:
        return f"{name} does not exist; list the cameras with: ls /dev/video*"
    if code == errno.EBUSY:
        return f"{name} is used by another program; stop that one, or read its ROS topic instead."
    if code in (errno.EACCES, errno.EPERM):
        return f"{name} may not be opened; add your user to the video group, or run with access to it."
    if is_device:
        detail = getattr(error, "strerror", None) or error
        return f"{name} is not a working V4L2 camera ({detail}); try another /dev/videoN."
    return f"{name} is not a readable video; convert it, for example to MP4 with H.264."


def decoded(container: Any, name: str) -> Iterator[tuple[np.ndarray, float]]:
    """Yield pictures (height, width, 3) uint8 RGB with their times (s from the first), never going back."""
    import av

    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    first: float | None = None
    newest = -1.0
    count = 0
    try:
        for frame in container.decode(stream):
            time = frame.time
            if time is None:  # a raw stream without times: the nominal rate is all there is
                time = count / float(stream.average_rate or 25)
            count += 1
            first = time if first is None else first
            if time - first <= newest:
                continue
            newest = time - first
            yield _upright(frame), newest
    except av.error.FFmpegError as error:
        if count == 0:
            raise SourceError(
                f"{name} has no decodable picture; convert it, for example to H.264."
            ) from error
        raise SourceError(f"{name} is damaged after {newest:.1f} s; repair it or cut it there.") from error
    if count == 0:
        raise SourceError(f"{name} has no decodable picture; convert it, for example to H.264.")


def _upright(frame: Any) -> np.ndarray:
    """Return a decoded frame as RGB, turned as its rotation mark says (phones film sideways)."""
    image = frame.to_ndarray(format="rgb24")
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image
