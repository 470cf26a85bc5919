"""A cache of recent frames, so that a model can be shown what led up to an event."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stride_ros.imaging.resize import shrink
from stride_ros.response.config import ResponseConfig

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class StampedFrame:
    """One frame: `image` (H, W, 3) uint8 RGB, `stamp` in ns."""

    image: NDArray[np.uint8]
    stamp: int


@dataclass(frozen=True)
class Selection:
    """Frames of an interval, oldest first; `life` distinguishes the stream before and after a step back."""

    life: int
    frames: tuple[StampedFrame, ...]

    def reaches(self, stamp: int) -> bool:
        """Whether it has a frame at or after `stamp` (ns)."""
        return bool(self.frames) and self.frames[-1].stamp >= stamp


class FrameCache:
    """A thread-safe history of frames, bounded by the configuration.

    Images that are small enough are kept by reference; the caller must not write to them afterwards.
    """

    def __init__(self, config: ResponseConfig) -> None:
        self._size, self._length = config.cache_size, round(config.cache_seconds * NANOSECONDS)
        self._frames: deque[StampedFrame] = deque(maxlen=config.cache_frames)
        self._newest: int | None = None
        self._life = 0
        self._changed = threading.Condition()

    def add(self, image: NDArray[np.uint8], stamp: int) -> None:
        """Add an (H, W, 3) uint8 RGB image with its stamp in ns.

        A step back in time (a looping bag, a clock that was set) clears all earlier frames; a repeated stamp
        adds nothing.
        """
        frame = StampedFrame(shrink(image, self._size), stamp)
        with self._changed:
            if self._newest is not None and stamp < self._newest:
                self._forget()
            if stamp == self._newest:
                return
            self._frames.append(frame)
            self._newest = stamp
            while self._frames[0].stamp < stamp - self._length:
                self._frames.popleft()
            self._changed.notify_all()

    def select(self, start: int, end: int, max_frames: int) -> Selection:
        """The frames with `start <= stamp <= end` (ns), thinned evenly to `max_frames`."""
        with self._changed:
            return Selection(self._life, within(self._frames, start, end, max_frames))

    def wait_for(self, stamp: int | None, timeout: float) -> bool:
        """Wait for a frame at or after `stamp` (ns; None: any); False if `timeout` (s) passed."""

        def arrived() -> bool:
            return self._newest is not None and (stamp is None or self._newest >= stamp)

        with self._changed:
            return self._changed.wait_for(arrived, timeout)

    def clear(self) -> None:
        """Forget all frames, so that stamps may restart."""
        with self._changed:
            self._forget()

    @property
    def newest(self) -> int | None:
        """Stamp of the newest frame in ns, None while empty."""
        with self._changed:
            return self._newest

    def __len__(self) -> int:
        return len(self._frames)

    def _forget(self) -> None:
        self._frames.clear()
        self._newest = None
        self._life += 1


def within(frames: Iterable[StampedFrame], start: int, end: int, max_frames: int) -> tuple[StampedFrame, ...]:
    """The frames with `start <= stamp <= end` (ns), thinned evenly to `max_frames`.

    The first and the newest frame of the interval are kept; with `max_frames` 1, only the newest.
    """
    inside = [frame for frame in frames if start <= frame.stamp <= end]
    return tuple(inside[index] for index in evenly(len(inside), max_frames))


def evenly(count: int, wanted: int) -> list[int]:
    """Up to `wanted` indices spread evenly over `range(count)`, always including the last one."""
    if count <= wanted:
        return list(range(count))
    if wanted <= 1:
        return [count - 1][:wanted]
    return [(step * (count - 1) + (wanted - 1) // 2) // (wanted - 1) for step in range(wanted)]
