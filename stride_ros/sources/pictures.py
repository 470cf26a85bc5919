"""Read the pictures of an open video stream with their times, and count what is odd."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.imaging.limits import MAX_PIXELS
from stride_ros.imaging.video import frame_to_rgb, orientation_of
from stride_ros.text.wording import counted

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer

USUAL_RATE = 25.0  # Hz, for a stream that does not state its rate
# A step of this size (s) is not a still scene but times that start over, as in FFmpeg's own programs; the
# second value is for formats where that is common.
_LONGEST_STEP, _LONGEST_STEP_OF_BROADCASTS = 30 * 3600.0, 10.0
_SET_BACK = 1.0  # s; a smaller step back is a picture out of order
_PATIENCE = 10  # pictures in a row whose times do not increase
_TS_DISCONT = 0x200  # AVFMT_TS_DISCONT
_MARGIN = 1.0  # s by which a container's stated length may exceed its last packet


@dataclass(frozen=True)
class Picture:
    """A decoded picture. `time`: s since the first one. `duration`: s that it lasts, 0 if unknown."""

    time: float
    duration: float
    frame: VideoFrame
    orientation: int

    def rgb(self) -> NDArray[np.uint8]:
        """The picture as (H, W, 3) uint8 RGB, upright; FrameError if it cannot be converted."""
        return frame_to_rgb(self.frame, self.orientation)


@dataclass
class ReadingLog:
    """What was odd about a video, to be reported at the end."""

    name: str
    pictures: int = 0
    broken: int = 0
    reason: str = ""
    late: int = 0
    jumps: list[str] = field(default_factory=list)
    ending: str = ""

    def fail(self, error: Exception | str) -> None:
        """Count a picture that cannot be used."""
        self.broken += 1
        self.reason = self.reason or str(getattr(error, "strerror", None) or error)

    def notes(self) -> list[str]:
        """One sentence for each kind."""
        notes = [f"{self.name}: {jump}; times continue from there." for jump in self.jumps]
        if self.broken:
            what = f"{self.broken} of {counted(self.pictures + self.broken, 'picture')}"
            notes.append(f"{self.name}: {what} could not be decoded ({self.reason.rstrip('.')}).")
        if self.late:
            was = "was" if self.late == 1 else "were"
            notes.append(
                f"{self.name}: {counted(self.late, 'picture')} came out of order or twice and {was} skipped."
            )
        return [*notes, *([self.ending] if self.ending else [])]


class PictureClock:
    """Converts the times of a stream's pictures to s since the first one, always increasing."""

    def __init__(self, usual: float, longest: float, origin: float | None = None) -> None:
        """`usual`: s between pictures if their times do not tell. `longest`: longest plausible step (s).

        `origin`: time of the first picture, if reading begins later.
        """
        self._steps: deque[float] = deque([usual], maxlen=9)
        self._longest, self.origin = longest, origin
        self._raw = 0.0
        self._newest: float | None = None
        self._stuck = 0

    @property
    def usual(self) -> float:
        """s between recent pictures, without still scenes."""
        return median(self._steps)

    def read(self, raw: float | None, log: ReadingLog) -> float | None:
        """The time of the next picture (s), or None for one to skip."""
        if raw is None:
            raw = self._raw + self.usual if self._newest is not None else 0.0
        if self.origin is None:
            self.origin = raw
        if self._newest is None:
            return self._take(raw, raw - self.origin)
        step = raw - self._raw
        if -_SET_BACK < step <= 0 and self._stuck < _PATIENCE:
            self._stuck += 1
            log.late += 1
            return None
        if not 0 < step <= self._longest:
            if step <= -_SET_BACK or step > 0:
                way = "back" if step < 0 else "forward"
                log.jumps.append(f"at {self._newest:.1f} s its times jump {way} by {abs(step):.1f} s")
            elif self._stuck == _PATIENCE:
                self._stuck += 1
                log.jumps.append(f"at {self._newest:.1f} s its times do not advance")
            return self._take(raw, self._newest + self.usual)
        if step <= 1.0:
            self._steps.append(step)
        self._stuck = 0
        return self._take(raw, self._newest + step)

    def _take(self, raw: float, time: float) -> float:
        self._raw, self._newest = raw, time
        return time


