"""Choose whose due frame is decided on next when there is not enough time for all.

Each stream has one place, for its newest due frame. This is the only rule by which frames are dropped: a node
keeps the waiting frames of its cameras here, and passes on to `stride_ros.activation.frame_path` what may
run.
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

_UNUSUAL = 2.0  # multiple of the usual cost; below it, costs differ no more than those of equal streams


@dataclass(frozen=True)
class StreamLoad:
    """How far a stream is behind.

    offered: due frames so far. taken: those of them that had their turn. dropped: those that a newer frame
    replaced first. lag: s that the oldest due frame since its last turn has waited; with none waiting, how
    long the last one waited. held: s for which it is still passed over, because its frames cost much more
    than the others'.
    """

    offered: int
    taken: int
    dropped: int
    lag: float
    held: float


class _Lane(Generic[T]):
    """One stream's place and counts; times are those of the clock."""

    def __init__(self) -> None:
        self.waiting: list[T] = []  # the newest due frame, or empty
        self.since = 0.0  # when the first due frame after the last turn was offered
        self.newest = 0.0  # when the newest due frame was offered
        self.turn = 0  # number of its last turn among those of all streams
        self.turned = self.turned_before = -math.inf  # times of its last two turns
        self.waited = 0.0
        self.cost: float | None = None  # s, cost of its newest frame by itself
        self.held_until = -math.inf
        self.offered = self.taken = self.dropped = 0

    def load(self, now: float) -> StreamLoad:
        """See `Scheduler.loads`."""
        lag = now - self.since if self.waiting else self.waited
        held = max(0.0, self.held_until - now)
        return StreamLoad(self.offered, self.taken, self.dropped, lag, held)


class Scheduler(Generic[KeyT, T]):
    """Keeps the newest due frame of each stream and hands out batches of them. Not thread-safe.

    The stream that has gone longest without a turn is first. So streams that want more than an even share get
    exactly an even share, whatever their rates, and none waits longer than one turn of each other stream; a
    stream that wants less has all its frames decided on. (Ordered by how long a frame has waited, streams
    with high rates would get more, since they are back in the queue sooner.) Offer the frames that are due on
    the stream's sampling grid; those left when some are dropped are then on that grid, too.

    clock: returns the time now (s).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lanes: dict[KeyT, _Lane[T]] = {}
        self._turns = 0

    def offer(self, key: KeyT, frame: T) -> None:
        """Add a due frame of this stream; one that is still waiting is dropped for it."""
        now = self._clock()
        lane = self._lanes.setdefault(key, _Lane())
        if lane.waiting:
            lane.dropped += 1
        else:
            lane.since = now
        lane.waiting, lane.newest = [frame], now
        lane.offered += 1

    def take(self, limit: int | None = None) -> dict[KeyT, T]:
        """The next batch: all waiting frames, or up to `limit`; empty if nothing may run now."""
        now = self._clock()
        free = [key for key, lane in self._lanes.items() if lane.waiting and lane.held_until <= now]
        free.sort(key=lambda key: (self._lanes[key].turn, self._lanes[key].since))
        batch: dict[KeyT, T] = {}
        for key in free[:limit]:
            lane = self._lanes[key]
            batch[key] = lane.waiting.pop()
            # Also within a batch, since otherwise the first of equals would always stay first.
            self._turns += 1
            lane.turn, lane.taken = self._turns, lane.taken + 1
            lane.turned_before, lane.turned = lane.turned, now
            lane.waited = now - lane.since
        return batch

    def charge(self, costs: Mapping[KeyT, float]) -> None:
        """Record what frames of the last batch cost by themselves, such as for decoding (s).

        A stream that costs more than twice the usual among its neighbours is passed over until the excess is
        an even share of the time, so that the others do not wait for it more often than that.
        """
        for key, seconds in costs.items():
            if key in self._lanes:
                self._lanes[key].cost = seconds
        for key, seconds in costs.items():
            if key not in self._lanes:
                continue
            lane = self._lanes[key]
            # A camera that has stopped gets no share of the time.
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
        """Forget the waiting frame without counting it as dropped, since the stream restarts."""
        if key in self._lanes:
            self._lanes[key].waiting.clear()

    @property
    def seconds_to_next(self) -> float | None:
        """Seconds until `take` returns a frame, 0 if it would now; None if nothing is waiting."""
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
