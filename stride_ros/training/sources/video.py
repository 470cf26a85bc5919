"""Video files as training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import FrameError, SourceError
from stride_ros.sources.pictures import ReadingLog
from stride_ros.sources.video_file import VideoReader


class VideoFile:
    """One video file (see recording.Video); times are in s from its first picture, decoded as for playing.

    `until` (s) leaves out what follows, of `whole` s. `notes` say what is odd about the file, `unusable` what
    could not be decoded. SourceError when it cannot be read.
    """

    def __init__(self, path: Path, until: float | None = None) -> None:
        self.path, self.name = path, str(path)
        if not path.is_file():
            if path.exists():
                raise SourceError(f"{path} is not a regular file; give the path of a video.")
            raise SourceError(f"The video {path} does not exist; correct its path.")
        self._reader = VideoReader(self.name)
        self._log = ReadingLog(self.name)
        self.notes = self._reader.notes
        self.whole = self._reader.end
        self.start, self.end = 0.0, self.whole if until is None else min(until, self.whole)

    def read(self, times: Sequence[float]) -> tuple[list[NDArray[np.uint8]], list[float]]:
        """The pictures shown at `times` (s, ascending), each with its own time.

        A lasting picture is repeated at the requested time.
        """
        stays = min(1.0, 1.5 / self._reader.rate)  # s; after this it is repeated when the video is played
        images: list[NDArray[np.uint8]] = []
        found: list[float] = []
        last = None
        for time, picture in zip(times, self._reader.shown(times, self._log), strict=True):
            if picture is None:
                continue
            own = picture.time if picture is not last and time - picture.time < 1.0 else time
            if picture is last and time - found[-1] < stays:
                continue
            try:
                images.append(images[-1] if picture is last else picture.rgb())
            except FrameError as error:
                self._log.fail(error)
                continue
            found.append(own)
            last = picture
        if not images:
            raise SourceError(f"The video {self.path} has no picture at {times[0]:.1f} s; check its labels.")
        return images, found

    @property
    def unusable(self) -> list[str]:
        """What could not be decoded so far, one sentence each."""
        return self._log.notes()
