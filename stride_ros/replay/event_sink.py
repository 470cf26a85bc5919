"""Collect the events of a replayed recording for the event log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stride_ros.activation.frame_path import DecisionSink, Frame
from stride_ros.activation.spans import SpanState
from stride_ros.activation.stamped_stream import Decision, StampedEvent
from stride_ros.events.record import OFFSET, OPEN, RETRACTED, Event, event_key
from stride_ros.events.recording import PicturedEvent
from stride_ros.runs.record import STATUSES, shortened

if TYPE_CHECKING:
    from stride_ros.response.commentary import Commentary
    from stride_ros.runs.recorder import RunRecorder

_STATES = {SpanState.OFFSET: OFFSET, SpanState.RETRACTED: RETRACTED}


@dataclass(frozen=True)
class _Told:
    """The last change of a span: at which frame, and the stamp (ns) that corresponds to time 0 there."""

    stamped: StampedEvent
    stamp: int
    frame_id: str
    first_ns: int


class EventSink(DecisionSink[Frame]):
    """Collects the events of one recording. `recorder`: records its run; set it before the first frame."""

    recorder: RunRecorder

    def __init__(self, origin: str, model: str) -> None:
        """`origin`: the recording, as its path was given; `model`: name of the activation model."""
        self._origin, self._model = origin, model
        self._told: dict[int, _Told] = {}  # by span id
        self._said: dict[int, Commentary] = {}

    def decision(self, stream: str, frame: Frame, decision: Decision) -> None:
        """See `DecisionSink`."""
        self.events(stream, frame, decision.events)

    def events(self, stream: str, frame: Frame, events: Sequence[StampedEvent]) -> None:
        """See `DecisionSink`."""
        # Where the clock was set, times of the recording continue, so the times of the record are used.
        first = frame.stamp - round(self.recorder.seconds(frame.stamp) * 1e9)
        for stamped in events:
            self._told[stamped.event.span_id] = _Told(stamped, frame.stamp, frame.frame_id, first)

    def commentary(self, frame: Frame, commentary: Commentary) -> None:
        """Store the final commentary on an event."""
        if commentary.final:
            self._said[commentary.span.span_id] = commentary

    def found(self) -> list[PicturedEvent]:
        """The events, including false alarms, by onset; call it once the recording is over."""
        return [PicturedEvent(self._event(told), self._picture(told)) for told in self._told.values()]

    def _picture(self, told: _Told) -> bytes:
        span = self.recorder.find(told.stamped.event.query, told.stamped.event.span_id)
        return span.thumbnail if span is not None else b""

    def _event(self, told: _Told) -> Event:
        stamped, event = told.stamped, told.stamped.event
        said = self._said.get(event.span_id)
        state = _STATES.get(event.state, OPEN)
        return Event(
            key=event_key(self._origin, "", stamped.watch, event.span_id),
            span_id=event.span_id,
            watch=stamped.watch,
            camera="",
            query=event.query,
            origin=self._origin,
            start_ns=stamped.start_ns,
            end_ns=None if state == OPEN else stamped.end_ns,
            # As in the run: products in batches differ in the ninth digit with what is mined together.
            confidence=shortened(event.confidence),
            state=state,
            sentence=said.text if said is not None else "",
            onset_ns=stamped.onset_ns,
            latest_ns=stamped.end_ns,
            stamp_ns=told.stamp,
            first_ns=told.first_ns,
            frame_id=told.frame_id,
            model=self._model,
            respond=stamped.respond,
            status=STATUSES[said.status] if said is not None else "",
            error=said.error if said is not None else "",
            speaker=said.model if said is not None else "",
            shown_ns=said.frame_stamps if said is not None else (),
        )
