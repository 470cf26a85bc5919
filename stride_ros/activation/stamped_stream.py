"""One camera's stream, its origin and its restarts: from stamped frames to spans on the stamps' clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.activation.spans import ENDS, SpanEvent, SpanState
from stride_ros.activation.watch import ActivationUpdate, Watch
from stride_ros.activation.watch_request import WatchRequest

if TYPE_CHECKING:
    from stride_ros.activation.stream import Stream


@dataclass(frozen=True)
class StampedEvent:
    """A span event of a watch with its start, end and onset in ns on the clock of the image stamps.

    The model's first slots end at the first frame, so they begin before it; `start_ns` and `end_ns` do not,
    since an event cannot begin before there was anything to see. `onset_ns` is the stamp of the newest frame
    of the decision that published the span. `respond`: whether the responder is to speak about it.
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

    `span`: the newest event of the open published span.
    """

    watch: str
    update: ActivationUpdate
    events: list[StampedEvent]
    span: SpanEvent | None


@dataclass
class _Watched:
    """A watch of the stream, with its request."""

    request: WatchRequest
    watch: Watch
    since: float = 0.0  # stream time (s); spans that began before it do not count


@dataclass(frozen=True)
class _Open:
    """An open published span: its newest event, its onset (ns) and its watch."""

    event: SpanEvent
    onset_ns: int
    request: WatchRequest


class StampedStream:
    """Several watches on a stream that can stop, jump and restart; created by `StampedEngine`."""

    def __init__(self, stream: Stream, ids: Iterator[int]) -> None:
        """`ids`: ids for spans, unique among all streams."""
        self.stream = stream
        self._watched: dict[str, _Watched] = {}  # by id of the watch
        self._ids = ids
        self._numbers: dict[tuple[str, int], int] = {}  # ids of open spans, by watch and its count
        self._origin: int | None = None
        self._newest = 0
        self._open: dict[int, _Open] = {}  # by span id

    @property
    def requests(self) -> tuple[WatchRequest, ...]:
        """The requests that are being watched for."""
        return tuple(watched.request for watched in self._watched.values())

    @property
    def readiness(self) -> dict[str, bool]:
        """By id of each watch that has begun: whether it decides from the next frame at the latest.

        One that looks back may first have to catch up.
        """
        return {
            name: watched.watch.ready or not watched.watch.backlog
            for name, watched in self._watched.items()
            if watched.watch.ready or (watched.watch.catching_up and self._origin is not None)
        }

    def gap(self, stamp_ns: int) -> float | None:
        """Seconds without a frame before this stamp; None before the first frame."""
        return None if self._origin is None else (stamp_ns - self._newest) / NANOSECONDS

    def restart(self) -> list[StampedEvent]:
        """Restart the stream; open published spans end."""
        self.stream.reset()
        events = self.abandon()
        self._origin = None
        for watched in self._watched.values():
            watched.since = 0.0
        return events

    def abandon(self) -> list[StampedEvent]:
        """End open spans without the stream, which an error may have left in an undefined state."""
        return [self._end(number) for number in list(self._open)]

    # For its engine

    def time(self, stamp_ns: int) -> float:
        """The stream's time (s) of a frame with this stamp."""
        # Seconds since a nearby origin: floats of seconds since 1970 are too coarse for the model's times.
        origin = stamp_ns if self._origin is None else self._origin
        return (stamp_ns - origin) / NANOSECONDS

    def took(self, stamp_ns: int) -> None:
        """Note that the stream has taken in a frame with this stamp."""
        self._origin = stamp_ns if self._origin is None else self._origin
        self._newest = stamp_ns

    def decision(self, update: ActivationUpdate) -> Decision:
        """Turn an update of this stream into a decision."""
        events = [stamped for event in update.events if (stamped := self._stamped(update.watch, event))]
        span = next((span.event for span in self._open.values() if span.request.id == update.watch), None)
        return Decision(update.watch, update, events, span)

    def drop_others(self, requests: Sequence[WatchRequest]) -> list[StampedEvent]:
        """Keep the watches that are still requested; return the ends of spans open for the others."""
        wanted = {request.identity for request in requests}
        ended: list[StampedEvent] = []
        for name, watched in list(self._watched.items()):
            if watched.request.identity not in wanted:
                self.stream.unwatch(watched.watch)
                del self._watched[name]
                owned = [number for number, span in self._open.items() if span.request.id == name]
                ended += [self._end(number) for number in owned]
        if not self._watched:  # no decision depends on the frames so far: begin with the next one
            self.stream.reset()
            self._origin = None
        return ended

    def watch(self, requests: Sequence[WatchRequest]) -> None:
        """Watch for these checked requests; one with the id of a kept watch only changes that watch."""
        kept, self._watched = self._watched, {}
        for request in requests:
            watched = kept.get(request.id) or self._new(request)
            watched.request, watched.watch.trigger = request, request.trigger
            self._watched[request.id] = watched

    def _new(self, request: WatchRequest) -> _Watched:
        back = request.look_back > 0
        watch = self.stream.watch(request.query, request.trigger, request.id, look_back=back)
        now = 0.0 if self._origin is None else (self._newest - self._origin) / NANOSECONDS
        return _Watched(request, watch, max(0.0, now - request.look_back) if back else 0.0)

    def _stamped(self, watch: str, event: SpanEvent) -> StampedEvent | None:
        """Give an event its id, and remember open spans; None for a span that does not count."""
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
        """The OFFSET of an open span, with the last end that was seen."""
        span = self._open.pop(number)
        self._numbers = {key: value for key, value in self._numbers.items() if value != number}
        return self._stamp(replace(span, event=replace(span.event, state=SpanState.OFFSET)))

    def _stamp(self, span: _Open) -> StampedEvent:
        origin, event = self._origin or 0, span.event
        start, end = (origin + max(0, round(seconds * NANOSECONDS)) for seconds in (event.start, event.end))
        return StampedEvent(event, start, end, span.onset_ns, span.request.id, span.request.respond)
