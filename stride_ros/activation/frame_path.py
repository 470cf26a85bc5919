"""The path of every frame that is due: decoded, shown to the engine, decided on, and handed to a sink.

    image -> Intake (stamp, clock, sampler) -> FramePath (decode, gaps, decisions) -> DecisionSink

There is only this one path. A node drives it from a worker thread and publishes the results; a replay drives
it from a recording and records them. They differ only in the sink. All times are in ns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from stride_ros.activation.clock import Reading
from stride_ros.activation.notes import StreamNotes
from stride_ros.errors import FrameError
from stride_ros.text.wording import time_label

if TYPE_CHECKING:
    import numpy as np

    from stride_ros.activation.config import ActivationConfig
    from stride_ros.activation.stamped_engine import StampedEngine
    from stride_ros.activation.stamped_stream import Decision, StampedEvent
    from stride_ros.activation.watch_request import WatchRequest


@dataclass(frozen=True)
class Frame:
    """A frame on its path: its image (H, W, 3) uint8 RGB, and how its stamp was read."""

    reading: Reading
    image: np.ndarray
    frame_id: str

    @property
    def stamp(self) -> int:
        """Stamp in ns: that of the message, or what replaces a missing or wrong one."""
        return self.reading.stamp


FrameT = TypeVar("FrameT", bound=Frame)
FrameT_contra = TypeVar("FrameT_contra", bound=Frame, contravariant=True)


class DecisionSink(Protocol[FrameT_contra]):
    """Takes what comes out of the path; subclasses override the methods they need.

    `stream` is the name of the camera's stream.
    """

    def frame(self, stream: str, frame: FrameT_contra) -> None:
        """A frame is about to be decided on; a responder must have it before its decisions."""
        return None

    def decision(self, stream: str, frame: FrameT_contra, decision: Decision) -> None:
        """One watch has decided on that frame; the decision has the changes of its spans."""
        return None

    def decided(self, stream: str, frame: FrameT_contra, decisions: Sequence[Decision]) -> None:
        """All decisions on that frame, if any were due, have been handed over."""
        return None

    def events(self, stream: str, frame: FrameT_contra, events: Sequence[StampedEvent]) -> None:
        """Spans ended because the stream restarts; `frame` is the last one before that."""
        return None

    def rejected(self, stream: str, error: Exception) -> None:
        """An image cannot be used."""
        return None

    def note(self, stream: str, sentence: str) -> None:
        """Something happened to the stream as a whole."""
        return None


class _Lane(Generic[FrameT]):
    """The state of one camera's frames on the path."""

    def __init__(self, notes: StreamNotes) -> None:
        self.notes = notes
        self.begin: int | None = None  # time of the first frame
        self.offset = 0.0  # s, the time that notes give for that frame
        self.last: FrameT | None = None

    @property
    def seconds(self) -> float:
        """Seconds from the first frame to the newest, continuing where the clock was set."""
        if self.last is None or self.begin is None:
            return self.offset
        return self.offset + (self.last.reading.time - self.begin) / 1e9


