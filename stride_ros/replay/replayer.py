"""Drive the frames' path from recordings, without ROS and as fast as the machine can.

The node drives the same path from a camera (`stride_ros.activation.frame_path`). Nothing is dropped and no
clock is read, so the same recording gives the same result every time. Several recordings may run through one
engine together: each is a stream with its own watches and span ids.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.deferred_prompt import prompts_for
from stride_ros.activation.frame_path import DecisionSink, Frame, FramePath
from stride_ros.activation.intake import Intake
from stride_ros.activation.sinks import Sinks, SinksByStream
from stride_ros.activation.stamped_engine import StampedEngine
from stride_ros.activation.watch_request import requests_for
from stride_ros.bags.storage import BagMessage
from stride_ros.errors import SourceError, StrideError
from stride_ros.replay.answering import CommentaryRecorder, RespondingSink
from stride_ros.replay.recorded_truth import add_recorded_truth
from stride_ros.replay.run_sink import RunSink
from stride_ros.text.wording import counted, length_label

if TYPE_CHECKING:
    from stride_ros.activation.clock import Reading
    from stride_ros.activation.model import ActivationModel
    from stride_ros.replay.bag_output import BagOutput
    from stride_ros.replay.event_sink import EventSink
    from stride_ros.replay.recording import Recording
    from stride_ros.replay.responder import ReplayResponder
    from stride_ros.runs.record import Run

_Due = tuple[Any, "Reading"]  # a message for the recording to decode


class Replaying:
    """A recording that is being replayed: its due images, and the record of its run.

    Times of the run are seconds of the recording, from its first image. Messages on `topics` are only copied
    to the output. `seconds`: how far the recording has been read.
    """

    def __init__(
        self,
        bag: Recording,
        queries: Sequence[str],
        *,
        rate: float = 1.0,
        clock: str = "header",
        start: float = 0.0,
        duration: float | None = None,
        topics: Sequence[str] = (),
        responder: ReplayResponder | None = None,
        output: BagOutput | None = None,
        events: EventSink | None = None,
        truth: bool = True,
    ) -> None:
        """`rate`: frames a second taken; `clock`: stamps of the "header" or the "log"; `start` s after the
        first image for `duration` s. `truth`: whether the run is to have the ground truth that the recording
        may hold.
        """
        self.bag, self.name, self.seconds = bag, "", 0.0
        self._start, self._duration, self._output = start, duration, output
        self._newest = 0  # time of the newest image, due or not, as in `Reading`
        self._record, self._truth, self._by_log = RunSink(queries), truth, clock == "log"
        sinks: list[DecisionSink[Frame]] = [self._record]
        recorders: list[CommentaryRecorder] = [self._record]
        for other in (output, events):
            if other is not None:
                sinks.append(other)
                recorders.append(other)
        if events is not None:
            events.recorder = self._record.recorder
        self._responding = RespondingSink(responder, recorders) if responder is not None else None
        if self._responding is not None:
            sinks.append(self._responding)
        self.sink = Sinks(*sinks)
        self.intake = Intake(rate)
        begin, stop = bag.part(start, duration)
        self._images = bag.images(self.intake, begin, stop, topics=topics, clock=clock, other=self._copy)

    def due(self, path: FramePath[Frame], progress: Callable[[float], None]) -> _Due | None:
        """Read on to the next due image; None at the end. `progress` gets the seconds done.

        Raises what the reader raises.
        """
        for message, reading in self._images:
            self.seconds = self.bag.time(message.log_time) - self._start
            self._newest = max(self._newest, reading.time)
            progress(self.seconds)
            if self._start > 0 and self._record.recorder.newest is None:  # times are those of the recording
                self._record.recorder.begin = self.bag.time(message.log_time)
                path.count_from(self.name, self.bag.time(message.log_time))
            if self.intake.is_due(reading):
                return message, reading
        return None

    def end(self) -> Run:
        """Return the record, once its stream has ended. SourceError if no image can be used."""
        if self._responding is not None:
            self._responding.end()
        self._check()
        run = self._record.recorder.run(self.bag.path.name, self._length())
        run.notes = [*self.bag.notes, *self.intake.notes.sentences()]
        if not any(query.decision_seconds for query in run.queries):
            shown = counted(self._record.shown, "frame")
            run.notes.append(
                f"Nothing was decided, since the model was shown only {shown}; play a longer part."
            )
        if self._truth:
            add_recorded_truth(run, self.bag, self._record.recorder.seconds, by_log=self._by_log)
        return run

    def _length(self) -> float:
        """Length of the part in s, whatever the rate at which frames were taken."""
        begin = self._record.recorder.begin
        if self._duration is not None and self._start + self._duration < self.bag.seconds:
            return self._start + self._duration - begin
        return self.bag.until(begin + self._record.seconds(self._newest)) - begin

    def _copy(self, message: BagMessage) -> None:
        if self._output is not None:
            self._output.recorded(message)

    def _check(self) -> None:
        if self._record.shown:
            return
        if reason := self.intake.notes.unusable:
            raise SourceError(f"No image on {self.bag.image.topic} can be used: {reason}")
        length = length_label(self.bag.until(self.bag.seconds))
        raise SourceError(
            f"There is no image on {self.bag.image.topic} in the chosen part; change --start or --duration"
            f" (the recording is {length} long)." + "".join(f" {note}" for note in self.bag.notes)
        )


class Replayer:
    """Replays recordings on an engine that watches for all queries. Not thread-safe."""

    def __init__(
        self, model: ActivationModel, queries: Sequence[str], config: ActivationConfig | None = None
    ) -> None:
        """Raises QueryError, ConfigError."""
        config = config or ActivationConfig()
        prompts = prompts_for(model, config)
        engine = StampedEngine(model, requests_for(queries), config, cameras=(), prompts=prompts)
        self._sinks: SinksByStream[Frame] = SinksByStream()
        self._path = FramePath[Frame](engine, {}, self._sinks)
        self._names = itertools.count(1)

    def replay(self, replaying: Replaying, progress: Callable[[float], None] = lambda seconds: None) -> Run:
        """Replay a whole recording; `progress` gets the seconds done. SourceError if it cannot be used."""
        self.begin(replaying)
        while (due := replaying.due(self._path, progress)) is not None:
            self._take({replaying: due})
        return self._end(replaying)

    def begin(self, replaying: Replaying) -> None:
        """Add a recording to those running through the engine. Raises ConfigError, CapacityError."""
        replaying.name = f"recording {next(self._names)}"
        self._path.open(replaying.name, replaying.intake.notes)
        self._sinks[replaying.name] = replaying.sink

    def step(self, several: Sequence[Replaying]) -> Iterator[tuple[Replaying, Run | StrideError]]:
        """Process the next due frame of each recording in one batch; return ended ones with their runs.

        A recording that cannot be read any further ends with the reason.
        """
        due: dict[Replaying, _Due] = {}
        over: list[tuple[Replaying, StrideError | None]] = []
        for replaying in several:
            try:
                found = replaying.due(self._path, lambda seconds: None)
            except StrideError as error:
                over.append((replaying, error))
                continue
            except Exception as error:  # readers fail in many ways on damaged files
                reason = f"{type(error).__name__}: {error}".rstrip(".")
                path = replaying.bag.path
                over.append((replaying, SourceError(f"{path} cannot be read ({reason}); record it again.")))
                continue
            if found is None:
                over.append((replaying, None))
            else:
                due[replaying] = found
        if due:
            self._take(due)
        for replaying, failure in over:
            if failure is not None:
                self._leave(replaying)
                yield replaying, failure
                continue
            try:
                yield replaying, self._end(replaying)
            except StrideError as error:
                yield replaying, error

    def _take(self, due: dict[Replaying, _Due]) -> None:
        frames: dict[str, Callable[[], Frame]] = {}
        for replaying, (message, reading) in due.items():
            if reading.jump is not None:
                self._path.jumped(replaying.name, reading)
            frames[replaying.name] = _frame_of(replaying.bag, message, reading)
        self._path.take(frames)

    def _end(self, replaying: Replaying) -> Run:
        self._leave(replaying)
        return replaying.end()

    def _leave(self, replaying: Replaying) -> None:
        self._path.leave(replaying.name)
        del self._sinks[replaying.name]


def _frame_of(bag: Recording, message: Any, reading: Reading) -> Callable[[], Frame]:
    return lambda: Frame(reading, *bag.decode(message))
