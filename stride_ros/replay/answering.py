"""Connect the frames' path with the responder of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from stride_ros.activation.frame_path import DecisionSink, Frame
from stride_ros.activation.stamped_stream import Decision, StampedEvent

if TYPE_CHECKING:
    from stride_ros.replay.responder import ReplayResponder
    from stride_ros.response.commentary import Commentary


class CommentaryRecorder(Protocol):
    """Takes commentary on events."""

    def commentary(self, frame: Frame, commentary: Commentary) -> None:
        """Take a final commentary on an event, or a complete one that others follow, given at `frame`."""


class RespondingSink(DecisionSink[Frame]):
    """A sink that passes everything to a responder, and its commentary to a recorder."""

    def __init__(self, responder: ReplayResponder, sinks: Sequence[CommentaryRecorder]) -> None:
        self._responder, self._sinks = responder, sinks
        self._newest: Frame | None = None

    def frame(self, stream: str, frame: Frame) -> None:
        """Pass a frame to the responder."""
        self._newest = frame
        self._responder.frame(frame.image, frame.stamp)

    def decision(self, stream: str, frame: Frame, decision: Decision) -> None:
        """Pass it the events of a decision."""
        self.events(stream, frame, decision.events)

    def events(self, stream: str, frame: Frame, events: Sequence[StampedEvent]) -> None:
        """Pass it events, in all their states."""
        for stamped in events:
            self._hand_on(frame, self._responder.span(stamped, frame.stamp, frame.frame_id))

    def end(self) -> None:
        """End the recording, after the path was closed."""
        if self._newest is not None:
            self._hand_on(self._newest, self._responder.end())

    def _hand_on(self, frame: Frame, told: Sequence[Commentary]) -> None:
        for commentary in told:
            for sink in self._sinks:
                sink.commentary(frame, commentary)
