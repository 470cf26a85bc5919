"""Choose frames at a steady rate by their stamps."""

from __future__ import annotations

from enum import Enum, auto

NANOSECONDS = 1_000_000_000

# A frame that is older than the newest one by less than this is out of order; by more, time itself went back.
REORDER_TOLERANCE_NS = NANOSECONDS // 5


class Verdict(Enum):
    KEEP = auto()  # due: use this frame
    SKIP = auto()  # not due yet
    DUPLICATE = auto()  # same stamp as the newest frame
    LATE = auto()  # out of order
    BACKWARD = auto()  # time went back (bag loop, clock set): restart


class Sampler:
    """Keep, for each due time on a grid of 1 / rate seconds, the frame nearest to it.

    With the grid, a 10 Hz or 29.97 Hz camera yields exactly `rate` frames per second on average. The grid
    restarts at a frame that is more than a period late.
    """

    def __init__(self, rate: float) -> None:
        """`rate`: frames to keep per second."""
        self.rate = rate
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next frame is kept."""
        self._newest: int | None = None
        self._due = 0
        self._interval = 0  # between input frames, ns; 0: not known

    def is_back(self, stamp: int) -> bool:
        """Whether `offer` would return BACKWARD for a frame with this stamp in ns."""
        return self._newest is not None and stamp - self._newest <= -REORDER_TOLERANCE_NS

    def offer(self, stamp: int) -> Verdict:
        """Judge a frame by its stamp in ns; BACKWARD changes nothing, so `reset` and offer it again."""
        period = round(NANOSECONDS / self.rate)
        if self._newest is None:
            self._newest, self._due = stamp, stamp + period
            return Verdict.KEEP
        step = stamp - self._newest
        if step == 0:
            return Verdict.DUPLICATE
        if step < 0:
            return Verdict.BACKWARD if self.is_back(stamp) else Verdict.LATE
        self._newest = stamp
        # Follows a faster input at once and a slower one gradually: one lost frame does not mean a slow
        # camera.
        self._interval = min(step, self._interval * 5 // 4 or step)
        # A frame up to half an input interval early is nearer to the due time than the next frame will be.
        slack = min(self._interval, period // 2) // 2
        if stamp + slack < self._due:
            return Verdict.SKIP
        self._due += period
        if self._due + slack <= stamp:
            self._due = stamp + period
        return Verdict.KEEP
