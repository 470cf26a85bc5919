"""A video file as a source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stride_ros.errors import FrameError, SourceError
from stride_ros.sources.frames import SourceFrame, paced, scaled
from stride_ros.sources.pictures import Picture, ReadingLog
from stride_ros.sources.video_file import VideoReader

if TYPE_CHECKING:
    from stride_ros.world import WorldEvent


class VideoSource:
    """A video file: every picture at its own time, reduced to `rate`; lasting pictures are repeated."""

    live = False
    events: tuple[WorldEvent, ...] = ()

    def __init__(self, path: Path, rate: float, seconds: float, size: tuple[int, int]) -> None:
        self.name = str(path)
        self._rate, self._seconds, self._size = rate, seconds, size
        self._reader = VideoReader(
            self.name
        )  # a file that cannot be read fails now instead of later in a thread
        self.notes = self._reader.notes
        self.own_rate = self._reader.rate

    def frames(self) -> Iterator[SourceFrame]:
        log = ReadingLog(self.name)
        last: Picture | None = None
        frame: SourceFrame | None = None
        try:
            for picture, time in paced(self._reader.pictures(log), self._rate):
                if self._seconds and time >= self._seconds:
                    return
                if picture is not last or frame is None:
                    try:
                        frame, last = SourceFrame(scaled(picture.rgb(), self._size), time), picture
                    except FrameError as error:
                        log.pictures -= 1
                        log.fail(error)
                        continue
                yield SourceFrame(frame.image, time)
        finally:
            self.notes = [*self._reader.notes, *log.notes()]
        if frame is None:
            raise SourceError(f"No picture of {self.name} can be used: {log.reason}")
