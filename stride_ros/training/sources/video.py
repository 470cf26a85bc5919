"""Video files as training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import SourceError

_SEEK_AHEAD = 4.0  # s; decoding on is quicker than seeking when the next frame is this near


class VideoFile:
    """One video file (see recording.Video); times in s from its first frame.

    `until` (s) leaves out what follows. SourceError when it cannot be read.
    """

    def __init__(self, path: Path, until: float | None = None) -> None:
        self.path, self.name = path, str(path)
        if not path.is_file():
            raise SourceError(f"The video {path} does not exist; check the video root.")
        with _open(path) as container:
            stream = container.streams.video[0]
            length = (
                stream.duration * stream.time_base if stream.duration else (container.duration or 0) / 1e6
            )
            frames = next(container.decode(stream), None)
            if frames is None or not length:
                raise SourceError(f"The video {path} holds no frames; copy or convert it again.")
            self.rate = float(stream.average_rate or 1)
            self.height, self.width = frames.height, frames.width
        last = max(0.0, float(length) - 1.0 / self.rate)
        self.start, self.end = 0.0, last if until is None else min(until, last)

    def read(self, times: Sequence[float]) -> tuple[list[NDArray[np.uint8]], list[float]]:
        """The first frame at or after each of `times` (s)."""
        images: list[NDArray[np.uint8]] = []
        found: list[float] = []
        try:
            with _open(self.path) as container:
                stream = container.streams.video[0]
                origin = float((stream.start_time or 0) * stream.time_base)
                half = 0.5 / self.rate
                frames = container.decode(stream)
                position = 0.0
                for time in times:
                    if time > position + _SEEK_AHEAD:
                        container.seek(int((time + origin) / stream.time_base), stream=stream)
                        frames = container.decode(stream)
                    for frame in frames:
                        position = float(frame.time) - origin
                        if position >= time - half:
                            images.append(frame.to_ndarray(format="rgb24"))
                            found.append(position)
                            break
        except SourceError:
            raise
        except Exception as error:  # av raises a family of its own, the system's and ValueError
            raise SourceError(
                f"The video {self.path} does not decode ({error}); copy or convert it again."
            ) from error
        if not images:
            raise SourceError(f"The video {self.path} has no frames at {times[0]:.1f} s; check its labels.")
        return images, found


def _open(path: Path) -> Any:
    import av

    try:
        container = av.open(str(path))
    except Exception as error:
        raise SourceError(
            f"The video {path} cannot be opened ({error}); copy or convert it again."
        ) from error
    if not container.streams.video:
        container.close()
        raise SourceError(f"{path} has no video stream; give a video file.")
    return container
