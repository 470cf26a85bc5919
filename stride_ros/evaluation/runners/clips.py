"""Read frames of a benchmark's videos: windows at one frame per second, once for all questions of a video."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import FrameError, SourceError
from stride_ros.imaging.resize import shrink
from stride_ros.response.frame_cache import StampedFrame, evenly
from stride_ros.response.request import nanoseconds
from stride_ros.sources.container import choose_stream, open_container
from stride_ros.sources.pictures import ReadingLog
from stride_ros.sources.video_file import VideoReader

Image = NDArray[np.uint8]

_AT_END = 1e-3  # s after the start of the last picture, at which it is still shown


@dataclass(frozen=True)
class Window:
    """A clip of a video from `start` to `end` (s), without `end` itself."""

    start: float
    end: float

    def times(self, rate: float, count: int) -> list[float]:
        """Up to `count` times of frames, evenly spread over those that are `1 / rate` s apart."""
        grid = max(1, math.ceil((self.end - self.start) * rate - 1e-9))
        return [self.start + index / rate for index in evenly(grid, count)]


def length_of(path: Path) -> float:
    """The length that a video states (s, to 0.01 s, as printed by FFmpeg). Raises SourceError."""
    _need(path)
    with open_container(str(path)) as container:
        length = (container.duration or 0) / 1e6
    return math.floor(length * 100 + 0.5) / 100 if length else VideoReader(str(path)).end


def _need(path: Path) -> None:
    if not path.is_file():
        raise SourceError(f"The video {path} does not exist; check --root.")


class SharedFrames:
    """Reads a video once, forward, for all of its windows; a frame is kept until its last window is done.

    rate: frames per second. count: maximum frames in a window. longest: maximum longer side, px.
    """

    def __init__(
        self, path: Path, windows: Iterable[Window], *, rate: float, count: int, longest: int
    ) -> None:
        self._rate, self._count, self._longest = rate, count, longest
        reader = VideoReader(str(path))
        self._log = ReadingLog(str(path))
        self._end = reader.end
        self._uses: Counter[float] = Counter(time for window in windows for time in self._times(window))
        ordered = sorted(self._uses)
        self._coming = zip(ordered, reader.shown(ordered, self._log), strict=False)
        self._read_to = -math.inf
        self._kept: dict[float, Image] = {}

    def take(self, window: Window) -> list[StampedFrame]:
        """The frames of one of the windows, oldest first; SourceError if the video has none."""
        times = self._times(window)
        while self._read_to < times[-1] and (following := next(self._coming, None)) is not None:
            time, picture = following
            self._read_to = time
            if picture is None or not self._uses[time]:
                continue
            try:
                self._kept[time] = shrink(picture.rgb(), self._longest)
            except FrameError as error:
                self._log.fail(error)
        found = [StampedFrame(self._kept[time], nanoseconds(time)) for time in times if time in self._kept]
        if not found or window.start > self._end + 1.0:
            raise SourceError(
                f"{self._log.name} has no picture from {window.start:g} to {window.end:g} s; it ends at "
                f"{self._end:.1f} s."
            )
        return found

    def drop(self, window: Window) -> None:
        """Release the frames of a finished window."""
        for time in self._times(window):
            self._uses[time] -= 1
            if self._uses[time] <= 0:
                self._kept.pop(time, None)

    def _times(self, window: Window) -> list[float]:
        end = min(window.end, max(self._end, window.start) + _AT_END)
        return Window(window.start, end).times(self._rate, self._count)


def sample_indices(count: int, average_rate: float, rate: float = 1.0) -> tuple[list[int], list[float]]:
    """Indices of the pictures out of `count` that sample `rate` per second, and their times (s).

    As in the authors' evaluation of ET-Bench, all pictures are assumed to last equally long.
    """
    steps = np.arange(0, count, average_rate / rate)
    indices = np.clip(np.rint(steps).astype(int), 0, count - 1)
    return indices.tolist(), (indices / average_rate).tolist()


def sampled_video(path: Path, longest: int) -> Iterator[tuple[Image, float]]:
    """Pictures of a whole video, one per second, with times by the average rate. Raises SourceError.

    If the video has less than one picture per second, no picture is repeated.
    """
    _need(path)
    count, average_rate = _extent(path)
    indices, times = sample_indices(count, average_rate)
    wanted = dict(zip(indices, times, strict=True))
    log = ReadingLog(str(path))
    some = False
    for number, picture in enumerate(VideoReader(str(path)).pictures(log)):
        if number in wanted:
            try:
                yield shrink(picture.rgb(), longest), wanted[number]
                some = True
            except FrameError as error:
                log.fail(error)
    if not some:
        raise SourceError(f"No picture of {path} can be used ({log.reason}); check the file.")


def _extent(path: Path) -> tuple[int, float]:
    """Number of pictures, and their average number per second."""
    with open_container(str(path)) as container:
        stream = choose_stream(container)
        rate = float(stream.average_rate or 0) or 25.0
        count = stream.frames or sum(packet.pts is not None for packet in container.demux(stream))
    return max(count, 1), rate


def window_frames(path: Path, times: Sequence[float], longest: int) -> Iterator[tuple[Image, float]]:
    """The pictures shown at these times (s, ascending), as far as the video goes. Raises SourceError."""
    _need(path)
    reader = VideoReader(str(path))
    reached = [time for time in times if time <= reader.end + _AT_END]
    log = ReadingLog(str(path))
    some = False
    for time, picture in zip(reached, reader.shown(reached, log), strict=True):
        if picture is not None:
            try:
                yield shrink(picture.rgb(), longest), time
                some = True
            except FrameError as error:
                log.fail(error)
    if not some:
        raise SourceError(f"{path} has no picture at {times[0]:g} s; it ends at {reader.end:.1f} s.")
