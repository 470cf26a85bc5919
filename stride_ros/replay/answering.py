"""Between the frames' path and the responder of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from stride_ros.activation.frame_path import DecisionSink, Frame
from stride_ros.activation.stamped_stream import Decision, StampedEvent

if TYPE_CHECKING:
    from stride_ros.replay.responder import ReplayResponder
    from stride_ros.response.commentary import Commentary


class CommentaryRecorder(Protocol):
    """Takes what is said about events."""

    def commentary(self, frame: Frame, commentary: Commentary) -> None:
        """Something was said at `frame`: the final words about an event, or whole ones that others follow."""


class RespondingSink(DecisionSink[Frame]):
    """A sink that tells a responder everything, and hands on what it says."""

    def __init__(self, responder: ReplayResponder, sinks: Sequence[CommentaryRecorder]) -> None:
        self._responder, self._sinks = responder, sinks
        self._newest: Frame | None = None

    def frame(self, stream: str, frame: Frame) -> None:
        """Show a frame to the responder."""
        self._newest = frame
        self._responder.frame(frame.image, frame.stamp)

    def decision(self, stream: str, frame: Frame, decision: Decision) -> None:
        """Tell it of the events of a decision."""
        self.events(stream, frame, decision.events)

    def events(self, stream: str, frame: Frame, events: Sequence[StampedEvent]) -> None:
        """Tell it of events, in all their states."""
        for stamped in events:
            self._hand_on(frame, self._responder.span(stamped, frame.stamp, frame.frame_id))

    def end(self) -> None:
        """The recording is over (after the path was closed)."""
        if self._newest is not None:
            self._hand_on(self._newest, self._responder.end())

    def _hand_on(self, frame: Frame, told: Sequence[Commentary]) -> None:
        for commentary in told:
            for sink in self._sinks:
                sink.commentary(frame, commentary)
