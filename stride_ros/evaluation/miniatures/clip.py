"""The questions that can be asked about a clip of the world."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stride_ros.world.story import WorldEvent
from stride_ros.world.vocabulary import DARK, HAND, HELD, TOUCH
from stride_ros.world.world import World

_CLEAR = 1.5  # s around a moment in which nothing changes
_COMMAND = "Tell me when "
_ACTIVITIES = {
    HELD: "holding something up",
    TOUCH: "bringing two objects together",
    HAND: "reaching into the picture",
    DARK: "switching the light off",
}


@dataclass(frozen=True)
class Clip:
    """A world with its number in the set, and its own random numbers."""

    number: int
    world: World
    rng: np.random.Generator

    @property
    def seconds(self) -> float:
        """Its length in s."""
        return self.world.seconds

    def queries(self, least: int, most: int = 1000) -> list[str]:
        """The queries with this many events in the clip, in random order."""
        found = [query for query in self.world.queries if least <= len(self.events(query)) <= most]
        return [found[i] for i in self.rng.permutation(len(found))]

    def events(self, query: str) -> list[WorldEvent]:
        """The events of a query that are visible from their start and begin before the end of the clip."""
        return [e for e in self.world.events_for(query) if e.start < self.seconds - 4.0]

    def absent(self, count: int) -> list[str]:
        """Sentences about things that never happen in the clip."""
        queries = self.world.negative_queries
        return [sentence(queries[i]) for i in self.rng.permutation(len(queries))[:count]]

    def so_at(self, time: float) -> list[WorldEvent]:
        """What is clearly true at a time (s)."""
        return [e for e in self.world.events if e.start <= time - _CLEAR and time + _CLEAR <= e.end]

    def over_by(self, time: float) -> list[WorldEvent]:
        """What was true, and is over at a time (s)."""
        return [e for e in self.world.events if e.end <= time - 2 * _CLEAR]

    def moment(self, start: float, end: float) -> int:
        """A random whole second."""
        return int(self.rng.integers(math.ceil(start), max(math.ceil(start) + 1, int(end))))

    def one_of(self, events: Sequence[WorldEvent]) -> WorldEvent:
        """A random element."""
        return events[int(self.rng.integers(len(events)))]

    def choices(self, right: str) -> tuple[list[str], int]:
        """Four options that include the correct one, and its index."""
        options = self.absent(3)
        place = int(self.rng.integers(len(options) + 1))
        return [*options[:place], right, *options[place:]], place


def sentence(query: str) -> str:
    """The statement in a query, as a sentence."""
    text = query.removeprefix(_COMMAND)
    return text[:1].upper() + text[1:]


def activity(event: WorldEvent) -> str:
    """The activity of an event, as in "somebody was seen ..."."""
    return _ACTIVITIES.get(event.kind, f"placing a {event.subject} on the table")


def in_view(events: Sequence[WorldEvent], clip: Clip) -> list[list[float]]:
    """The spans of events in the form of annotations: to 0.1 s, within the clip."""
    return [[round(e.start, 1), round(min(e.end, clip.seconds), 1)] for e in events]
