"""Use several sinks as one."""

from __future__ import annotations

from collections.abc import Sequence

from stride_ros.activation.frame_path import DecisionSink, FrameT
from stride_ros.activation.stamped_stream import Decision, StampedEvent


class Sinks(DecisionSink[FrameT]):
    """Passes everything to each sink, in order."""

    def __init__(self, *sinks: DecisionSink[FrameT]) -> None:
        self._sinks = sinks

    def frame(self, stream: str, frame: FrameT) -> None:
        """See `DecisionSink`."""
        for sink in self._sinks:
            sink.frame(stream, frame)

    def decision(self, stream: str, frame: FrameT, decision: Decision) -> None:
        """See `DecisionSink`."""
        for sink in self._sinks:
            sink.decision(stream, frame, decision)

    def decided(self, stream: str, frame: FrameT, decisions: Sequence[Decision]) -> None:
        """See `DecisionSink`."""
        for sink in self._sinks:
            sink.decided(stream, frame, decisions)

    def events(self, stream: str, frame: FrameT, events: Sequence[StampedEvent]) -> None:
        """See `DecisionSink`."""
        for sink in self._sinks:
            sink.events(stream, frame, events)

    def rejected(self, stream: str, error: Exception) -> None:
        """See `DecisionSink`."""
        for sink in self._sinks:
            sink.rejected(stream, error)

    def note(self, stream: str, sentence: str) -> None:
        """See `DecisionSink`."""
        for sink in self._sinks:
            sink.note(stream, sentence)


class SinksByStream(DecisionSink[FrameT], dict[str, DecisionSink[FrameT]]):
    """Passes what concerns a stream to the sink with its name."""

    def frame(self, stream: str, frame: FrameT) -> None:
        """See `DecisionSink`."""
        self[stream].frame(stream, frame)

    def decision(self, stream: str, frame: FrameT, decision: Decision) -> None:
        """See `DecisionSink`."""
        self[stream].decision(stream, frame, decision)

    def decided(self, stream: str, frame: FrameT, decisions: Sequence[Decision]) -> None:
        """See `DecisionSink`."""
        self[stream].decided(stream, frame, decisions)

    def events(self, stream: str, frame: FrameT, events: Sequence[StampedEvent]) -> None:
        """See `DecisionSink`."""
        self[stream].events(stream, frame, events)

    def rejected(self, stream: str, error: Exception) -> None:
        """See `DecisionSink`."""
        self[stream].rejected(stream, error)

    def note(self, stream: str, sentence: str) -> None:
        """See `DecisionSink`."""
        self[stream].note(stream, sentence)
