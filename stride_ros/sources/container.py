"""Open video files and cameras with FFmpeg, and choose the stream to use."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from stride_ros.errors import SourceError

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

# A stream that is marked as the default wins over others with up to this many more pixels, as in FFmpeg.
_DEFAULT_BONUS = 5_000_000


def open_container(name: str, **options: Any) -> InputContainer:
    """Open a container that has a video stream, or raise SourceError with the reason.

    `options` with a format are for a device; anything opened without them must be a regular file, since
    FFmpeg would wait forever for a pipe and read a device endlessly.
    """
    if "format" not in options and os.path.exists(name) and not os.path.isfile(name):
        raise SourceError(f"{name} is not a regular file; give the path of a video.")
    try:
        import av
    except ImportError as error:
        raise SourceError("Reading videos and cameras needs PyAV; install it with: pip install av") from error
    try:
        container: InputContainer = av.open(name, **options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(_reason(name, error, is_device="format" in options)) from error
    if not _moving(container):
        cover = ", only a cover picture" if container.streams.video else ""
        container.close()
        raise SourceError(f"{name} has no video stream{cover}; choose another file.")
    if not _decodable(container):
        container.close()
        raise SourceError(f"{name} has a video that FFmpeg cannot decode; convert it, for example to H.264.")
    return container


def choose_stream(container: InputContainer) -> VideoStream:
    """The stream that a player shows: the default one, otherwise the largest, otherwise the first.

    Cover pictures, thumbnails and streams that cannot be decoded are not considered.
    """

    def rank(stream: VideoStream) -> int:
        pixels = (stream.codec_context.width or 0) * (stream.codec_context.height or 0)
        return pixels + (_DEFAULT_BONUS if _marked(stream, "default") else 0)

    return max(_decodable(container), key=rank)


def streams_note(container: InputContainer, name: str) -> str:
    """A note on which of several video streams is used; empty if there is only one."""
    found = _moving(container)
    if len(found) < 2:
        return ""
    chosen = choose_stream(container)
    size = f"{chosen.codec_context.width}x{chosen.codec_context.height}"
    return f"{name} has {len(found)} video streams; stream {chosen.index} ({size}) is used."


def _moving(container: InputContainer) -> list[VideoStream]:
    return [
        stream
        for stream in container.streams.video
        if not _marked(stream, "attached_pic") and not _marked(stream, "timed_thumbnails")
    ]


def _decodable(container: InputContainer) -> list[VideoStream]:
    return [stream for stream in _moving(container) if stream.codec_context is not None]


def _marked(stream: VideoStream, name: str) -> bool:
    disposition = getattr(stream, "disposition", None)  # missing before PyAV 14
    return disposition is not None and bool(disposition & getattr(type(disposition), name))


def _reason(name: str, error: Exception, is_device: bool) -> str:
    code = getattr(error, "errno", None)
    if code == errno.ENOENT:
        return f"{name} does not exist; list the cameras with: ls /dev/video*"
    if code == errno.EBUSY:
        return f"{name} is used by another program; stop that program, or read its ROS topic instead."
    if code in (errno.EACCES, errno.EPERM):
        if not is_device:
            return f"{name} cannot be read (Permission denied); check its permissions."
        return (
            f"{name} cannot be opened without permission; add your user to the video group, or run with "
            "access to it."
        )
    if is_device:
        detail = getattr(error, "strerror", None) or error
        return f"{name} is not a working V4L2 camera ({detail}); try another /dev/videoN."
    return f"{name} is not a readable video; convert it, for example to MP4 with H.264."
