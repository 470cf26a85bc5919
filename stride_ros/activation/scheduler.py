"""Whose due frame is decided on next, where there is not the time for all of them.

A stream has one place: its newest due frame. It is the only rule by which frames are dropped: a node keeps
here what waits of its cameras, and takes what it may to `stride_ros.activation.frame_path`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
T = TypeVar("T")

_UNUSUAL = 2.0  # times the usual cost; below it, costs differ as those of equal streams do


@dataclass(frozen=True)
class StreamLoad:
    """How far a stream is behind.

    offered: due frames so far. taken: of them, those that had their turn. dropped: those that a newer one
    replaced before. lag: s for which its oldest due
    frame since its last turn has waited; with none waiting, what the last one waited. held: s for which it is
    still passed over, as its frames cost much more than the others'.
    """

    offered: int
    taken: int
    dropped: int
    lag: float
    held: float


class _Lane(Generic[T]):
    """One stream's place and counts; times are those of the clock."""

    def __init__(self) -> None:
        self.waiting: list[T] = []  # the newest due frame, or nothing
        self.since = 0.0  # when the first due frame after the last turn was offered
        self.newest = 0.0  # when the newest due frame was offered
        self.turn = 0  # number of its last turn among those of all streams
        self.turned = self.turned_before = -math.inf  # when its last two turns were
        self.waited = 0.0
        self.cost: float | None = None  # s, of its newest frame alone
        self.held_until = -math.inf
        self.offered = self.taken = self.dropped = 0

    def load(self, now: float) -> StreamLoad:
        """See `Scheduler.loads`."""
        lag = now - self.since if self.waiting else self.waited
        held = max(0.0, self.held_until - now)
        return StreamLoad(self.offered, self.taken, self.dropped, lag, held)


class Scheduler(Generic[KeyT, T]):
    """Keeps the newest due frame of each stream and hands out batches of them. Not thread-safe.

    The stream that has gone longest without a turn is first. So each of those that want more than an even
    share gets just that, whatever their rates, and none waits for longer than one turn of every other one;
    a stream that wants less has all its frames decided on. (By how long a frame has waited, streams with
    high rates would get more: they are back in the queue sooner.) What is offered should be the frames that
    are due on the stream's sampling grid; what is left when some are dropped is then on that grid, too.

    clock: gives the time now, in s.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lanes: dict[KeyT, _Lane[T]] = {}
        self._turns = 0

    def offer(self, key: KeyT, frame: T) -> None:
        """A frame of this stream is due; one that still waits is dropped in its favour."""
        now = self._clock()
        lane = self._lanes.setdefault(key, _Lane())
        if lane.waiting:
            lane.dropped += 1
        else:
            lane.since = now
        lane.waiting, lane.newest = [frame], now
        lane.offered += 1

    def take(self, limit: int | None = None) -> dict[KeyT, T]:
        """The next batch: all frames that wait, or as many as `limit`; empty if nothing may run now."""
        now = self._clock()
        free = [key for key, lane in self._lanes.items() if lane.waiting and lane.held_until <= now]
        free.sort(key=lambda key: (self._lanes[key].turn, self._lanes[key].since))
        batch: dict[KeyT, T] = {}
        for key in free[:limit]:
            lane = self._lanes[key]
            batch[key] = lane.waiting.pop()
            # Also within a batch, where the one that was first would stay first among equals.
            self._turns += 1
            lane.turn, lane.taken = self._turns, lane.taken + 1
            lane.turned_before, lane.turned = lane.turned, now
            lane.waited = now - lane.since
        return batch

    def charge(self, costs: Mapping[KeyT, float]) -> None:
        """Tell what frames of the last batch cost by themselves, such as to decode them, in s.

        A stream that costs more than twice what is usual among those beside it is passed over until the rest
        of its cost is an even share of the time, and nobody waits for it more often than that.
        """
        for key, seconds in costs.items():
            if key in self._lanes:
                self._lanes[key].cost = seconds
        for key, seconds in costs.items():
            if key not in self._lanes:
                continue
            lane = self._lanes[key]
            # A camera that has stopped has no claim on the time.
            beside = [
                other
                for other in self._lanes.values()
                if other is not lane and other.newest >= lane.turned_before
            ]
            known = [other.cost for other in beside if other.cost is not None]
            usual = median(known) if known else seconds
            if seconds > _UNUSUAL * usual:
                lane.held_until = self._clock() + (seconds - usual) * len(beside)

    def discard(self, key: KeyT) -> None:
        """Forget the frame that waits, without counting it as dropped: the stream restarts."""
        if key in self._lanes:
            self._lanes[key].waiting.clear()

    @property
    def seconds_to_next(self) -> float | None:
        """Seconds until `take` has something, 0 if it has now; None if nothing waits."""
        now = self._clock()
        waits = [max(0.0, lane.held_until - now) for lane in self._lanes.values() if lane.waiting]
        return min(waits, default=None)

    def load(self, key: KeyT) -> StreamLoad:
        """How far a stream is behind; zeros before its first frame."""
        return self._lanes.get(key, _Lane[T]()).load(self._clock())

    @property
    def loads(self) -> dict[KeyT, StreamLoad]:
        """How far each stream is behind."""
        now = self._clock()
        return {key: lane.load(now) for key, lane in self._lanes.items()}