class FramePath(Generic[FrameT]):
    """Takes due frames of all cameras to an engine, and its decisions to a sink. Not thread-safe."""

    def __init__(
        self,
        engine: StampedEngine,
        notes: Mapping[str, StreamNotes],
        sink: DecisionSink[FrameT],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`notes`: by camera, those of its intake. `clock`: returns the time now (s), to measure costs."""
        self.engine = engine
        self.sizes: dict[str, tuple[int, int]] = {}  # height, width of the newest frame taken in, by camera
        self._sink, self._clock = sink, clock
        self._lanes: dict[str, _Lane[FrameT]] = {name: _Lane(notes[name]) for name in engine.cameras}

    def replace(self, engine: StampedEngine) -> None:
        """Show frames to this engine from now on; it has the same cameras."""
        self.engine = engine
        self.sizes.clear()

    def open(self, camera: str, notes: StreamNotes) -> None:
        """Accept frames of one more camera from now on; see `StampedEngine.open`."""
        self.engine.open(camera)
        self._lanes[camera] = _Lane(notes)

    def leave(self, camera: str) -> None:
        """End one camera's stream and forget the camera."""
        self._end(camera, self.engine.close(camera))
        del self._lanes[camera]
        self.sizes.pop(camera, None)

    def count_from(self, camera: str, seconds: float) -> None:
        """Let notes count times from this one, for a recording that is not shown from its beginning."""
        self._lanes[camera].offset = seconds

    def apply(self, requests: Sequence[WatchRequest], config: ActivationConfig) -> None:
        """Apply live changes before the next frames; watches that stay continue.

        Raises QueryError, ConfigError, CapacityError; nothing has changed then.
        """
        for camera, events in self.engine.apply(requests, config).items():
            self._end(camera, events)

    def jumped(self, camera: str, reading: Reading) -> None:
        """End what was open: the clock was set before the next image."""
        self._note(camera, f"{reading.jump}: the stream restarted, and times continue from there")
        self.restart(camera)

    def take(self, due: Mapping[str, Callable[[], FrameT]]) -> dict[str, float]:
        """Take due frames, one of each of these cameras; each is made by a call that may fail by itself.

        They are decided on together. Returns the time taken to make each one (s). After an exception, such as
        that of a full GPU, the streams are in an undefined state.
        """
        frames: dict[str, FrameT] = {}
        costs: dict[str, float] = {}
        for camera, decode in due.items():
            begin = self._clock()
            try:
                frame = decode()
            except FrameError as error:
                self._reject(camera, error)
                continue
            except Exception as error:  # one camera's image may fail in any way
                self._reject(
                    camera, FrameError(f"It could not be decoded ({type(error).__name__}: {error}).")
                )
                continue
            finally:
                costs[camera] = self._clock() - begin
            if (gap := self.engine.lost_sight(camera, frame.stamp)) is not None:
                self._note(camera, f"no images for {gap:.1f} s, longer than the window: the stream restarted")
                self.restart(camera)
            lane = self._lanes[camera]
            if lane.begin is None:
                lane.begin = frame.reading.time
            lane.last = frames[camera] = frame
            self._sink.frame(camera, frame)
        if frames:
            self._push(frames)
        return costs

    def restart(self, camera: str) -> None:
        """Restart a camera's stream; its open published spans end."""
        self._end(camera, self.engine.restart(camera))

    def abandon(self) -> None:
        """End open spans of an engine that an error left in an undefined state; `replace` it then."""
        for camera in self._lanes:
            self._end(camera, self.engine.abandon(camera))

    def close(self) -> None:
        """End all streams."""
        for camera in self._lanes:
            self.restart(camera)

    def _push(self, frames: Mapping[str, FrameT]) -> None:
        pushed = self.engine.push({camera: (frame.image, frame.stamp) for camera, frame in frames.items()})
        for camera, error in pushed.errors.items():
            self._reject(camera, error)
        for camera, decisions in pushed.decisions.items():
            frame = frames[camera]
            self.sizes[camera] = (frame.image.shape[0], frame.image.shape[1])
            for decision in decisions:
                self._sink.decision(camera, frame, decision)
            self._sink.decided(camera, frame, decisions)

    def _end(self, camera: str, events: Sequence[StampedEvent]) -> None:
        if events and (last := self._lanes[camera].last) is not None:
            self._sink.events(camera, last, events)

    def _reject(self, camera: str, error: Exception) -> None:
        self._lanes[camera].notes.reject(error)
        self._sink.rejected(camera, error)

    def _note(self, camera: str, text: str) -> None:
        lane = self._lanes[camera]
        sentence = f"At {time_label(lane.seconds)} {text}."
        lane.notes.happened(sentence)
        self._sink.note(camera, sentence)
