"""The frames of the last while, kept so that an answer can be shown what led up to its event."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import ConfigError, TimeError


@dataclass(frozen=True)
class TimedFrame:
    """One frame: ``image`` (H, W, 3) uint8 RGB, ``time`` in s on the stream's clock."""

    image: NDArray[np.uint8]
    time: float


class FrameCache:
    """A bounded, thread-safe history of frames: at most ``seconds`` long and ``max_frames`` many.

    Images are kept by reference and never copied; the caller must not write to them afterwards.
    """

    def __init__(self, seconds: float, max_frames: int) -> None:
        if not seconds > 0:
            raise ConfigError(f"A frame cache of {seconds} s can hold nothing: give a length above 0 s.")
        if max_frames < 1:
            raise ConfigError(f"A frame cache of {max_frames} frames can hold nothing: give at least 1.")
        self._seconds = seconds
        self._frames: deque[TimedFrame] = deque(maxlen=max_frames)
        self._changed = threading.Condition()

    def add(self, image: NDArray[np.uint8], time: float) -> None:
        """Append a frame; raise TimeError when ``time`` (s) is not after the newest one."""
        with self._changed:
            if self._frames and time <= self._frames[-1].time:
                raise TimeError(
                    f"A frame at {time:.3f} s came after one at {self._frames[-1].time:.3f} s: "
                    "clear the cache to start over."
                )
            self._frames.append(TimedFrame(image, time))
            while self._frames[0].time < time - self._seconds:
                self._frames.popleft()
            self._changed.notify_all()

    def select(self, start: float, end: float, max_frames: int) -> list[TimedFrame]:
        """The frames with ``start <= time <= end`` (s), oldest first, thinned evenly to ``max_frames``.

        The first and the newest frame of the interval stay; with ``max_frames`` 1 it is the newest.
        """
        with self._changed:
            inside = [frame for frame in self._frames if start <= frame.time <= end]
        return [inside[index] for index in evenly(len(inside), max_frames)]

    def wait_for(self, time: float, timeout: float) -> bool:
        """Wait until a frame at or after ``time`` (s) is here; False if ``timeout`` (s) passed first."""
        with self._changed:
            return self._changed.wait_for(
                lambda: bool(self._frames) and self._frames[-1].time >= time, timeout
            )

    def clear(self) -> None:
        """Forget every frame, so that times may start anew."""
        with self._changed:
            self._frames.clear()

    @property
    def newest(self) -> float | None:
        """Time of the newest frame in s, None while empty."""
        with self._changed:
            return self._frames[-1].time if self._frames else None

    def __len__(self) -> int:
        return len(self._frames)


def evenly(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` indices spread evenly over ``range(count)``, the last one always among them."""
    if count <= wanted:
        return list(range(count))
    if wanted <= 1:
        return [count - 1][:wanted]
    return [(step * (count - 1) + (wanted - 1) // 2) // (wanted - 1) for step in range(wanted)]
