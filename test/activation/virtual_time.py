"""Time that passes only when it is told to, and a discrete simulation of cameras in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def drive(
    clock: Clock,
    arrivals: Iterable[tuple[float, str]],
    offer: Callable[[str, float], object],
    serve: Callable[[], object],
    seconds: float,
    next_time: Callable[[], float | None],
) -> None:
    """Let frames arrive [(time, key)] while `serve` works and moves the clock on."""
    ordered = sorted(arrivals, key=lambda arrival: arrival[0])
    position = 0
    while clock.now < seconds:
        now = clock.now
        while position < len(ordered) and ordered[position][0] <= now + 1e-9:
            clock.now = ordered[position][0]  # it came while the machine was busy
            offer(ordered[position][1], ordered[position][0])
            position += 1
        clock.now = now
        wait = next_time()
        if wait == 0:
            serve()
            continue
        times = [ordered[position][0]] if position < len(ordered) else []
        times += [now + wait] if wait is not None else []
        if not times:
            return
        clock.now = max(now, min(times))


def grid(
    key: str, rate: float, seconds: float, first: float = 0.0, end: float = math.inf
) -> list[tuple[float, str]]:
    """When a camera's due frames arrive."""
    times = (first + index / rate for index in range(math.ceil((min(seconds, end) - first) * rate)))
    return [(time, key) for time in times]
