"""The times of a recording's images, in seconds as perceived by people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.clock import LONGEST_PAUSE
from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.bags.storage import EARLIEST, LATEST


class Timeline:
    """The log times of all images; a change of the clock between two of them does not count as time."""

    def __init__(self, log_times: Sequence[NDArray[np.int64]]) -> None:
        """`log_times`: ns, in any order; at least one."""
        self._log_times = np.sort(np.concatenate(log_times))
        steps = np.diff(self._log_times.astype(np.float64))
        sane = (steps >= 0) & (steps <= LONGEST_PAUSE)
        usual = float(np.median(steps[sane])) if sane.any() else float(NANOSECONDS)
        self._usual = usual
        exact = np.where(sane, np.diff(self._log_times), round(usual))  # no pause: it counts as a usual one
        self._times = np.concatenate([np.zeros(1, np.int64), np.cumsum(exact, dtype=np.int64)])

    @property
    def start(self) -> int:
        """Log time of the first image in ns."""
        return int(self._log_times[0])

    @property
    def end(self) -> int:
        """Log time of the last image in ns."""
        return int(self._log_times[-1])

    @property
    def seconds(self) -> float:
        """Time of the last image (s) since the first one."""
        return float(self._times[-1]) / 1e9

    @property
    def rate(self) -> float:
        """Images per second, as usual."""
        return 1e9 / max(self._usual, 1.0)

    def until(self, newest: float) -> float:
        """When the image at `newest` (s) is over, if it stays as long as one usually does, at most 1 s."""
        return newest + min(self._usual / 1e9, 1.0)

    def part(self, start: float = 0.0, duration: float | None = None) -> tuple[int, int]:
        """Convert a part, in s from the first image, to its first and last log time (ns); default: all."""
        first = np.searchsorted(self._times, round(start * 1e9))
        begin = EARLIEST if start <= 0 else self._log_times[first] if first < len(self._times) else LATEST
        stop = LATEST
        if duration is not None:
            end = np.searchsorted(self._times, round((start + duration) * 1e9))
            stop = self._log_times[end] if end < len(self._times) else LATEST
        return int(begin), int(stop)

    def time(self, log_time: int) -> float:
        """Convert a log time (ns) to s from the first image."""
        index = min(int(np.searchsorted(self._log_times, log_time)), len(self._times) - 1)
        return float(self._times[index]) / 1e9
