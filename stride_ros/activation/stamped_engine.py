"""The stamped streams of all cameras on one engine: their watches, and the decisions on their frames."""

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

_UNKNOWN_SIZE = (CELL, CELL)  # px; the first frame is admitted at its own size, not as the largest possible


@dataclass(frozen=True)
class Pushed:
    """The results of a batch of frames, by camera.

    decisions: one for each watch, none where none was due. errors: FrameError, TimeError, or CapacityError
    where the memory limit does not allow frames of this size; such a frame changes nothing.
    """

    decisions: dict[str, list[Decision]]
    errors: dict[str, StrideError]


class StampedEngine:
    """Watches on the streams of one or several cameras; span ids are unique throughout.

    A wrapper around an engine that takes stamps in ns instead of times in s. Not thread-safe.
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
        """`first_id`: id of the first span. `look_back`: keep the features that watches that look back need.

        `memory_limit`: bytes that the state may take; None: no limit. `prompts`: how prompts are run; for
        whole recordings, what `prompts_for` returns. Raises QueryError, ConfigError, CapacityError.
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
        """Add a camera; its span ids count from 1, whatever ids the others have reached.

        So a recording gets the same ids beside others as it would alone. Raises ConfigError for a name that
        is taken, and CapacityError.
        """
        if camera in self._streams:
            raise ConfigError(f"There is already a camera named {camera}; use another name.")
        stream = self._engine.open_stream(camera or "camera", _UNKNOWN_SIZE)
        stamped = StampedStream(stream, itertools.count(1))
        try:
            stamped.watch([request for request in self._requests if request.covers(camera)])
        except StrideError:
            stream.close()
            raise
        self._streams[camera] = stamped

    def close(self, camera: str) -> list[StampedEvent]:
        """Remove a camera; its open published spans end."""
        stamped = self._streams.pop(camera)
        events = stamped.restart()
        stamped.stream.close()
        return events

    @property
    def requests(self) -> tuple[WatchRequest, ...]:
        """The requests that are being watched for."""
        return self._requests

    @property
    def config(self) -> ActivationConfig:
        return self._engine.config

    @property
    def readiness(self) -> dict[str, bool]:
        """By id of each watch that has begun on a camera: whether it decides on all cameras it has begun on.

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
        """Maximum bytes of the state with frames of this height and width (px), by camera."""
        return sum(
            self._engine.memory_for(size, [request.query for request in self._streams[name].requests])
            for name, size in sizes.items()
        )

    def context_frames(self, camera: str) -> int:
        """Number of frames in the context of a camera's stream now."""
        return self._streams[camera].stream.context_frames

    def apply(
        self, requests: Sequence[WatchRequest], config: ActivationConfig
    ) -> dict[str, list[StampedEvent]]:
        """Apply live changes before the next frames; return the ends of spans that this causes, by camera.

        A watch that stays continues unchanged; one with another query counts as another watch. A new watch
        begins with the next pair of frames, or catches up if it looks back. Raises QueryError, ConfigError or
        CapacityError, and changes nothing then.
        """
        wanted = tuple(requests)
        if wanted != self._requests:
            self._check(wanted)
        if config != self._engine.config:
            self._engine.update_config(config)
        return self._set(wanted) if wanted != self._requests else {}

    def lost_sight(self, camera: str, stamp_ns: int) -> float | None:
        """Seconds without a frame before this stamp if nothing of the window remains, otherwise None.

        Anything that was open then ended long ago.
        """
        gap = self._streams[camera].gap(stamp_ns)
        return gap if gap is not None and gap > self.window_seconds else None

    def push(self, frames: Mapping[str, tuple[np.ndarray, int]]) -> Pushed:
        """Show each of these cameras one frame, (height, width, 3) uint8 RGB, with its stamp in ns.

        After an exception, such as that of a full GPU, the streams can no longer be used.
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
        except (FrameError, TimeError, CapacityError) as error:  # the only camera's
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
        """Let watches that look back take in a little, between frames; False if there was nothing to do."""
        return self._engine.catch_up()

    def restart(self, camera: str) -> list[StampedEvent]:
        """Restart a camera's stream; its open published spans end."""
        return self._streams[camera].restart()

    def abandon(self, camera: str) -> list[StampedEvent]:
        """End open spans without the stream, which an error may have left in an undefined state."""
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
        """Watch for these checked requests; return the ends of spans that were open for others."""
        own = {name: [request for request in requests if request.covers(name)] for name in self._streams}
        # First, all cameras free what they no longer need: there may not be enough memory for both.
        ended = {name: stream.drop_others(own[name]) for name, stream in self._streams.items()}
        for name, stream in self._streams.items():
            stream.watch(own[name])
        self._requests = requests
        return ended
