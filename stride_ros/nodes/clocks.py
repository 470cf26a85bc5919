"""Tell the images of several cameras on one topic apart by their clocks, and follow one of them."""

from __future__ import annotations

from dataclasses import dataclass

from stride_ros.activation.sampling import NANOSECONDS

_TOLERANCE = 0.5  # s; a stamp this far from what a clock should show may still be of that clock
_PATIENCE = 5.0  # s; a clock that is followed and shows nothing for so long, and three periods, is left
_MAX_CLOCKS = 4
_ENOUGH_RETURNS = 2


@dataclass
class _Clock:
    stamp: int  # ns, of its newest image
    arrival: float  # s, monotonic
    period: float = 0.0  # s, between the newest two

    def distance(self, stamp: int, arrival: float) -> float:
        """How far (s) a stamp is from what this clock should show at the arrival."""
        return abs((stamp - self.stamp) / NANOSECONDS - (arrival - self.arrival))

    def may_show(self, stamp: int, arrival: float) -> bool:
        # A bag may be played faster or slower than in real time, and images may be held up. The start of a
        # bag that loops is further away than this: it went back by what it took to play.
        return self.distance(stamp, arrival) < _TOLERANCE + (arrival - self.arrival)


class Clocks:
    """Says which images belong to the clock that is followed; all of them while there is one clock.

    Time that goes back once is a bag that loops or a clock that was set. Time that goes back to a clock which
    went on meanwhile, twice, comes from two cameras: restarting with each image would decide nothing. Not
    even the middleware says in Python who sent a message, hence the stamps.
    """

    def __init__(self) -> None:
        self._clocks: list[_Clock] = []
        self._newest: _Clock | None = None
        self._followed: _Clock | None = None
        self._returns = 0
        self.ignored = 0  # images of other clocks

    @property
    def differ(self) -> bool:
        """Whether images of several clocks arrive, of which one is followed."""
        return self._followed is not None

    def reset(self) -> None:
        """Forget all clocks: follow whatever comes next."""
        self._clocks, self._newest, self._followed, self._returns = [], None, None, 0

    def accepts(self, stamp: int, arrival: float, now: int, went_back: bool) -> bool:
        """Whether to use an image.

        `stamp`, `now` (the node's clock): ns; `arrival`: s, monotonic; `went_back`: it is older than the
        newest image that was used by more than images get out of order.
        """
        followed = self._followed
        if followed is not None and arrival - followed.arrival > _PATIENCE + 3.0 * followed.period:
            self.reset()
            followed = None
        clock, is_new = self._clock_of(stamp, arrival, went_back and followed is None)
        self._newest = clock
        if followed is None and went_back and not is_new:
            self._returns += 1
            if self._returns >= _ENOUGH_RETURNS:
                # Stamps that agree with the rest of the robot are worth more than others.
                self._followed = followed = min(self._clocks, key=lambda known: abs(known.stamp - now))
        if followed is None or clock is followed:
            return True
        self.ignored += 1
        return False

    def _clock_of(self, stamp: int, arrival: float, is_other: bool) -> tuple[_Clock, bool]:
        """The clock an image belongs to, and whether it is a new one. `is_other`: not the newest image's."""
        known = [clock for clock in self._clocks if not (is_other and clock is self._newest)]
        known = [clock for clock in known if clock.may_show(stamp, arrival)]
        if not known:
            clock = _Clock(stamp, arrival)
            self._clocks.append(clock)
            if len(self._clocks) > _MAX_CLOCKS:
                others = [old for old in self._clocks if old is not self._followed]
                self._clocks.remove(min(others, key=lambda old: old.arrival))
            return clock, True
        clock = min(known, key=lambda near: near.distance(stamp, arrival))
        clock.period = arrival - clock.arrival
        clock.stamp, clock.arrival = stamp, arrival
        return clock, False
