"""Plan a synthetic clip: a seeded story of visits, hands and light, with exact ground truth.

The table has three lanes. In each, objects come and go one after another: they slide in from the edge of the
picture or a hand puts them down; meanwhile a hand may lift one for a while, or the object of the middle lane
may move over and touch a neighbour. With the kind "taken", a hand often waits at an object, and then takes it
away or leaves without it: only the end tells which. Plans make every event long enough, and events of one
query far enough apart, to be distinguished in frames one second apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from stride_ros.errors import ConfigError
from stride_ros.world.vocabulary import (
    COLOURS,
    DARK,
    HAND,
    HELD,
    KINDS,
    LATE_KINDS,
    ON_TABLE,
    SHAPES,
    TAKEN,
    TOUCH,
    query_for,
    sentence_for,
)

SLIDE_SECONDS = 1.2  # an object needs this long from the edge of the picture to its place
CARRY_SECONDS = 1.2  # a hand needs this long from the edge of the picture to the table
LEAD_SECONDS = 0.7  # a hand with a thing is visible this long before the thing touches the table
GRIP_SECONDS = 0.8  # a hand rests at an object this long before it lifts it or lets go
HANDLE_SECONDS = 2.6  # a hand stays in view this long after it has put a thing down
SWITCH_SECONDS = 0.3  # the light fades over this long
WAIT_SECONDS = (3.0, 6.0)  # how long a hand is at a thing before it takes or leaves it
TAKE_SECONDS = 3.2  # a hand that takes a thing away lifts it out of the picture over this long
TAKE_LEAD_SECONDS = 2.2  # and is visible with it for this long
LANES = (-0.62, 0.0, 0.62)  # middle of each lane, in half picture widths from the centre


@dataclass(frozen=True)
class WorldConfig:
    """What may happen in a world, and how hard it is to see.

    `colours`, `shapes` and `kinds` (of `vocabulary.KINDS` and `LATE_KINDS`; `on_table` is always there)
    choose the vocabulary, `lanes` (1 to 3) the number of objects at one time. `shake`, `noise` and `light`
    scale camera shake, sensor noise and the drift of brightness and tint (1 is usual, 0 is none); `clutter`
    puts neutral things on the table and lets a toy mouse run by. `min_gap` is the minimum time in seconds
    between two events of one query.
    """

    colours: tuple[str, ...] = tuple(COLOURS)
    shapes: tuple[str, ...] = SHAPES
    kinds: tuple[str, ...] = KINDS
    lanes: int = 3
    palette: int = 5  # different objects in one clip
    min_gap: float = 4.0
    shake: float = 1.0
    noise: float = 1.0
    light: float = 1.0
    clutter: bool = True

    def __post_init__(self) -> None:
        for name, given, known in (
            ("colours", self.colours, tuple(COLOURS)),
            ("shapes", self.shapes, SHAPES),
            ("kinds", self.kinds, KINDS + LATE_KINDS),
        ):
            if not given or any(item not in known for item in given):
                raise ConfigError(f"Unknown world {name} {list(given)}; choose from {', '.join(known)}.")
        if not 1 <= self.lanes <= len(LANES):
            raise ConfigError(f"A world cannot have {self.lanes} lanes; choose 1 to {len(LANES)}.")
        if self.palette < 1 or self.min_gap < 2.5 or min(self.shake, self.noise, self.light) < 0:
            raise ConfigError(
                "A world needs a palette of at least 1, min_gap of at least 2.5 s, and shake, noise and light"
                " of at least 0; correct the value that is too small."
            )


@dataclass(frozen=True)
class WorldEvent:
    """Ground truth: an event that `query` asks about, from `start` to `end` (s); `text` describes it."""

    query: str
    start: float
    end: float
    text: str
    kind: str
    subject: str


@dataclass(frozen=True)
class Lift:
    """A hand holds the object up between `start` and `end` (s); it is off the table meanwhile."""

    start: float
    end: float


@dataclass(frozen=True)
class Contact:
    """The object of the middle lane stands at visit `neighbour` from `start` to `end` (s)."""

    start: float
    end: float
    neighbour: int


@dataclass
class Visit:
    """One object on the table from `start` to `end` (s) at (`u`, `v`).

    `u` is in half picture widths from the centre, `v` the depth from 0 (front) to 1 (back).
    `entry` and `exit`: "side", "front", "hand", or "there" (before the clip began, after it ends); an
    exit may also be "taken", by a hand that has been there since `awaited` (s). `hesitations`: when a
    hand is at the object and leaves it after all (start, end).
    """

    colour: str
    shape: str
    lane: int
    start: float
    end: float
    u: float
    v: float
    entry: str
    exit: str
    lifts: list[Lift] = field(default_factory=list)
    contacts: list[Contact] = field(default_factory=list)
    hesitations: list[tuple[float, float]] = field(default_factory=list)
    awaited: float = float("inf")

    @property
    def subject(self) -> str:
        return f"{self.colour} {self.shape}"

    def on_table(self) -> Iterator[tuple[float, float]]:
        """The parts of the visit in which the object stands on the table."""
        start = self.start
        for lift in self.lifts:
            yield start, lift.start
            start = lift.end
        yield start, self.end


@dataclass(frozen=True)
class Hand:
    """A hand is in view from `start` to `end` (s); `visit` is what it handles, if anything."""

    start: float
    end: float
    u: float
    visit: int | None


@dataclass(frozen=True)
class Story:
    """The plan of one clip."""

    visits: tuple[Visit, ...]
    hands: tuple[Hand, ...]
    dark: tuple[tuple[float, float], ...]
    mice: tuple[float, ...]  # when a toy mouse starts to run along the back of the table, s
    events: tuple[WorldEvent, ...]


class _Calendar:
    """Occupied intervals by name, which keep a distance from others with the same name."""

    def __init__(self) -> None:
        self._taken: dict[str, list[tuple[float, float]]] = {}

    def free(self, name: str, start: float, end: float, gap: float) -> bool:
        return all(end + gap <= a or start - gap >= b for a, b in self._taken.get(name, ()))

    def take(self, name: str, start: float, end: float) -> None:
        self._taken.setdefault(name, []).append((start, end))


class _Planner:
    def __init__(self, rng: np.random.Generator, seconds: float, config: WorldConfig) -> None:
        self.rng, self.seconds, self.config = rng, seconds, config
        self.calendar = _Calendar()
        self.visits: list[Visit] = []
        self.hands: list[Hand] = []
        kinds = [(colour, shape) for colour in config.colours for shape in config.shapes]
        order = rng.permutation(len(kinds))[: config.palette]
        self.palette = [kinds[i] for i in order]

    def plan(self) -> Story:
        lanes = [int(lane) for lane in self.rng.permutation(len(LANES))[: self.config.lanes]]
        for lane in lanes:
            self._fill_lane(lane)
        if TOUCH in self.config.kinds:
            self._let_touch()
        if HAND in self.config.kinds:
            self._wave()
        dark = self._switch_light() if DARK in self.config.kinds else ()
        mice = tuple(np.arange(self.rng.uniform(2, 20), self.seconds, 23.0)) if self.config.clutter else ()
        return Story(tuple(self.visits), tuple(self.hands), dark, mice, self._ground_truth(dark))

    def _uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def _fill_lane(self, lane: int) -> None:
        time = 0.0 if self.rng.random() < 0.25 else self._uniform(1.0, 7.0)
        while time < self.seconds - 4.0:
            stay = (9.0, 22.0) if TAKEN in self.config.kinds else (4.0, 15.0)  # time for hands to hesitate
            parts = [self._uniform(*stay)]
            if HELD in self.config.kinds and self.rng.random() < 0.4:
                parts = [self._uniform(4.5, 7.0), self._uniform(4.0, 7.0), self._uniform(4.5, 7.0)]
            end = min(time + sum(parts), self.seconds)
            if self.seconds - end < 3.0:
                end = self.seconds
            choice = self._choose_object(time, end)
            if choice is None:
                time += 2.0
                continue
            visit = Visit(
                *choice,
                lane=lane,
                start=time,
                end=end,
                u=LANES[lane] + self._uniform(-0.05, 0.05),
                v=self._uniform(0.2, 0.6),
                entry="there" if time == 0.0 else "",
                exit="there" if end == self.seconds else "",
            )
            self.visits.append(visit)
            self.calendar.take(visit.subject, time, end)
            if len(parts) == 3:
                self._lift(visit, time + parts[0], time + parts[0] + parts[1])
            visit.entry = visit.entry or self._way(visit, time - LEAD_SECONDS, time + HANDLE_SECONDS)
            visit.exit = visit.exit or self._exit(visit)
            if TAKEN in self.config.kinds:
                self._hesitate(visit)
            time = end + self._uniform(2.5, 8.0)

    def _choose_object(self, start: float, end: float) -> tuple[str, str] | None:
        free = [
            (colour, shape)
            for colour, shape in self.palette
            if self.calendar.free(f"{colour} {shape}", start, end, self.config.min_gap)
        ]
        return free[int(self.rng.integers(len(free)))] if free else None

    def _way(self, visit: Visit, start: float, end: float) -> str:
        """How the object comes or leaves; if by hand, the hand is busy from `start` to `end`."""
        hand_wanted = HAND in self.config.kinds and self.rng.random() < 0.35
        if hand_wanted and start > 0 and end < self.seconds and self._take_hand(visit, start, end):
            return "hand"
        return self._slide(visit)

    def _slide(self, visit: Visit) -> str:
        return "front" if visit.lane == 1 or self.rng.random() < 0.35 else "side"

    def _exit(self, visit: Visit) -> str:
        end = visit.end
        if TAKEN not in self.config.kinds:
            return self._way(visit, end - HANDLE_SECONDS, end + LEAD_SECONDS)
        return "taken" if self._take_away(visit) else self._slide(visit)

    def _take_hand(self, visit: Visit, start: float, end: float) -> bool:
        if not self.calendar.free(HAND, start, end, self.config.min_gap):
            return False
        self.calendar.take(HAND, start, end)
        self.hands.append(Hand(start, end, visit.u, self.visits.index(visit)))
        return True

    def _take_away(self, visit: Visit) -> bool:
        """Whether a hand takes the object in the end, after waiting at it."""
        *_, (settled, end) = visit.on_table()
        start, gone = end - self._uniform(*WAIT_SECONDS), end + TAKE_LEAD_SECONDS
        wanted = self.rng.random() < 0.7 and start > settled + HANDLE_SECONDS and gone < self.seconds
        if not wanted or not self._take_hand(visit, start, gone):
            return False
        visit.awaited = start
        return True

    def _hesitate(self, visit: Visit) -> None:
        """Let a hand come to the object as if to take it, and leave without it."""
        *_, (start, end) = self._calm(visit)
        length = self._uniform(*WAIT_SECONDS) + CARRY_SECONDS
        for _ in range(4):
            begin = self._uniform(start, max(start, end - length))
            if begin + length <= end and self._take_hand(visit, begin, begin + length):
                visit.hesitations.append((begin, begin + length))
                return

    def _lift(self, visit: Visit, start: float, end: float) -> None:
        hand = (start - CARRY_SECONDS - GRIP_SECONDS, end + GRIP_SECONDS + CARRY_SECONDS)
        if end + 4.0 <= visit.end and self._take_hand(visit, *hand):
            visit.lifts.append(Lift(start, end))

    def _calm(self, visit: Visit) -> Iterator[tuple[float, float]]:
        """Time ranges in which the object stands still and no hand is near."""
        stretches = list(visit.on_table())
        for i, (start, end) in enumerate(stretches):
            first, last = i == 0, i == len(stretches) - 1
            yield start + (2.2 if first else 2.4), min(end, visit.awaited) - (2.2 if last else 2.4)

    def _let_touch(self) -> None:
        for visit in [visit for visit in self.visits if visit.lane == 1]:
            for neighbour, other in enumerate(self.visits):
                if other.lane == 1:
                    continue
                for a, b in self._calm(visit):
                    for c, d in self._calm(other):
                        self._touch_within(visit, neighbour, max(a, c), min(b, d))

    def _touch_within(self, visit: Visit, neighbour: int, start: float, end: float) -> None:
        room = end - start - 2.0  # the ways there and back take a second each
        if room < 3.5:
            return
        length = self._uniform(3.5, min(8.0, room))
        begin = start + 1.0 + self._uniform(0.0, room - length)
        if any(begin - 1.0 < b and a < begin + length + 1.0 for a, b in visit.hesitations):
            return
        if self.calendar.free(TOUCH, begin, begin + length, self.config.min_gap):
            self.calendar.take(TOUCH, begin, begin + length)
            visit.contacts.append(Contact(begin, begin + length, neighbour))

    def _wave(self) -> None:
        """Add hands that reach in without touching anything."""
        time = self._uniform(3.0, 15.0)
        while time < self.seconds - 4.0:
            end = min(time + self._uniform(4.0, 8.0), self.seconds)
            if self.calendar.free(HAND, time, end, self.config.min_gap):
                self.calendar.take(HAND, time, end)
                self.hands.append(Hand(time, end, self._uniform(-0.7, 0.7), None))
            time = end + self._uniform(8.0, 25.0)

    def _switch_light(self) -> tuple[tuple[float, float], ...]:
        dark = []
        time = self._uniform(8.0, 35.0)
        while time < self.seconds - 4.0:
            end = min(time + self._uniform(4.0, 9.0), self.seconds)
            dark.append((time, end))
            time = end + self._uniform(15.0, 45.0)
        return tuple(dark)

    def _ground_truth(self, dark: tuple[tuple[float, float], ...]) -> tuple[WorldEvent, ...]:
        events = []

        def add(kind: str, start: float, end: float, subject: str, other: str = "") -> None:
            text = sentence_for(kind, subject, other)
            times = round(start, 3), round(min(end, self.seconds), 3)
            events.append(WorldEvent(query_for(kind, subject), *times, text, kind, subject))

        for visit in self.visits:
            for start, end in visit.on_table():
                add(ON_TABLE, start, end, visit.subject)
            for lift in visit.lifts:
                add(HELD, lift.start, lift.end, visit.subject)
            for touch in visit.contacts:
                add(TOUCH, touch.start, touch.end, visit.subject, self.visits[touch.neighbour].subject)
            if visit.exit == "taken":
                add(TAKEN, visit.awaited, visit.end + TAKE_LEAD_SECONDS, visit.subject)
        for hand in self.hands if HAND in self.config.kinds else ():
            add(HAND, hand.start, hand.end, "hand")
        for start, end in dark:
            add(DARK, start, end, "light")
        return tuple(sorted(events, key=lambda event: (event.start, event.end, event.query)))


def plan_story(seed: int, seconds: float, config: WorldConfig) -> Story:
    """The plan for one clip: the same arguments give the same story."""
    return _Planner(np.random.default_rng([0x57, seed]), seconds, config).plan()
