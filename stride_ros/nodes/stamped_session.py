"""From stamped frames to spans on the clock of the stamps: a session, its origin, restarts, live changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.session import ActivationSession, ActivationUpdate
from stride_ros.activation.spans import SpanEvent, SpanState
from stride_ros.nodes.sampling import NANOSECONDS

if TYPE_CHECKING:
    import numpy as np

    from stride_ros.activation.model import ActivationModel


@dataclass(frozen=True)
class StampedEvent:
    """A span event with its start and end in ns on the clock of the image stamps."""

    event: SpanEvent
    start_ns: int
    end_ns: int


class StampedSession:
    """One session on a stream that may stop, jump and start anew; span ids stay unique."""

    def __init__(
        self, model: ActivationModel, query: str, config: ActivationConfig, first_id: int = 1
    ) -> None:
        """`first_id`: the id of the first span. Raises QueryError, ConfigError."""
        self._session = ActivationSession(model, query, config)
        self._config = config
        self._id_offset = first_id - 1
        self._origin: int | None = None
        self._newest = 0
        self._open: dict[int, SpanEvent] = {}
        self.window_seconds = self._session.window_slots * self._session.resolution

    @property
    def query(self) -> str:
        return self._session.query

    @property
    def context_frames(self) -> int:
        return self._session.context_frames

    @property
    def open_span(self) -> SpanEvent | None:
        """The newest event of the published span that goes on now."""
        return next(iter(self._open.values()), None)

    def apply(self, query: str, config: ActivationConfig) -> list[StampedEvent]:
        """Take over live changes before the next frame; a new query ends an open span.

        Raises QueryError, ConfigError; nothing has changed then.
        """
        events: list[StampedEvent] = []
        if config != self._config:
            self._session.update_config(config)
            self._config = config
        if query != self._session.query:
            events = self._stamped(self._session.set_query(query))
            self._origin = None
        return events

    def has_lost_sight(self, stamp_ns: int) -> bool:
        """Whether nothing of the window will remain at this stamp: whatever was open has long ended."""
        return self._origin is not None and stamp_ns - self._newest > self.window_seconds * NANOSECONDS

    def push(self, rgb: np.ndarray, stamp_ns: int) -> tuple[ActivationUpdate | None, list[StampedEvent]]:
        """Show one frame (height, width, 3) uint8 RGB; return the decision, if one was due, and its events.

        Raises FrameError, TimeError; after any other error call `restart`.
        """
        # Seconds since an origin near by: floats of seconds since 1970 are too coarse for the model's times.
        origin = stamp_ns if self._origin is None else self._origin
        update = self._session.push(rgb, (stamp_ns - origin) / NANOSECONDS)
        self._origin, self._newest = origin, stamp_ns
        return update, self._stamped(update.events if update is not None else ())

    def restart(self) -> list[StampedEvent]:
        """Forget the stream; a published span that goes on is ended."""
        events = self._stamped(self._session.reset())
        self._origin = None
        return events

    def abandon(self) -> list[StampedEvent]:
        """End what is open without asking the session, which an error may have left in any state."""
        ended = [replace(event, state=SpanState.OFFSET) for event in self._open.values()]
        self._open.clear()
        return [self._stamp(event) for event in ended]

    def _stamped(self, events: Iterable[SpanEvent]) -> list[StampedEvent]:
        stamped = []
        for event in events:
            numbered = replace(event, span_id=event.span_id + self._id_offset)
            if event.state in (SpanState.OFFSET, SpanState.RETRACTED):
                self._open.pop(numbered.span_id, None)
            else:
                self._open[numbered.span_id] = numbered
            stamped.append(self._stamp(numbered))
        return stamped

    def _stamp(self, event: SpanEvent) -> StampedEvent:
        origin = self._origin or 0
        return StampedEvent(event, _absolute(origin, event.start), _absolute(origin, event.end))


def _absolute(origin_ns: int, seconds: float) -> int:
    """Return origin + seconds in ns, never before the epoch: a Time message has no negative seconds."""
    return max(0, origin_ns + round(seconds * NANOSECONDS))
