"""From stamped frames to spans on the clock of the stamps: a stream, its origin, restarts, live changes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.activation.spans import ENDS, SpanEvent, SpanState
from stride_ros.activation.watch import ActivationUpdate, Watch
from stride_ros.activation.watch_request import WatchRequest
from stride_ros.errors import QueryError
from stride_ros.qwen3_vl.patches import CELL

if TYPE_CHECKING:
    import numpy as np

    from stride_ros.activation.model import ActivationModel

_UNKNOWN_SIZE = (CELL, CELL)  # px; the first frame is admitted as it is, and not as the largest that may come


@dataclass(frozen=True)
class StampedEvent:
    """A span event of a watch with its start, end and onset in ns on the clock of the image stamps.

    The model's first slots end at the first frame and so begin before it; `start_ns` and `end_ns` do not: an
    event cannot begin before there was anything to see. `onset_ns` is the stamp of the newest frame of the
    decision that published the span. `respond`: whether the responder is to speak about it.
    """

    event: SpanEvent
    start_ns: int
    end_ns: int
    onset_ns: int
    watch: str
    respond: bool = True


@dataclass(frozen=True)
class Decision:
    """One decision for one watch, with its span events on the clock of the image stamps.

    `span`: the newest event of the published span that goes on.
    """

    watch: str
    update: ActivationUpdate
    events: list[StampedEvent]
    span: SpanEvent | None


@dataclass
class _Watched:
    """A watch of the stream, as it was asked for."""

    request: WatchRequest
    watch: Watch
    since: float = 0.0  # s of the stream; spans that began before it do not count


@dataclass(frozen=True)
class _Open:
    """A published span that goes on: its newest event, its onset (ns) and its watch."""

    event: SpanEvent
    onset_ns: int
    request: WatchRequest


class StampedStream:
    """Several watches on a stream that may stop, jump and start anew; span ids stay unique throughout.

    A front of an engine with one stream, and numbers for the spans of all watches.
    """

    def __init__(
        self,
        model: ActivationModel,
        requests: Sequence[WatchRequest],
        config: ActivationConfig,
        first_id: int = 1,
        *,
        look_back: bool = False,
        memory_limit: int | None = None,
    ) -> None:
        """`first_id`: the id of the first span. `look_back`: keep what watches that look back need.

        `memory_limit`: bytes that the state may take; None: no limit. Raises QueryError, ConfigError,
        CapacityError.
        """
        self._engine = ActivationEngine(model, config, memory_limit, keep_features=look_back)
        self._stream = self._engine.open_stream("camera", _UNKNOWN_SIZE)
        self._watched: dict[str, _Watched] = {}  # by id of the watch
        self._ids = itertools.count(first_id)
        self._numbers: dict[tuple[str, int], int] = {}  # ids of open spans by watch and its own count
        self._origin: int | None = None
        self._newest = 0
        self._open: dict[int, _Open] = {}  # by span id
        self._check(requests)
        self._set(tuple(requests))
        self.window_seconds = self._engine.window_slots * self._engine.resolution

    @property
    def queries(self) -> tuple[str, ...]:
        return tuple(watched.request.query for watched in self._watched.values())

    @property
    def config(self) -> ActivationConfig:
        return self._engine.config

    @property
    def context_frames(self) -> int:
        return self._stream.context_frames

    @property
    def readiness(self) -> dict[str, bool]:
        """By id of each watch that has begun: whether it decides from the next frame on, at the latest.

        One that looks back may first have to catch up.
        """
        return {
            name: watched.watch.ready or not watched.watch.backlog
            for name, watched in self._watched.items()
            if watched.watch.ready or (watched.watch.catching_up and self._origin is not None)
        }

    @property
    def memory_bytes(self) -> int:
        """Bytes of the stream's state."""
        return self._engine.memory_bytes

    def most_bytes(self, height: int, width: int) -> int:
        """Bytes the stream's state takes at most with frames of this size (px)."""
        return self._engine.memory_for((height, width), self.queries)

    def apply(self, requests: Sequence[WatchRequest], config: ActivationConfig) -> list[StampedEvent]:
        """Take over live changes before the next frame.

        A watch that stays goes on as it is; one with another query is another one. A new one begins with the
        next pair of frames, or catches up if it looks back. Raises QueryError, ConfigError, CapacityError;
        nothing has changed then.
        """
        wanted = tuple(requests)
        if wanted != self._requests:
            self._check(wanted)
        if config != self._engine.config:
            self._engine.update_config(config)
        return self._set(wanted) if wanted != self._requests else []

    def lost_sight(self, stamp_ns: int) -> float | None:
        """Seconds without a frame before this stamp, if nothing of the window will remain, else None.

        Whatever was open then has long ended.
        """
        seconds = (stamp_ns - self._newest) / NANOSECONDS
        return seconds if self._origin is not None and seconds > self.window_seconds else None

    def push(self, rgb: np.ndarray, stamp_ns: int) -> list[Decision]:
        """Show one frame (height, width, 3) uint8 RGB; return a decision for each watch, if one was due.

        Raises FrameError, TimeError, and CapacityError where the limit allows no frames of this size; after
        any other error call `restart`.
        """
        # Seconds since an origin near by: floats of seconds since 1970 are too coarse for the model's times.
        origin = stamp_ns if self._origin is None else self._origin
        updates = self._engine.push({self._stream: (rgb, (stamp_ns - origin) / NANOSECONDS)})
        self._origin, self._newest = origin, stamp_ns
        return [self._decision(update) for update in updates]

    def catch_up(self) -> bool:
        """Between frames: let watches that look back take in a little; False if nothing was to do."""
        return self._engine.catch_up()

    def restart(self) -> list[StampedEvent]:
        """Forget the stream; published spans that go on are ended."""
        self._stream.reset()
        events = self.abandon()
        self._origin = None
        for watched in self._watched.values():
            watched.since = 0.0
        return events

    def abandon(self) -> list[StampedEvent]:
        """End what is open without asking the stream, which an error may have left in any state."""
        return [self._end(number) for number in list(self._open)]

    @property
    def _requests(self) -> tuple[WatchRequest, ...]:
        return tuple(watched.request for watched in self._watched.values())

    def _check(self, requests: Sequence[WatchRequest]) -> None:
        if not requests:
            raise QueryError("There is nothing to watch for; pass a list of at least one query.")
        for request in requests:
            self._engine.model.prompt.check_query(request.query)
            if request.trigger is not None:
                self._engine.check_trigger(request.trigger)
        self._engine.admit(self._stream, [request.query for request in requests])

    def _set(self, requests: tuple[WatchRequest, ...]) -> list[StampedEvent]:
        """Watch for these, which were checked; the ends of what was open for others."""
        queries = {request.id: request.query for request in requests}
        ended: list[StampedEvent] = []
        for name, watched in list(self._watched.items()):
            if queries.get(name) != watched.request.query:
                self._stream.unwatch(watched.watch)
                del self._watched[name]
                owned = [number for number, span in self._open.items() if span.request.id == name]
                ended += [self._end(number) for number in owned]
        kept, self._watched = self._watched, {}
        if not kept:  # nobody's decisions depend on the frames so far: begin with the next one
            self._stream.reset()
            self._origin = None
        for request in requests:
            watched = kept.get(request.id) or self._watch(request)
            watched.request, watched.watch.trigger = request, request.trigger
            self._watched[request.id] = watched
        return ended

    def _watch(self, request: WatchRequest) -> _Watched:
        back = request.look_back > 0
        watch = self._stream.watch(request.query, request.trigger, request.id, look_back=back)
        now = 0.0 if self._origin is None else (self._newest - self._origin) / NANOSECONDS
        return _Watched(request, watch, max(0.0, now - request.look_back) if back else 0.0)

    def _decision(self, update: ActivationUpdate) -> Decision:
        events = [stamped for event in update.events if (stamped := self._stamped(update.watch, event))]
        span = next((span.event for span in self._open.values() if span.request.id == update.watch), None)
        return Decision(update.watch, update, events, span)

    def _stamped(self, watch: str, event: SpanEvent) -> StampedEvent | None:
        """Number an event, and remember what is open; None for a span that does not count."""
        key = (watch, event.span_id)
        watched = self._watched[watch]
        if key not in self._numbers:
            if event.state is not SpanState.ONSET or max(0.0, event.start) < watched.since:
                return None
            self._numbers[key] = next(self._ids)
        numbered = replace(event, span_id=self._numbers[key])
        before = self._open.pop(numbered.span_id, None)
        onset = self._newest if before is None else before.onset_ns
        span = _Open(numbered, onset, watched.request)
        if event.state in ENDS:
            del self._numbers[key]
        else:
            self._open[numbered.span_id] = span
        return self._stamp(span)

    def _end(self, number: int) -> StampedEvent:
        """The end of an open span, as far as it was seen."""
        span = self._open.pop(number)
        self._numbers = {key: value for key, value in self._numbers.items() if value != number}
        return self._stamp(replace(span, event=replace(span.event, state=SpanState.OFFSET)))

    def _stamp(self, span: _Open) -> StampedEvent:
        origin, event = self._origin or 0, span.event
        start, end = (origin + max(0, round(seconds * NANOSECONDS)) for seconds in (event.start, event.end))
        return StampedEvent(event, start, end, span.onset_ns, span.request.id, span.request.respond)
