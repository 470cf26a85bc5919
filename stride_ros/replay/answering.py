"""Between the frames' path and whoever answers onsets: the one place where a replay talks to a responder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from stride_ros.activation.frame_path import DecisionSink, Frame
from stride_ros.activation.spans import SpanState
from stride_ros.activation.stamped_stream import Decision, StampedEvent

if TYPE_CHECKING:
    from stride_ros.replay.answers import Answerer
    from stride_ros.runs.record import Said


class AnswerSink(Protocol):
    """Takes answers."""

    def said(self, frame: Frame, event: StampedEvent, said: Said) -> None:
        """The answer to an onset that was decided at `frame`."""


class AnsweringSink(DecisionSink[Frame]):
    """A sink that has each onset answered at once, and hands the answers on."""

    def __init__(self, answerer: Answerer, sinks: Sequence[AnswerSink]) -> None:
        self._answerer, self._sinks = answerer, sinks

    def frame(self, stream: str, frame: Frame) -> None:
        """Show a frame to the responder."""
        self._answerer.add(frame.image, frame.stamp)

    def decision(self, stream: str, frame: Frame, decision: Decision) -> None:
        """Answer the onsets among its events."""
        self.events(stream, frame, decision.events)

    def events(self, stream: str, frame: Frame, events: Sequence[StampedEvent]) -> None:
        """Answer the onsets."""
        for stamped in events:
            if stamped.event.state is not SpanState.ONSET:
                continue
            said = self._answerer.answer(stamped.event.query, stamped.start_ns, frame.stamp)
            for sink in self._sinks:
                sink.said(frame, stamped, said)
