"""Write the record of a run from the decisions on the frames' path."""

from __future__ import annotations

from collections.abc import Sequence

from stride_ros.activation.frame_path import DecisionSink, Frame
from stride_ros.activation.stamped_stream import Decision, StampedEvent
from stride_ros.replay.responder import said
from stride_ros.response.commentary import Commentary
from stride_ros.runs.record import QueryRun
from stride_ros.runs.recorder import RunRecorder


class RunSink(DecisionSink[Frame]):
    """A sink for one camera that records the run of its queries."""

    def __init__(self, queries: Sequence[str]) -> None:
        self.recorder = RunRecorder([QueryRun(query) for query in queries])
        self.shown = 0  # number of frames that the engine has accepted
        self._begin: int | None = None  # time of the first frame
        self._shift = 0  # offset (ns) from the clock's stamps to times

    def seconds(self, time: int) -> float:
        """Time of an image (ns since the stream's first one, see `Reading`) in s from the first frame."""
        return 0.0 if self._begin is None else (time - self._begin) / 1e9

    def frame(self, stream: str, frame: Frame) -> None:
        """Record a frame; times continue where the clock was set."""
        reading = frame.reading
        shift = reading.stamp - reading.time
        if self._begin is None:
            self._begin = reading.time
        elif shift != self._shift:
            self.recorder.count_on(reading.stamp, reading.time - self._begin)
        self._shift = shift
        self.recorder.frame(frame.stamp, frame.image)

    def decision(self, stream: str, frame: Frame, decision: Decision) -> None:
        """Record a decision and its events."""
        update = decision.update
        self.recorder.decision(
            update.query,
            frame.stamp,
            update.labels,
            update.probabilities,
            update.resolution,
            update.timings["total"],
        )
        self.events(stream, frame, decision.events)

    def decided(self, stream: str, frame: Frame, decisions: Sequence[Decision]) -> None:
        """A frame was accepted, whether or not a decision was due on it."""
        self.shown += 1

    def events(self, stream: str, frame: Frame, events: Sequence[StampedEvent]) -> None:
        """Record changes of spans."""
        for stamped in events:
            event = stamped.event
            self.recorder.span(
                event.query,
                event.span_id,
                int(event.state),
                frame.stamp,
                stamped.start_ns,
                stamped.end_ns,
                float(event.confidence),
            )

    def commentary(self, frame: Frame, commentary: Commentary) -> None:
        """Record the final commentary on an event."""
        if commentary.final:
            self.recorder.answer(commentary.span.query, commentary.span.span_id, said(commentary))
