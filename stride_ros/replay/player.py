"""Replay a recording through the stages of the nodes, without ROS and as fast as the machine can.

The path of a frame is that of the activation node, with its parts: the sampler chooses by stamps, only chosen
frames are decoded, a stamped stream decides, restarts and gaps end what is open. At an onset the responder's
model is shown what the responder node would show it. Nothing is dropped and no clock is read, so the same
recording gives the same result every time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.sampling import Sampler, Verdict
from stride_ros.activation.stamped_stream import StampedEvent, StampedStream
from stride_ros.activation.stream import ActivationUpdate
from stride_ros.bags.clock import Jump, Reading, Tally
from stride_ros.bags.reader import BagReader
from stride_ros.bags.storage import BagMessage
from stride_ros.errors import FrameError, SourceError
from stride_ros.replay.responder import said
from stride_ros.runs.chart import time_label
from stride_ros.runs.record import QueryRun, Run
from stride_ros.runs.recorder import Recorder

if TYPE_CHECKING:
    from stride_ros.activation.model import ActivationModel
    from stride_ros.replay.responder import ReplayResponder
    from stride_ros.response.commentary import Commentary

CLOCKS = ("header", "log")


@dataclass(frozen=True)
class Moment:
    """The frame that something is said about; stamps in ns, ``image`` (H, W, 3) uint8 RGB."""

    stamp: int
    log_time: int
    frame_id: str
    image: np.ndarray


class Sink(Protocol):
    """Takes what the nodes would publish, for example to write it into a bag."""

    def recorded(self, message: BagMessage) -> None:
        """A message on one of the chosen topics passed by."""

    def frame(self, moment: Moment) -> None:
        """A frame was sampled."""

    def window(self, query: str, moment: Moment, update: ActivationUpdate) -> None:
        """A decision was made."""

    def span(self, span_id: int, moment: Moment, event: StampedEvent) -> None:
        """A span began or changed."""

    def commentary(self, moment: Moment, commentary: Commentary) -> None:
        """Something was said about an event: its final words, or whole ones that others follow."""


class Player:
    """Plays the image messages of a recording to a stream that watches for all queries."""

    def __init__(
        self,
        model: ActivationModel,
        queries: Sequence[str],
        config: ActivationConfig | None = None,
        *,
        rate: float = 1.0,
        clock: str = "header",
        responder: ReplayResponder | None = None,
        sink: Sink | None = None,
    ) -> None:
        """``rate``: frames a second taken; ``clock``: stamps of the "header" or the "log". QueryError."""
        self._sampler = Sampler(rate)
        self._period = 1.0 / rate
        self._clock, self._responder, self._sink = clock, responder, sink
        self._stream = StampedStream(model, queries, config or ActivationConfig())
        self._recorder = Recorder([QueryRun(query) for query in queries])
        self._last: Moment | None = None
        self._last_time = 0  # ns from the first image, of the newest frame
        self._tally = Tally()
        self._notes: list[str] = []

    def play(
        self,
        bag: BagReader,
        *,
        topics: Sequence[str] = (),
        start: float = 0.0,
        duration: float | None = None,
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> Run:
        """Play from ``start`` s after the first image for ``duration`` s; ``progress`` is told the s done.

        Messages on ``topics`` are shown to the sink only. Raises SourceError when no image can be used.
        """
        begin, stop = bag.part(start, duration)
        images = bag.images(self._tally, begin, stop, topics=topics, clock=self._clock, other=self._record)
        for message, reading in images:
            progress(bag.time(message.log_time) - start)
            self._take(bag, message, reading)
        self._end_spans()
        if self._responder is not None and self._last is not None:
            self._say(self._last, self._responder.end())
        self._check(bag)
        run = self._recorder.run(bag.path.name, self._period)
        run.notes = [*bag.notes, *self._notes, *self._tally.notes()]
        return run

    def _record(self, message: BagMessage) -> None:
        if self._sink is not None:
            self._sink.recorded(message)

    def _take(self, bag: BagReader, message: BagMessage, reading: Reading) -> None:
        if reading.jump is not None:
            self._restart(reading, reading.jump)
        verdict = self._sampler.offer(reading.stamp)
        if verdict in (Verdict.LATE, Verdict.DUPLICATE):
            self._tally.late += 1
        if verdict is not Verdict.KEEP:
            return
        try:
            image, frame_id = bag.decode(message)
        except FrameError as error:
            self._tally.bad.append(error)
            return
        self._show(Moment(reading.stamp, message.log_time, frame_id, image))
        self._last_time = reading.time

    def _restart(self, reading: Reading, jump: Jump) -> None:
        """The clock was set: what was open is over, and times count on from the newest frame."""
        self._note(f"{jump}: started anew, and times count on from there")
        self._end_spans()
        self._sampler.reset()
        self._recorder.go_on(reading.stamp, (reading.time - self._last_time) / 1e9)

    def _show(self, moment: Moment) -> None:
        if self._stream.has_lost_sight(moment.stamp):
            gap = (moment.stamp - (self._recorder.newest or moment.stamp)) / 1e9
            self._note(f"no images for {gap:.1f} s, longer than the window: started anew")
            self._end_spans()
        self._last = moment
        self._recorder.frame(moment.stamp, moment.image)
        if self._responder is not None:
            self._responder.frame(moment.image, moment.stamp)
        if self._sink is not None:
            self._sink.frame(moment)
        try:
            decisions = self._stream.push(moment.image, moment.stamp)
        except FrameError as error:
            self._tally.bad.append(error)
            return
        for decision in decisions:
            self._decided(moment, decision.update)
            self._publish(moment, decision.events)

    def _decided(self, moment: Moment, update: ActivationUpdate) -> None:
        self._recorder.decision(
            update.query,
            moment.stamp,
            update.labels,
            update.probabilities,
            update.resolution,
            update.timings["total"],
        )
        if self._sink is not None:
            self._sink.window(update.query, moment, update)

    def _publish(self, moment: Moment, events: Sequence[StampedEvent]) -> None:
        for stamped in events:
            event = stamped.event
            query, span_id = event.query, event.span_id
            self._recorder.span(
                query,
                span_id,
                int(event.state),
                moment.stamp,
                stamped.start_ns,
                stamped.end_ns,
                float(event.confidence),
            )
            if self._sink is not None:
                self._sink.span(span_id, moment, stamped)
            if self._responder is not None:
                self._say(moment, self._responder.span(stamped, moment.stamp, moment.frame_id))

    def _say(self, moment: Moment, told: Sequence[Commentary]) -> None:
        for commentary in told:
            if commentary.final:
                self._recorder.answer(commentary.span.query, commentary.span.span_id, said(commentary))
            if self._sink is not None:
                self._sink.commentary(moment, commentary)

    def _end_spans(self) -> None:
        if self._last is not None:
            self._publish(self._last, self._stream.restart())

    # What was odd

    def _note(self, text: str) -> None:
        self._notes.append(f"At {time_label(self._recorder.duration())} {text}.")

    def _check(self, bag: BagReader) -> None:
        if self._recorder.newest is not None:
            return
        if self._tally.bad:
            raise SourceError(f"No image on {bag.image.topic} can be used: {self._tally.bad[0]}")
        raise SourceError(
            f"There is no image on {bag.image.topic} in the chosen part; change --start or --duration"
            f" (the recording has {bag.seconds:.1f} s)." + "".join(f" {note}" for note in bag.notes)
        )