def clock_of(container: InputContainer, stream: VideoStream, origin: float | None = None) -> PictureClock:
    """Create a clock for a stream's pictures."""
    longest = _LONGEST_STEP_OF_BROADCASTS if may_begin_anew(container) else _LONGEST_STEP
    return PictureClock(1.0 / rate_of(stream), longest, origin)


def may_begin_anew(container: InputContainer) -> bool:
    """Whether times that go back or jump are common in this format."""
    return bool(int(container.format.flags) & _TS_DISCONT)


def rate_of(stream: VideoStream) -> float:
    """Pictures per second according to the container."""
    for rate in (stream.guessed_rate, stream.average_rate):
        if rate and 0 < rate <= 1000:
            return float(rate)
    return USUAL_RATE


def pictures(
    container: InputContainer, stream: VideoStream, clock: PictureClock, log: ReadingLog
) -> Iterator[Picture]:
    """Decode the stream from the container's position; what cannot be decoded is left out and counted."""
    import av

    stream.thread_type = "AUTO"
    if stream.codec_context.name == "libdav1d":
        stream.codec_context.thread_count = 1  # its threads may deadlock on damaged data
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    orientation = orientation_of(stream)
    # AVI states when a picture is decoded, not when it is shown: the earliest time belongs to the next one.
    waiting: list[float] | None = [] if container.format.name == "avi" else None
    for packet in _packets(container, stream, log):
        at = _seconds(packet.dts, packet) if packet.size else None
        if waiting is not None and at is not None:
            heappush(waiting, at)
        try:
            frames: list[Any] = packet.decode()
        except av.error.EOFError:
            continue
        except (av.error.FFmpegError, ValueError) as error:
            log.fail(error)
            if waiting and at in waiting:
                waiting.remove(at)
                heapify(waiting)
            continue
        for frame in frames:
            own = frame.time if waiting is None else heappop(waiting) if waiting else None
            if getattr(frame, "is_corrupt", False):
                log.fail("its data is damaged")
                continue
            time = clock.read(own, log)
            if time is None:
                continue
            log.pictures += 1
            base = frame.time_base
            duration = getattr(frame, "duration", 0) or 0
            yield Picture(time, float(duration * base) if base else 0.0, frame, orientation)


def _seconds(units: int | None, packet: Packet[Any]) -> float | None:
    return None if units is None or packet.time_base is None else float(units * packet.time_base)


def _packets(container: InputContainer, stream: VideoStream, log: ReadingLog) -> Iterator[Packet[Any]]:
    """The stream's packets. A first read error is ignored, a second one ends the file."""
    import av

    first, last, failed = math.inf, -math.inf, False
    while True:
        try:
            for packet in container.demux():
                failed = failed and packet.size == 0
                begin = _seconds(packet.pts, packet)
                if begin is not None:
                    first = min(first, begin)
                    last = max(last, begin + (_seconds(packet.duration, packet) or 0.0))
                if packet.stream.index == stream.index:
                    yield packet
            break
        except (av.error.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            if failed:
                log.ending = f"{log.name} is damaged ({reason}); what follows was not read."
                break
            failed = True
    claimed = (container.duration or 0) / 1e6
    if container.format.name.startswith("matroska"):  # which counts it from time 0
        first = min(first, max(0.0, last - claimed))
    if not log.ending and claimed - (last - first) > max(_MARGIN, 0.02 * claimed) and last > first:
        held = f"holds {last - first:.1f} s of the {claimed:.1f} s that it claims"
        log.ending = f"{log.name} {held}; it may be cut off, so copy it again."
