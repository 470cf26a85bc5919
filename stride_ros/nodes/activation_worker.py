"""One activation of the node as an object: the deciding thread, its engine, and its output to the graph."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stride_ros.activation.frame_path import DecisionSink, FramePath
from stride_ros.activation.spans import ENDS, SpanState
from stride_ros.errors import StrideError
from stride_ros.nodes.image_input import LiveFrame
from stride_ros.nodes.stream_memory import StreamMemory
from stride_ros.nodes.worker import LatestWorker

if TYPE_CHECKING:
    from stride_ros.activation.clock import Reading
    from stride_ros.activation.config import ActivationConfig
    from stride_ros.activation.notes import StreamNotes
    from stride_ros.activation.scheduler import StreamLoad
    from stride_ros.activation.stamped_engine import StampedEngine
    from stride_ros.activation.stamped_stream import Decision, StampedEvent
    from stride_ros.activation.watch_request import WatchRequest


class Gate(DecisionSink[LiveFrame]):
    """Passes everything on until it is closed; closing it ends the open spans.

    A thread that hangs in a model cannot be stopped. Anything it produces after that is discarded.
    """

    def __init__(self, sink: DecisionSink[LiveFrame]) -> None:
        self._sink = sink
        self._lock = threading.RLock()
        self._open: dict[int, tuple[str, LiveFrame, StampedEvent]] = {}  # by span id
        self.is_closed = False

    def close(self) -> None:
        """Publish the end of open spans, and nothing from then on."""
        with self._lock:
            for stream, frame, stamped in list(self._open.values()):
                ended = replace(stamped, event=replace(stamped.event, state=SpanState.OFFSET))
                self.events(stream, frame, [ended])
            self.is_closed = True

    def call(self, function: Callable[[], None]) -> None:
        """Call a function unless the gate is closed."""
        with self._lock:
            if not self.is_closed:
                function()

    def frame(self, stream: str, frame: LiveFrame) -> None:
        """See `DecisionSink`."""
        self.call(lambda: self._sink.frame(stream, frame))

    def decision(self, stream: str, frame: LiveFrame, decision: Decision) -> None:
        """See `DecisionSink`."""
        with self._lock:
            self._remember(stream, frame, decision.events)
            self.call(lambda: self._sink.decision(stream, frame, decision))

    def decided(self, stream: str, frame: LiveFrame, decisions: Sequence[Decision]) -> None:
        """See `DecisionSink`."""
        self.call(lambda: self._sink.decided(stream, frame, decisions))

    def events(self, stream: str, frame: LiveFrame, events: Sequence[StampedEvent]) -> None:
        """See `DecisionSink`."""
        with self._lock:
            self._remember(stream, frame, events)
            self.call(lambda: self._sink.events(stream, frame, events))

    def rejected(self, stream: str, error: Exception) -> None:
        """See `DecisionSink`."""
        self.call(lambda: self._sink.rejected(stream, error))

    def note(self, stream: str, sentence: str) -> None:
        """See `DecisionSink`."""
        self.call(lambda: self._sink.note(stream, sentence))

    def _remember(self, stream: str, frame: LiveFrame, events: Sequence[StampedEvent]) -> None:
        for stamped in events:
            self._open[stamped.event.span_id] = stream, frame, stamped
            if stamped.event.state in ENDS:
                del self._open[stamped.event.span_id]


class ActivationWorker:
    """Takes the newest due frames in its own thread, the only one that uses the engine.

    `activate` creates it and `deactivate` stops it; the next activation has a new one. Its methods are called
    in the executor's thread.
    """

    def __init__(
        self,
        open_engine: Callable[[], StampedEngine],
        settings: Callable[[], tuple[Sequence[WatchRequest], ActivationConfig]],
        sink: DecisionSink[LiveFrame],
        notes: Mapping[str, StreamNotes],
        *,
        on_failure: Callable[[Exception], None],
        on_readiness: Callable[[Mapping[str, bool]], None],
        log: Callable[[str], object],
    ) -> None:
        """`settings()`: what to watch for from the next frame on. `sink`: takes the decisions.

        `notes`: by camera. In the worker's thread, `on_failure(error)` gets errors that no image explains,
        after which the engine is replaced, and `on_readiness(readiness)` is told which watches decide. `log`
        gets how much memory the streams take. Raises QueryError, ConfigError, CapacityError.
        """
        self._open_engine, self._settings = open_engine, settings
        self._on_failure, self._on_readiness = on_failure, on_readiness
        self._gate = Gate(sink)
        self._path = FramePath[LiveFrame](open_engine(), notes, self._gate)
        self._is_broken = False  # whether the engine must be replaced
        self._is_stale = False  # whether the watches may have changed
        self._readiness: Mapping[str, bool] = {}
        self.memory = StreamMemory(log)
        self._thread = LatestWorker[Callable[[], LiveFrame]](
            "stride-activation", self._take, self._fail, self._rest
        )
        self._thread.start()

    @property
    def loads(self) -> Mapping[str, StreamLoad]:
        """How far each camera that has sent images is behind."""
        return self._thread.loads

    @property
    def dropped(self) -> int:
        """Number of due frames that were replaced by a newer one before their turn."""
        return sum(load.dropped for load in self.loads.values())

    @property
    def is_idle(self) -> bool:
        """Whether every frame that was submitted has been decided on or dropped."""
        return self._thread.is_idle

    @property
    def frame_sizes(self) -> dict[str, tuple[int, int]]:
        """Height and width (px) of the newest frame taken in, by camera."""
        return dict(self._path.sizes)

    def context_frames(self, camera: str) -> int:
        """Number of frames in the context of a camera's stream now."""
        return self._path.engine.context_frames(camera)

    def submit(self, camera: str, decode: Callable[[], LiveFrame]) -> None:
        """Offer a due frame; it replaces one of this camera that is still waiting."""
        self._thread.submit(camera, decode)

    def jumped(self, camera: str, reading: Reading) -> None:
        """Note that the clock was set before the next submitted frame; a waiting frame is dropped."""
        self._thread.post(lambda: self._jump(camera, reading), discard=[camera])

    def restart(self, cameras: Collection[str]) -> None:
        """Restart these streams with their next frame; waiting frames are dropped."""
        self._thread.post(lambda: self._restart(cameras), discard=cameras)

    def refresh(self) -> None:
        """Apply the current watches without waiting for a frame.

        No frame waits for this: the next one is decided on with the watches of that time.
        """
        self._is_stale = True
        self._thread.wake()

    def stop(self, timeout: float) -> bool:
        """End the streams and the thread; False if it has not returned in `timeout` s and is left behind.

        In any case, nothing is published any more and no span stays open.
        """
        self.restart(self._path.engine.cameras)
        stopped = self._thread.stop(timeout)
        self._gate.close()
        return stopped

    # The worker's thread

    def _take(self, due: Mapping[str, Callable[[], LiveFrame]]) -> None:
        if self._is_broken:
            self._path.replace(self._open_engine())
            self._is_broken = False
        self._apply()
        self._thread.charge(self._path.take(due))
        self._measure()

    def _rest(self) -> bool:
        """With nothing else waiting, apply the list of watches and let those that look back catch up."""
        if self._is_broken:
            return False
        if self._is_stale:
            self._apply()
            self._measure()
            return True
        caught_up = self._path.engine.catch_up()
        if caught_up:
            self._measure()
        return caught_up

    def _apply(self) -> None:
        """Apply the current watches; if that fails, report it and continue as before."""
        self._is_stale = False  # first: later changes must be applied again
        try:
            self._path.apply(*self._settings())
        except StrideError as error:
            for camera in self._path.engine.cameras:
                self._gate.rejected(camera, error)

    def _jump(self, camera: str, reading: Reading) -> None:
        if not self._is_broken:
            self._path.jumped(camera, reading)
            self._measure()

    def _restart(self, cameras: Collection[str]) -> None:
        if self._is_broken:
            return
        for camera in cameras:
            self._path.restart(camera)
        self._measure()

    def _measure(self) -> None:
        engine = self._path.engine
        if (readiness := engine.readiness) != self._readiness:
            self._readiness = readiness
            self._gate.call(lambda: self._on_readiness(readiness))
        self._gate.call(lambda: self.memory.measure(engine, self._path.sizes))

    def _fail(self, error: Exception) -> None:
        """Continue with a new engine after an error that no input explains, such as a full GPU."""
        self._gate.call(lambda: self._on_failure(error))
        self.memory.forget()
        if not self._is_broken:
            self._is_broken = True
            self._path.abandon()
        free_gpu_memory()


def free_gpu_memory() -> None:
    """Return torch's cached memory to the GPU; does nothing without torch or a GPU."""
    import gc
    import sys

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
