"""The path of every frame that is due: decoded, shown to its stream, decided on, and handed to a sink.

    image -> Intake (stamp, clock, sampler) -> FramePath (decode, gaps, decisions) -> DecisionSink

It exists once. A node drives it from a worker's thread and publishes, a replay drives it from a recording and
writes down: what differs is the sink. All times are ns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from stride_ros.activation.clock import Reading
from stride_ros.activation.notes import StreamNotes
from stride_ros.activation.stamped_stream import Decision, StampedEvent, StampedStream
from stride_ros.errors import CapacityError, FrameError, TimeError
from stride_ros.text.wording import time_label

if TYPE_CHECKING:
    import numpy as np

    from stride_ros.activation.config import ActivationConfig
    from stride_ros.activation.watch_request import WatchRequest


@dataclass(frozen=True)
class Frame:
    """A frame on its path: its image (H, W, 3) uint8 RGB, and what counts as its stamp."""

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
    """Takes what comes out of the path; a sink that derives from this overrides what it wants.

    `stream` is the name of the camera's stream.
    """

    def frame(self, stream: str, frame: FrameT_contra) -> None:
        """A frame is about to be decided on: whoever answers must have it before its decisions."""
        return None

    def decision(self, stream: str, frame: FrameT_contra, decision: Decision) -> None:
        """One watch's decision on that frame, with the changes of its spans."""
        return None

    def decided(self, stream: str, frame: FrameT_contra, decisions: Sequence[Decision]) -> None:
        """All decisions on that frame have been handed over; none where none was due."""
        return None

    def events(self, stream: str, frame: FrameT_contra, events: Sequence[StampedEvent]) -> None:
        """Spans ended because the stream starts anew; `frame` is the last one before."""
        return None

    def rejected(self, stream: str, error: Exception) -> None:
        """An image cannot be used."""
        return None

    def note(self, stream: str, sentence: str) -> None:
        """Something happened to the stream as a whole."""
        return None


class _Lane(Generic[FrameT]):
    """One camera's stream on its path."""

    def __init__(self, stream: StampedStream, notes: StreamNotes) -> None:
        self.stream, self.notes = stream, notes
        self.begin: int | None = None  # time of the first frame
        self.offset = 0.0  # s, what that time is called in notes
        self.last: FrameT | None = None
        self.size: tuple[int, int] | None = None  # height, width of the newest frame the stream took in

    @property
    def seconds(self) -> float:
        """Time of the newest frame from the first one, counted on where the clock was set."""
        if self.last is None or self.begin is None:
            return self.offset
        return self.offset + (self.last.reading.time - self.begin) / 1e9


class FramePath(Generic[FrameT]):
    """Takes due frames to the streams of their cameras and what is decided to a sink. Not thread-safe."""

    def __init__(self, sink: DecisionSink[FrameT]) -> None:
        self._sink = sink
        self._lanes: dict[str, _Lane[FrameT]] = {}

    def open(self, name: str, stream: StampedStream, notes: StreamNotes) -> None:
        """Show the frames of the camera `name` to this stream from now on; `notes` is what its intake has."""
        if name in self._lanes:
            self._lanes[name].stream = stream
        else:
            self._lanes[name] = _Lane(stream, notes)

    def count_from(self, name: str, seconds: float) -> None:
        """Let notes count times from this one, where a recording is not shown from its beginning."""
        self._lanes[name].offset = seconds

    def stream(self, name: str) -> StampedStream:
        """The stream of a camera."""
        return self._lanes[name].stream

    def size(self, name: str) -> tuple[int, int] | None:
        """Height and width (px) of the newest frame that a camera's stream took in."""
        return self._lanes[name].size

    def apply(self, name: str, requests: Sequence[WatchRequest], config: ActivationConfig) -> None:
        """Take over live changes before the next frame; watches that stay go on.

        Raises QueryError, ConfigError; nothing has changed then.
        """
        lane = self._lanes[name]
        self._end(name, lane, lane.stream.apply(requests, config))

    def jumped(self, name: str, reading: Reading) -> None:
        """The clock was set before the image that is taken next: what was open is over."""
        self._note(name, f"{reading.jump}: started anew, and times count on from there")
        self.restart(name)

    def take(self, name: str, decode: Callable[[], FrameT]) -> None:
        """Take a due frame; `decode` may raise FrameError.

        Whatever else is raised, such as by a full GPU, leaves the stream in any state.
        """
        lane = self._lanes[name]
        try:
            frame = decode()
        except FrameError as error:
            self._reject(name, error)
            return
        if (gap := lane.stream.lost_sight(frame.stamp)) is not None:
            self._note(name, f"no images for {gap:.1f} s, longer than the window: started anew")
            self.restart(name)
        if lane.begin is None:
            lane.begin = frame.reading.time
        lane.last = frame
        self._sink.frame(name, frame)
        try:
            decisions = lane.stream.push(frame.image, frame.stamp)
        except (FrameError, TimeError, CapacityError) as error:
            self._reject(name, error)
            return
        lane.size = (frame.image.shape[0], frame.image.shape[1])
        for decision in decisions:
            self._sink.decision(name, frame, decision)
        self._sink.decided(name, frame, decisions)

    def restart(self, name: str) -> None:
        """Forget the stream; published spans that go on are ended."""
        lane = self._lanes[name]
        self._end(name, lane, lane.stream.restart())

    def abandon(self, name: str) -> None:
        """End what is open of a stream that an error may have left in any state; `open` a new one then."""
        lane = self._lanes[name]
        self._end(name, lane, lane.stream.abandon())

    def close(self) -> None:
        """End all streams."""
        for name in self._lanes:
            self.restart(name)

    def _end(self, name: str, lane: _Lane[FrameT], events: Sequence[StampedEvent]) -> None:
        if events and lane.last is not None:
            self._sink.events(name, lane.last, events)

    def _reject(self, name: str, error: Exception) -> None:
        self._lanes[name].notes.reject(error)
        self._sink.rejected(name, error)

    def _note(self, name: str, text: str) -> None:
        lane = self._lanes[name]
        sentence = f"At {time_label(lane.seconds)} {text}."
        lane.notes.happened(sentence)
        self._sink.note(name, sentence)
