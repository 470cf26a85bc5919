"""The stamped streams of all cameras on one engine: what they watch for, and what frames come to."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine, PushError
from stride_ros.activation.identity import UNNAMED
from stride_ros.activation.passes import PromptFactory
from stride_ros.activation.stamped_stream import Decision, StampedEvent, StampedStream
from stride_ros.activation.watch_request import WatchRequest
from stride_ros.errors import CapacityError, ConfigError, FrameError, QueryError, StrideError, TimeError
from stride_ros.qwen3_vl.patches import CELL

if TYPE_CHECKING:
    import numpy as np

    from stride_ros.activation.model import ActivationModel

_UNKNOWN_SIZE = (CELL, CELL)  # px; the first frame is admitted as it is, and not as the largest that may come


@dataclass(frozen=True)
class Pushed:
    """What a batch of frames comes to, by camera.

    decisions: one for each watch, none where none was due. errors: FrameError, TimeError, or CapacityError
    where the memory limit allows no frames of this size; such a frame has changed nothing.
    """

    decisions: dict[str, list[Decision]]
    errors: dict[str, StrideError]


class StampedEngine:
    """Watches on the streams of one or several cameras; span ids are unique throughout.

    A front of an engine, with stamps in ns instead of times in s. Not thread-safe.
    """

    def __init__(
        self,
        model: ActivationModel,
        requests: Sequence[WatchRequest],
        config: ActivationConfig,
        first_id: int = 1,
        *,
        cameras: Sequence[str] = (UNNAMED,),
        look_back: bool = False,
        memory_limit: int | None = None,
        prompts: PromptFactory = CachedPrompt,
    ) -> None:
        """`first_id`: the id of the first span. `look_back`: keep what watches that look back need.

        `memory_limit`: bytes that the state may take; None: no limit. `prompts`: how prompts are run, for
        whole recordings `prompts_for`. Raises QueryError, ConfigError, CapacityError.
        """
        self._engine = ActivationEngine(model, config, memory_limit, keep_features=look_back, prompts=prompts)
        ids = itertools.count(first_id)
        self._streams = {
            name: StampedStream(self._engine.open_stream(name or "camera", _UNKNOWN_SIZE), ids)
            for name in cameras
        }
        self._requests: tuple[WatchRequest, ...] = ()
        self._check(requests)
        self._set(tuple(requests))
        self.window_seconds = self._engine.window_slots * self._engine.resolution

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return tuple(self._streams)

    def open(self, camera: str) -> None:
        """Begin with one more camera; its span ids count from 1, whatever the others' have come to.

        A recording goes through an engine with others as it would alone. Raises ConfigError for a name that
        is taken, CapacityError.
        """
        if camera in self._streams:
            raise ConfigError(f"There already is a camera {camera}; use another name.")
        stream = self._engine.open_stream(camera or "camera", _UNKNOWN_SIZE)
        stamped = StampedStream(stream, itertools.count(1))
        try:
            stamped.watch([request for request in self._requests if request.covers(camera)])
        except StrideError:
            stream.close()
            raise
        self._streams[camera] = stamped

    def close(self, camera: str) -> list[StampedEvent]:
        """Be done with a camera; published spans that go on are ended."""
        stamped = self._streams.pop(camera)
        events = stamped.restart()
        stamped.stream.close()
        return events

    @property
    def requests(self) -> tuple[WatchRequest, ...]:
        """What is watched for."""
        return self._requests

    @property
    def config(self) -> ActivationConfig:
        return self._engine.config

    @property
    def readiness(self) -> dict[str, bool]:
        """By id of each watch that has begun on a camera: whether it decides on all on which it has begun.

        See `StampedStream.readiness`.
        """
        ready: dict[str, bool] = {}
        for stream in self._streams.values():
            for id, is_ready in stream.readiness.items():
                ready[id] = ready.get(id, True) and is_ready
        return ready

    @property
    def memory_bytes(self) -> int:
        """Bytes of the state."""
        return self._engine.memory_bytes

    def most_bytes(self, sizes: Mapping[str, tuple[int, int]]) -> int:
        """Bytes that the state takes at most with frames of this height and width (px), by camera."""
        return sum(
            self._engine.memory_for(size, [request.query for request in self._streams[name].requests])
            for name, size in sizes.items()
        )

    def context_frames(self, camera: str) -> int:
        """Frames in the context of a camera's stream now."""
        return self._streams[camera].stream.context_frames

    def apply(
        self, requests: Sequence[WatchRequest], config: ActivationConfig
    ) -> dict[str, list[StampedEvent]]:
        """Take over live changes before the next frames; the ends of spans that this leads to, by camera.

        A watch that stays goes on as it is; one with another query is another one. A new one begins with the
        next pair of frames, or catches up if it looks back. Raises QueryError, ConfigError, CapacityError;
        nothing has changed then.
        """
        wanted = tuple(requests)
        if wanted != self._requests:
            self._check(wanted)
        if config != self._engine.config:
            self._engine.update_config(config)
        return self._set(wanted) if wanted != self._requests else {}

    def lost_sight(self, camera: str, stamp_ns: int) -> float | None:
        """Seconds without a frame before this stamp, if nothing of the window will remain, else None.

        Whatever was open then has long ended.
        """
        gap = self._streams[camera].gap(stamp_ns)
        return gap if gap is not None and gap > self.window_seconds else None

    def push(self, frames: Mapping[str, tuple[np.ndarray, int]]) -> Pushed:
        """Show each of these cameras one frame, (height, width, 3) uint8 RGB, with its stamp in ns.

        After an error that is raised, such as by a full GPU, the streams are of no more use.
        """
        streams = {self._streams[name].stream: name for name in frames}
        given = {
            stream: (frames[name][0], self._streams[name].time(frames[name][1]))
            for stream, name in streams.items()
        }
        errors: dict[str, StrideError] = {}
        try:
            updates = self._engine.push(given)
        except PushError as error:
            updates = error.updates
            errors = {streams[stream]: reason for stream, reason in error.errors.items()}
        except (FrameError, TimeError, CapacityError) as error:  # of the only one
            updates, errors = (), dict.fromkeys(frames, error)
        decisions: dict[str, list[Decision]] = {name: [] for name in frames if name not in errors}
        for name in decisions:
            self._streams[name].took(frames[name][1])
        names = {stream.name: name for stream, name in streams.items()}
        for update in updates:
            name = names[update.stream]
            decisions[name].append(self._streams[name].decision(update))
        return Pushed(decisions, errors)

    def catch_up(self) -> bool:
        """Between frames: let watches that look back take in a little; False if nothing was to do."""
        return self._engine.catch_up()

    def restart(self, camera: str) -> list[StampedEvent]:
        """Forget a camera's stream; published spans that go on are ended."""
        return self._streams[camera].restart()

    def abandon(self, camera: str) -> list[StampedEvent]:
        """End what is open without asking the stream, which an error may have left in any state."""
        return self._streams[camera].abandon()

    def _check(self, requests: Sequence[WatchRequest]) -> None:
        if not requests:
            raise QueryError("There is nothing to watch for; pass a list of at least one query.")
        for request in requests:
            self._engine.model.prompt.check_query(request.query)
            if request.trigger is not None:
                self._engine.check_trigger(request.trigger)
        self._engine.memory.admit(
            {
                stream.stream: [request.query for request in requests if request.covers(name)]
                for name, stream in self._streams.items()
            }
        )

    def _set(self, requests: tuple[WatchRequest, ...]) -> dict[str, list[StampedEvent]]:
        """Watch for these, which were checked; the ends of what was open for others."""
        own = {name: [request for request in requests if request.covers(name)] for name in self._streams}
        # All cameras give up first what they need no more: there may be no memory for both.
        ended = {name: stream.drop_others(own[name]) for name, stream in self._streams.items()}
        for name, stream in self._streams.items():
            stream.watch(own[name])
        self._requests = requests
        return ended
