"""Waiting for an event of a watch: which spans count, and how a wait ends. Does not need ROS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Generic, TypeVar

from stride_ros.activation.spans import ENDS, SpanState

_REMEMBERED = 100  # spans of each watch
MessageT = TypeVar("MessageT")


class Until(IntEnum):
    """What a wait is for; the values are those of stride_ros/action/WaitForEvent."""

    ONSET = 0
    OFFSET = 1


class Outcome(IntEnum):
    """How a wait ends; the values are those of stride_ros/action/WaitForEvent."""

    NONE = 0
    UNKNOWN = 1
    TIMEOUT = 2
    REFUSED = 3
    WATCH_REMOVED = 4
    DEACTIVATED = 5
    CLOCK_JUMP = 6
    CANCELED = 7


@dataclass(frozen=True)
class Sighting(Generic[MessageT]):
    """What was published about a span: its state, and its start and end (ns, on the clock of the images)."""

    watch: str
    camera: str
    query: str
    span_id: int
    state: SpanState
    start: int
    end: int
    message: MessageT

    @property
    def is_open(self) -> bool:
        """Whether the event is still going on."""
        return self.state not in ENDS


@dataclass(frozen=True)
class WaitTerms:
    """What ends a wait.

    watch, query: identify the watch; with another query it is another watch. accept_open: for an onset, an
    event that is already going on counts. since: by camera, ns on the clock of its images; events that began
    (for an offset: ended) since then also count, and so do all events of a camera that has shown nothing so
    far; None: only events published from now on. deadline: ns on the node's clock. want_commentary: continue
    until the final Commentary of the event is there.
    """

    watch: str
    query: str
    until: Until = Until.ONSET
    accept_open: bool = True
    since: Mapping[str, int] | None = None
    deadline: int = 0
    want_commentary: bool = False


class SpanHistory(Generic[MessageT]):
    """Keeps the newest state of the last spans of each watch. Not thread-safe."""

    def __init__(self) -> None:
        self._spans: dict[str, dict[int, Sighting[MessageT]]] = {}  # by watch and span id, oldest first

    def record(self, sighting: Sighting[MessageT]) -> None:
        """Record a change of a span; a retracted span is forgotten."""
        spans = self._spans.setdefault(sighting.watch, {})
        if sighting.state is SpanState.RETRACTED:
            spans.pop(sighting.span_id, None)
            return
        spans[sighting.span_id] = sighting
        over = (number for number, span in spans.items() if not span.is_open)
        if len(spans) > _REMEMBERED and (oldest := next(over, None)) is not None:
            del spans[oldest]

    def of(self, watch: str, query: str, camera: str | None = None) -> list[Sighting[MessageT]]:
        """The spans of a watch for this query, oldest first; those of one camera, or of all."""
        return [
            span
            for span in self._spans.get(watch, {}).values()
            if span.query == query and camera in (None, span.camera)
        ]

    def is_open(self, watch: str, query: str, camera: str) -> bool:
        """Whether an event of this watch is going on on this camera."""
        return any(span.is_open for span in self.of(watch, query, camera))

    def keep_only(self, watches: Iterable[str]) -> None:
        """Forget the spans of all other watches."""
        self._spans = {watch: self._spans[watch] for watch in watches if watch in self._spans}

    def clear(self, camera: str | None = None) -> None:
        """Forget the spans of one camera, or of all."""
        if camera is None:
            self._spans = {}
            return
        for spans in self._spans.values():
            for number in [number for number, span in spans.items() if span.camera == camera]:
                del spans[number]


class Wait(Generic[MessageT]):
    """One wait. `found`: the newest state of the event that ends it; of several events, the last one."""

    def __init__(self, terms: WaitTerms) -> None:
        self.terms = terms
        self.found: Sighting[MessageT] | None = None

    def postpone(self, by: int) -> None:
        """Move the deadline (ns)."""
        self.terms = replace(self.terms, deadline=self.terms.deadline + by)

    def recall(self, spans: Sequence[Sighting[MessageT]]) -> None:
        """Take in spans of the watch from before the wait began, each in its newest state.

        What a watch finds in its first decision also counts as from before.
        """
        for span in spans:
            if self._was_awaited(span):
                self.found = span

    def see(self, sighting: Sighting[MessageT]) -> None:
        """Take in a change that is published during the wait."""
        terms = self.terms
        if (sighting.watch, sighting.query) != (terms.watch, terms.query):
            return
        awaited = SpanState.ONSET if terms.until is Until.ONSET else SpanState.OFFSET
        is_found = self.found is not None and sighting.span_id == self.found.span_id
        if is_found or sighting.state is awaited:
            self.found = sighting

    def _was_awaited(self, span: Sighting[MessageT]) -> bool:
        if span.state is SpanState.RETRACTED:
            return False
        since = None if self.terms.since is None else self.terms.since.get(span.camera, 0)
        if self.terms.until is Until.OFFSET:
            return span.state is SpanState.OFFSET and since is not None and span.end >= since
        return (self.terms.accept_open and span.is_open) or (since is not None and span.start >= since)
