"""From stamped frames to spans on the clock of the stamps: a stream, its origin, restarts, live changes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.identity import watch_ids
from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.activation.spans import SpanEvent, SpanState
from stride_ros.activation.watch import ActivationUpdate, Watch
from stride_ros.errors import QueryError

if TYPE_CHECKING:
    import numpy as np

    from stride_ros.activation.model import ActivationModel


@dataclass(frozen=True)
class StampedEvent:
    """A span event of a watch with its start, end and onset in ns on the clock of the image stamps.

    The model's first slots end at the first frame and so begin before it; `start_ns` and `end_ns` do not: an
    event cannot begin before there was anything to see. `onset_ns` is the stamp of the newest frame of the
    decision that published the span.
    """

    event: SpanEvent
    start_ns: int
    end_ns: int
    onset_ns: int
    watch: str


@dataclass(frozen=True)
class Decision:
    """One decision for one watch, with its span events on the clock of the image stamps.

    `span`: the newest event of the published span that goes on.
    """

    watch: str
    update: ActivationUpdate
    events: list[StampedEvent]
    span: SpanEvent | None


class StampedStream:
    """Several queries on a stream that may stop, jump and start anew; span ids stay unique throughout.

    A front of an engine with one stream: a watch for each query, and numbers for the spans of all of them.
    """

    def __init__(
        self, model: ActivationModel, queries: Sequence[str], config: ActivationConfig, first_id: int = 1
    ) -> None:
        """`first_id`: the id of the first span. Raises QueryError, ConfigError."""
        self._engine = ActivationEngine(model, config, keep_features=False)
        self._stream = self._engine.open_stream("camera")
        self._watches: dict[str, Watch] = {}  # by query
        self._names: dict[str, str] = {}  # ids of watches in messages, by query
        self._ids = itertools.count(first_id)
        self._numbers: dict[tuple[str, int], int] = {}  # ids of open spans by watch and its own count
        self._origin: int | None = None
        self._newest = 0
        self._open: dict[int, tuple[SpanEvent, int, str]] = {}  # newest event, onset (ns), watch; by span id
        self._set(self._checked(queries))
        self.window_seconds = self._engine.window_slots * self._engine.resolution

    @property
    def queries(self) -> tuple[str, ...]:
        return tuple(self._watches)

    @property
    def config(self) -> ActivationConfig:
        return self._engine.config

    @property
    def context_frames(self) -> int:
        return self._stream.context_frames

    @property
    def memory_bytes(self) -> int:
        """Bytes of the stream's state."""
        return self._engine.memory_bytes

    def memory_limit(self, height: int, width: int) -> int:
        """Bytes the stream's state takes at most with frames of this size (px)."""
        return self._engine.memory_for((height, width), self.queries)

    def apply(self, queries: Sequence[str], config: ActivationConfig) -> list[StampedEvent]:
        """Take over live changes before the next frame.

        A query that stays goes on as it is, unless its watch has another id now; a new one begins with the
        next pair of frames. Raises QueryError, ConfigError; nothing has changed then.
        """
        wanted = self._checked(queries) if tuple(queries) != self.queries else self.queries
        if config != self._engine.config:
            self._engine.update_config(config)
        return self._set(wanted) if wanted != self.queries else []

    def lost_sight(self, stamp_ns: int) -> float | None:
        """Seconds without a frame before this stamp, if nothing of the window will remain, else None.

        Whatever was open then has long ended.
        """
        seconds = (stamp_ns - self._newest) / NANOSECONDS
        return seconds if self._origin is not None and seconds > self.window_seconds else None

    def push(self, rgb: np.ndarray, stamp_ns: int) -> list[Decision]:
        """Show one frame (height, width, 3) uint8 RGB; return a decision for each query, if one was due.

        Raises FrameError, TimeError; after any other error call `restart`.
        """
        # Seconds since an origin near by: floats of seconds since 1970 are too coarse for the model's times.
        origin = stamp_ns if self._origin is None else self._origin
        updates = self._engine.push({self._stream: (rgb, (stamp_ns - origin) / NANOSECONDS)})
        self._origin, self._newest = origin, stamp_ns
        return [self._decision(update) for update in updates]

    def restart(self) -> list[StampedEvent]:
        """Forget the stream; published spans that go on are ended."""
        self._stream.reset()
        events = self.abandon()
        self._origin = None
        return events

    def abandon(self) -> list[StampedEvent]:
        """End what is open without asking the stream, which an error may have left in any state."""
        return [self._end(number) for number in list(self._open)]

    def _checked(self, queries: Sequence[str]) -> tuple[str, ...]:
        if isinstance(queries, str) or not queries:
            raise QueryError("There is nothing to watch for; pass a list of at least one query.")
        checked = tuple(self._engine.model.prompt.check_query(query) for query in queries)
        if len(set(checked)) < len(checked):
            raise QueryError("A query is listed twice; list each one once.")
        return checked

    def _set(self, queries: tuple[str, ...]) -> list[StampedEvent]:
        """Watch for these queries; the ends of what was open for others."""
        names = dict(zip(queries, watch_ids(queries), strict=True))
        ended: list[StampedEvent] = []
        for query, watch in list(self._watches.items()):
            if names.get(query) != self._names[query]:
                self._stream.unwatch(watch)
                del self._watches[query]
                owned = [n for n, (_, _, name) in self._open.items() if name == self._names[query]]
                ended += [self._end(number) for number in owned]
        kept, self._watches, self._names = self._watches, {}, names
        if not kept:  # nobody's decisions depend on the frames so far: begin with the next one
            self._stream.reset()
            self._origin = None
        for query in queries:
            self._watches[query] = kept.get(query) or self._stream.watch(query, id=names[query])
        return ended

    def _decision(self, update: ActivationUpdate) -> Decision:
        events = [self._stamped(update.watch, event) for event in update.events]
        span = next((event for event, _, watch in self._open.values() if watch == update.watch), None)
        return Decision(update.watch, update, events, span)

    def _stamped(self, watch: str, event: SpanEvent) -> StampedEvent:
        """Number an event, and remember what is open."""
        key = (watch, event.span_id)
        if key not in self._numbers:
            self._numbers[key] = next(self._ids)
        numbered = replace(event, span_id=self._numbers[key])
        _, onset, _ = self._open.pop(numbered.span_id, (event, self._newest, watch))
        if event.state in (SpanState.OFFSET, SpanState.RETRACTED):
            del self._numbers[key]
        else:
            self._open[numbered.span_id] = numbered, onset, watch
        return self._stamp(numbered, onset, watch)

    def _end(self, number: int) -> StampedEvent:
        """The end of an open span, as far as it was seen."""
        event, onset, watch = self._open.pop(number)
        self._numbers = {key: value for key, value in self._numbers.items() if value != number}
        return self._stamp(replace(event, state=SpanState.OFFSET), onset, watch)

    def _stamp(self, event: SpanEvent, onset_ns: int, watch: str) -> StampedEvent:
        origin = self._origin or 0
        start, end = (origin + max(0, round(seconds * NANOSECONDS)) for seconds in (event.start, event.end))
        return StampedEvent(event, start, end, onset_ns, watch)
