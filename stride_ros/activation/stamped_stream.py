"""From stamped frames to spans on the clock of the stamps: a stream, its origin, restarts, live changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.identity import watch_ids
from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.activation.spans import SpanEvent, SpanState
from stride_ros.activation.stream import ActivationStream, ActivationUpdate

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
    """Several queries on a stream that may stop, jump and start anew; span ids stay unique throughout."""

    def __init__(
        self, model: ActivationModel, queries: Sequence[str], config: ActivationConfig, first_id: int = 1
    ) -> None:
        """`first_id`: the id of the first span. Raises QueryError, ConfigError."""
        self._stream = ActivationStream(model, queries, config)
        self._watches = _watches(self._stream.queries)
        self._id_offset = first_id - 1
        self._origin: int | None = None
        self._newest = 0
        self._open: dict[int, tuple[SpanEvent, int]] = {}  # newest event and onset (ns), by span id
        self.window_seconds = self._stream.window_slots * self._stream.resolution

    @property
    def queries(self) -> tuple[str, ...]:
        return self._stream.queries

    @property
    def config(self) -> ActivationConfig:
        return self._stream.config

    @property
    def context_frames(self) -> int:
        return self._stream.context_frames

    @property
    def memory_bytes(self) -> int:
        """Bytes of the stream's state."""
        return self._stream.memory_bytes

    def memory_limit(self, height: int, width: int) -> int:
        """Bytes the stream's state takes at most with frames of this size (px)."""
        return self._stream.memory_limit(height, width)

    def apply(self, queries: Sequence[str], config: ActivationConfig) -> list[StampedEvent]:
        """Take over live changes before the next frame; other queries start the stream anew.

        Raises QueryError, ConfigError; nothing has changed then.
        """
        events: list[StampedEvent] = []
        if config != self._stream.config:
            self._stream.update_config(config)
        if tuple(queries) != self._stream.queries:
            events = self._stamped(self._stream.set_queries(queries))
            self._watches = _watches(self._stream.queries)
            self._origin = None
        return events

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
        updates = self._stream.push(rgb, (stamp_ns - origin) / NANOSECONDS)
        self._origin, self._newest = origin, stamp_ns
        return [self._decision(update) for update in updates]

    def restart(self) -> list[StampedEvent]:
        """Forget the stream; published spans that go on are ended."""
        events = self._stamped(self._stream.reset())
        self._origin = None
        return events

    def abandon(self) -> list[StampedEvent]:
        """End what is open without asking the stream, which an error may have left in any state."""
        ended = [
            self._stamp(replace(event, state=SpanState.OFFSET), onset) for event, onset in self._open.values()
        ]
        self._open.clear()
        return ended

    def _decision(self, update: ActivationUpdate) -> Decision:
        events = self._stamped(update.events)
        span = next((event for event, _ in self._open.values() if event.query == update.query), None)
        return Decision(self._watches[update.query], update, events, span)

    def _stamped(self, events: Iterable[SpanEvent]) -> list[StampedEvent]:
        stamped = []
        for event in events:
            numbered = replace(event, span_id=event.span_id + self._id_offset)
            _, onset = self._open.pop(numbered.span_id, (event, self._newest))
            if event.state not in (SpanState.OFFSET, SpanState.RETRACTED):
                self._open[numbered.span_id] = numbered, onset
            stamped.append(self._stamp(numbered, onset))
        return stamped

    def _stamp(self, event: SpanEvent, onset_ns: int) -> StampedEvent:
        origin = self._origin or 0
        start, end = (origin + max(0, round(seconds * NANOSECONDS)) for seconds in (event.start, event.end))
        return StampedEvent(event, start, end, onset_ns, self._watches[event.query])


def _watches(queries: Sequence[str]) -> dict[str, str]:
    """Ids of the watches by their queries."""
    return dict(zip(queries, watch_ids(queries), strict=True))
