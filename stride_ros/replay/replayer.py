"""Drive the frames' path from a recording, without ROS and as fast as the machine can.

The node drives the same path from a camera (`stride_ros.activation.frame_path`). Nothing is dropped and no
clock is read, so the same recording gives the same result every time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.deferred_prompt import prompts_for
from stride_ros.activation.frame_path import DecisionSink, Frame, FramePath
from stride_ros.activation.identity import UNNAMED
from stride_ros.activation.intake import Intake
from stride_ros.activation.sinks import Sinks
from stride_ros.activation.stamped_engine import StampedEngine
from stride_ros.activation.watch_request import requests_for
from stride_ros.bags.reader import BagReader
from stride_ros.bags.storage import BagMessage
from stride_ros.errors import SourceError
from stride_ros.replay.answering import CommentaryRecorder, RespondingSink
from stride_ros.replay.run_sink import RunSink

if TYPE_CHECKING:
    from stride_ros.activation.clock import Reading
    from stride_ros.activation.model import ActivationModel
    from stride_ros.replay.bag_output import BagOutput
    from stride_ros.replay.responder import ReplayResponder
    from stride_ros.runs.record import Run


class Replayer:
    """Shows the image messages of a recording to an engine that watches for all queries."""

    def __init__(
        self,
        model: ActivationModel,
        queries: Sequence[str],
        config: ActivationConfig | None = None,
        *,
        rate: float = 1.0,
        clock: str = "header",
        responder: ReplayResponder | None = None,
        output: BagOutput | None = None,
    ) -> None:
        """`rate`: frames a second taken; `clock`: stamps of the "header" or the "log". QueryError."""
        self._clock, self._period, self._output = clock, 1.0 / rate, output
        self._record = RunSink(queries)
        sinks: list[DecisionSink[Frame]] = [self._record]
        recorders: list[CommentaryRecorder] = [self._record]
        if output is not None:
            sinks.append(output)
            recorders.append(output)
        self._responding = RespondingSink(responder, recorders) if responder is not None else None
        if self._responding is not None:
            sinks.append(self._responding)
        self._intake = Intake(rate)
        config = config or ActivationConfig()
        prompts = prompts_for(model, config)
        engine = StampedEngine(model, requests_for(queries), config, prompts=prompts)
        self._path = FramePath[Frame](engine, {UNNAMED: self._intake.notes}, Sinks(*sinks))

    def replay(
        self,
        bag: BagReader,
        *,
        topics: Sequence[str] = (),
        start: float = 0.0,
        duration: float | None = None,
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> Run:
        """Replay from `start` s after the first image for `duration` s; `progress` is told the s done.

        Times of the run are seconds of the recording, from its first image.

        Messages on `topics` are copied to the output only. Raises SourceError when no image can be used.
        """
        begin, stop = bag.part(start, duration)
        images = bag.images(self._intake, begin, stop, topics=topics, clock=self._clock, other=self._copy)
        for message, reading in images:
            progress(bag.time(message.log_time) - start)
            if start > 0 and self._record.recorder.newest is None:  # times are those of the recording
                self._record.recorder.begin = bag.time(message.log_time)
                self._path.count_from(UNNAMED, bag.time(message.log_time))
            self._take(bag, message, reading)
        self._path.close()
        if self._responding is not None:
            self._responding.end()
        self._check(bag)
        run = self._record.recorder.run(bag.path.name, self._period)
        run.notes = [*bag.notes, *self._intake.notes.sentences()]
        return run

    def _take(self, bag: BagReader, message: BagMessage, reading: Reading) -> None:
        if not self._intake.is_due(reading):
            return
        if reading.jump is not None:
            self._path.jumped(UNNAMED, reading)
        self._path.take({UNNAMED: lambda: Frame(reading, *bag.decode(message))})

    def _copy(self, message: BagMessage) -> None:
        if self._output is not None:
            self._output.recorded(message)

    def _check(self, bag: BagReader) -> None:
        if self._record.recorder.newest is not None:
            return
        if reason := self._intake.notes.unusable:
            raise SourceError(f"No image on {bag.image.topic} can be used: {reason}")
        raise SourceError(
            f"There is no image on {bag.image.topic} in the chosen part; change --start or --duration"
            f" (the recording has {bag.seconds:.1f} s)." + "".join(f" {note}" for note in bag.notes)
        )
