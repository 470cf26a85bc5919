"""A video file as a recording: its pictures have the stamps that a bag made from it would have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from stride_ros.activation.clock import Reading
from stride_ros.activation.intake import Intake
from stride_ros.bags.storage import EARLIEST, LATEST, BagMessage, Channel
from stride_ros.bags.writer import START_STAMP
from stride_ros.sources.frames import MOST_STILL, PACE, paced
from stride_ros.sources.pictures import Picture, ReadingLog
from stride_ros.sources.video_file import VideoReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class VideoFrame:
    """A picture that is shown at `log_time` (ns)."""

    log_time: int
    picture: Picture


class VideoRecording:
    """An open video; see `stride_ros.replay.recording.Recording`. SourceError if it has no pictures."""

    topics: Mapping[str, str] = {}

    def __init__(self, path: Path) -> None:
        self.path = path
        self.image = Channel(0, "", "", "")
        self._reader = VideoReader(str(path))
        self._log = ReadingLog(str(path))

    @property
    def seconds(self) -> float:
        """See `Recording`."""
        return self._reader.end

    def until(self, newest: float) -> float:
        """See `Recording`; not every picture is read."""
        return max(newest, self._reader.end) + min(1.0 / self._reader.rate, MOST_STILL)

    @property
    def notes(self) -> Sequence[str]:
        """See `Recording`."""
        return [*self._reader.notes, *self._log.notes()]

    def part(self, start: float = 0.0, duration: float | None = None) -> tuple[int, int]:
        """See `Recording`."""
        begin = EARLIEST if start <= 0 else _stamp(start)
        return begin, LATEST if duration is None else _stamp(start + duration)

    def time(self, log_time: int) -> float:
        """See `Recording`."""
        return (log_time - START_STAMP) / 1e9

    def images(
        self,
        intake: Intake,
        start: int = EARLIEST,
        stop: int = LATEST,
        *,
        topics: Sequence[str] = (),
        clock: str = "header",
        other: Callable[[BagMessage], None] = lambda message: None,
    ) -> Iterator[tuple[VideoFrame, Reading]]:
        """See `Recording`; a video has one clock and no topics."""
        for picture, time in paced(self._reader.pictures(self._log), max(PACE, intake.rate)):
            stamp = _stamp(time)
            if stamp >= stop:
                return
            if stamp >= start and (reading := intake.read(stamp, stamp)) is not None:
                yield VideoFrame(stamp, picture), reading

    def messages(self, topics: Sequence[str]) -> Iterator[BagMessage]:
        """See `Recording`; a video has none."""
        return iter(())

    def decode(self, message: VideoFrame) -> tuple[NDArray[np.uint8], str]:
        """See `Recording`."""
        return message.picture.rgb(), ""  # as in a bag made from it

    def close(self) -> None:
        """See `Recording`; nothing is open between two pictures."""

    def __enter__(self) -> VideoRecording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _stamp(time: float) -> int:
    return START_STAMP + round(time * 1e9)
