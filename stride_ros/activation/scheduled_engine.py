"""An engine that need not keep up: the newest due frames of its streams, in fair batches."""

from __future__ import annotations

import math
import time as clocks
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stride_ros.activation.engine import ActivationEngine, PushError
from stride_ros.activation.scheduler import Scheduler, StreamLoad
from stride_ros.activation.stream import Stream
from stride_ros.activation.watch import ActivationUpdate
from stride_ros.errors import StrideError, TimeError

Decode = Callable[[], Any]


@dataclass(frozen=True)
class Served:
    """What came of one batch.

    times: of the frame that each stream was shown (s). updates: the decisions. errors: why the frame of a
    stream could not be used, by stream; these are not in `times`.
    """

    times: Mapping[Stream, float]
    updates: tuple[ActivationUpdate, ...]
    errors: Mapping[Stream, Exception]


class ScheduledEngine:
    """Offers due frames to an engine, and drops the older ones where time is short. Not thread-safe.

    The caller offers frames and calls `step`, from one thread or under one lock; see `Scheduler` for whose
    turn it is. A camera that fails is told and counted, and changes nothing for the others.
    """

    def __init__(
        self,
        engine: ActivationEngine,
        clock: Callable[[], float] = clocks.monotonic,
        batch: int | None = None,
    ) -> None:
        """clock: the time now (s), for ages and costs. batch: streams that run together, None for all."""
        self._engine, self._clock, self._batch = engine, clock, batch
        self._scheduler: Scheduler[Stream, tuple[Decode, float]] = Scheduler(clock)

    def offer(self, stream: Stream, decode: Decode, time: float) -> None:
        """A frame at `time` (s) is due; `decode()` makes it, (H, W, 3) uint8 RGB, when its turn comes.

        Raises TimeError for a time that is no number or not later than the frame before, offered or shown;
        what waits then still waits. After a jump in time, `discard` first.
        """
        waiting = self._scheduler.waiting(stream)
        before = max(stream.newest, waiting[1] if waiting else -math.inf)
        if not before < time < math.inf:
            raise TimeError(
                f"A frame's time is {time} s after one of {before:.6f} s; offer frames in order with finite "
                "times, or reset the stream."
            )
        self._scheduler.offer(stream, (decode, time))

    def discard(self, stream: Stream) -> None:
        """Forget what waits of a stream that starts anew."""
        self._scheduler.discard(stream)

    @property
    def seconds_to_next(self) -> float | None:
        """Seconds until `step` has something to do, 0 if it has now; None if nothing waits."""
        self._forget_closed()
        return self._scheduler.seconds_to_next

    def load(self, stream: Stream) -> StreamLoad:
        """How far a stream is behind, for diagnostics."""
        return self._scheduler.load(stream)

    def step(self) -> Served:
        """Decide on the next batch; nothing was served if nothing may run now.

        What no single frame explains, such as a full GPU, is raised; reset the streams then.
        """
        self._forget_closed()
        frames: dict[Stream, tuple[Any, float]] = {}
        errors: dict[Stream, Exception] = {}
        costs: dict[Stream, float] = {}
        for stream, (decode, time) in self._scheduler.take(self._batch).items():
            begin = self._clock()
            try:
                frames[stream] = (decode(), time)
            except Exception as error:  # whatever is wrong with one camera's image
                errors[stream] = error
            costs[stream] = self._clock() - begin
        self._scheduler.charge(costs)
        updates = self._push(frames, errors)
        for stream in errors:
            self._scheduler.fail(stream)
        times = {stream: time for stream, (_, time) in frames.items() if stream not in errors}
        return Served(times, updates, errors)

    def _push(
        self, frames: Mapping[Stream, tuple[Any, float]], errors: dict[Stream, Exception]
    ) -> tuple[ActivationUpdate, ...]:
        """The decisions; adds to `errors` what the engine refuses."""
        if not frames:
            return ()
        try:
            return self._engine.push(frames)
        except PushError as error:
            errors.update(error.errors)
            return error.updates
        except StrideError as error:
            if len(frames) > 1:
                raise
            errors[next(iter(frames))] = error
            return ()

    def _forget_closed(self) -> None:
        """Drop what waits of streams that the engine no longer has."""
        for stream in set(self._scheduler.loads).difference(self._engine.streams):
            self._scheduler.forget(stream)
