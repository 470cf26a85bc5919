"""Read a video file, for playing, training and evaluation: its pictures by time, and its length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from stride_ros.errors import SourceError
from stride_ros.sources.container import choose_stream, open_container, streams_note
from stride_ros.sources.pictures import Picture, ReadingLog, clock_of, may_begin_anew, pictures, rate_of

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

SEEK_AHEAD = 4.0  # s; continuing to decode is faster than seeking when the next picture is this near
_ROUNDING = 0.001  # s; Matroska and others store milliseconds


class VideoReader:
    """A video file; times are in s since its first picture. SourceError if it has no pictures.

    `rate`: pictures per second according to the file. `notes`: what is odd about the file as a whole.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        log = ReadingLog(name)
        with open_container(name) as container:
            stream = choose_stream(container)
            note = streams_note(container, name)
            self.notes = [note] if note else []
            self.rate = rate_of(stream)
            clock = clock_of(container, stream)
            if next(pictures(container, stream, clock, log), None) is None or clock.origin is None:
                reason = f" ({log.reason.rstrip('.')})" if log.reason else ""
                raise SourceError(
                    f"{name} has no decodable picture{reason}; convert it, for example to H.264."
                )
            self._origin = clock.origin
            self._steady = not may_begin_anew(container)

    def pictures(self, log: ReadingLog, start: float = 0.0) -> Iterator[Picture]:
        """The pictures from `start` (s) or somewhat earlier; what is left out is counted in `log`."""
        if start > 0 and not self._steady and not self._extent.steady:
            start = 0.0  # the file's own times do not tell where `start` is
        with open_container(self.name) as container:
            stream = choose_stream(container)
            origin = self._origin if start > 0 and _seek(container, stream, self._origin + start) else None
            yield from pictures(container, stream, clock_of(container, stream, origin), log)

    def shown(self, times: Sequence[float], log: ReadingLog) -> Iterator[Picture | None]:
        """The picture shown at each of `times` (s, ascending): the last one that has begun.

        None before the first picture that can be decoded.
        """
        found: Iterator[Picture] = iter(())
        now: Picture | None = None
        ahead: Picture | None = None  # the first picture that has not begun
        begun = False
        for time in times:
            if not begun or (ahead is not None and time > ahead.time + SEEK_AHEAD):
                found, now, ahead, begun = self.pictures(log, time), None, None, True
                ahead = next(found, None)
                if ahead is None or ahead.time > time + _ROUNDING:  # the container has no precise index
                    found = self.pictures(log)
                    ahead = next(found, None)
            while ahead is not None and ahead.time <= time + _ROUNDING:
                now, ahead = ahead, next(found, None)
            yield now

    @property
    def end(self) -> float:
        """Time of the last picture, or the end of its duration if it lasts (s).

        Sound and text that continue after it do not count.
        """
        return self._extent.end

    @cached_property
    def _extent(self) -> _Extent:
        with open_container(self.name) as container:
            stream = choose_stream(container)
            length = (container.duration or 0) / 1e6
            if self._steady and length and _seek(container, stream, self._origin + length):
                last = max(_spans(container, stream), default=None)
                if last is not None:
                    return self._until(last[0] - self._origin, last[1], steady=True)
        with open_container(self.name) as container:
            stream = choose_stream(container)
            clock, log, time, stays = clock_of(container, stream), ReadingLog(self.name), 0.0, 0.0
            for begin, duration in _spans(container, stream, in_decoding_order=True):
                read = clock.read(begin, log)
                time, stays = (time, stays) if read is None else (read, duration)
            return self._until(time, stays, steady=not log.jumps)

    def _until(self, time: float, stays: float, *, steady: bool) -> _Extent:
        return _Extent(max(0.0, time, time + stays - 1.0 / self.rate), steady)


@dataclass(frozen=True)
class _Extent:
    """`end`: as in the reader. `steady`: whether times only increase, so that seeking by them works."""

    end: float
    steady: bool


def _seek(container: InputContainer, stream: VideoStream, time: float) -> bool:
    """Seek to the last key picture at or before `time` (s, of the stream); return whether that worked."""
    import av

    if stream.time_base is None:
        return False
    try:
        container.seek(math.floor(time / stream.time_base), stream=stream)
    except (av.error.FFmpegError, OverflowError):
        return False
    return True


def _spans(
    container: InputContainer, stream: VideoStream, in_decoding_order: bool = False
) -> Iterator[tuple[float, float]]:
    """When each further packet is shown and for how long (s), without decoding."""
    import av

    try:
        for packet in container.demux(stream):
            at = packet.dts if in_decoding_order and packet.dts is not None else packet.pts
            if at is None or packet.time_base is None or getattr(packet, "is_discard", False):
                continue
            yield float(at * packet.time_base), float((packet.duration or 0) * packet.time_base)
    except (av.error.FFmpegError, OSError):
        return
