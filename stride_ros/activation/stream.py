"""One camera's frames in the engine, and the watches on them."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.config import TriggerConfig
from stride_ros.activation.context import Context
from stride_ros.activation.passes import FramePair
from stride_ros.activation.spans import SpanEvent
from stride_ros.activation.watch import ActivationUpdate, Watch
from stride_ros.errors import ConfigError, TimeError
from stride_ros.qwen3_vl import patches

if TYPE_CHECKING:
    from stride_ros.activation.engine import ActivationEngine

Image = NDArray[np.uint8]


class Stream:
    """The frames of one camera; created by `ActivationEngine.open_stream`.

    name: unique in its engine. Adding or removing a watch leaves the others as they are.
    """

    def __init__(self, engine: ActivationEngine, name: str, size: tuple[int, int] | None) -> None:
        self.name, self.size = name, size
        self._engine = engine
        self._watches: dict[str, Watch] = {}
        self.begin()

    @property
    def watches(self) -> tuple[Watch, ...]:
        """The watches, in the order in which they were opened."""
        return tuple(self._watches.values())

    @property
    def context_frames(self) -> int:
        """Number of frames in context now, for a watch that has run for long enough."""
        return len(self._context)

    @property
    def newest(self) -> float:
        """Time of the newest frame (s), -inf before the first."""
        return self._newest

    # For callers

    def watch(
        self,
        query: str,
        trigger: TriggerConfig | None = None,
        id: str | None = None,
        look_back: bool = False,
    ) -> Watch:
        """Watch for something from the stream's next frame pair on.

        trigger: None for that of the configuration. id: unique on this stream; None to make one from the
        query. look_back: also decide on what is already in context, as soon as the watch has caught up
        (`ready`). Raises QueryError for a query that cannot be used, ConfigError for an id that is taken or a
        trigger that the model's window cannot meet, CapacityError when it does not fit into the engine's
        memory.
        """
        engine = self._engine
        checked = engine.model.prompt.check_query(query)
        engine.check_trigger(trigger or engine.config.trigger)
        if look_back and not engine.keep_features:
            raise ConfigError("look_back needs an engine that keeps features; make it with keep_features.")
        name = id if id is not None else self._free_id(checked)
        if name in self._watches:
            raise ConfigError(f"The stream {self.name} already has a watch {name}; use another id.")
        engine.memory.admit({self: [*self.queries, checked]})
        watch = Watch(self.name, name, checked, trigger, engine.model, engine.config, engine.prompts)
        if look_back:
            watch.look_back(self._kept, engine.config)
        self._watches[name] = watch
        return watch

    def unwatch(self, watch: Watch) -> tuple[SpanEvent, ...]:
        """Stop a watch; return the OFFSET of its open spans. ConfigError for a watch of another stream."""
        if self._watches.get(watch.id) is not watch:
            raise ConfigError(f"The stream {self.name} has no watch {watch.id}.")
        del self._watches[watch.id]
        events = tuple(watch.end_spans(self._newest))
        watch.begin(self._engine.config)  # a caller that keeps the watch does not keep its memory
        return events

    def reset(self) -> tuple[SpanEvent, ...]:
        """Forget the frames, e.g. after a jump in time; return the OFFSET of every open published span."""
        events = [event for watch in self.watches for event in watch.end_spans(self._newest)]
        for watch in self.watches:
            watch.begin(self._engine.config)
        self.begin()
        return tuple(events)

    def close(self) -> tuple[SpanEvent, ...]:
        """Leave the engine; return the OFFSET of every open published span."""
        events = [event for watch in self.watches for event in self.unwatch(watch)]
        self.begin()
        self._engine.forget(self)
        return tuple(events)

    def decide(self) -> tuple[ActivationUpdate, ...]:
        """Decide on the frames so far, regardless of `decide_every`: at the end, or to ask again.

        There is no decision without a usable frame; with odd_frame `wait`, that takes a complete pair.
        """
        return self._engine.decide(self)

    # For the engine

    def begin(self) -> None:
        """Restart without frames."""
        config = self._engine.config
        self._context = Context(config.max_frames, config.dropped_per_shift)
        self.seconds = self._context.seconds  # that the context covers, for the memory estimate
        self._kept: deque[FramePair] = deque()  # the pairs in context, for watches that look back
        self._first_kept = 0
        self._half: tuple[Image, float] | None = None  # a frame that is waiting for its partner
        self._newest = -math.inf

    @property
    def half(self) -> tuple[Image, float] | None:
        """The frame that is waiting for its partner, and its time."""
        return self._half

    def covered(self, time: float) -> float:
        """Seconds that the context would cover with a frame at this time."""
        return time - self._context.time(self._context.start) if len(self._context) else 0.0

    @property
    def queries(self) -> list[str]:
        """The queries of its watches."""
        return [watch.query for watch in self.watches]

    @property
    def kept_pairs(self) -> Sequence[FramePair]:
        """The pairs in context."""
        return self._kept

    def prepare(self, frame: Any, time: Any) -> tuple[Image, float]:
        """Return the frame as the model takes it and its time as a number; FrameError, TimeError."""
        checked = self._check_time(time)
        size = (self._half[0].shape[0], self._half[0].shape[1]) if self._half else None
        return patches.prepare(frame, self._engine.frame_max_tokens, size), checked

    def take(self, image: Image, time: float) -> FramePair | None:
        """Take in a prepared frame; return the pair that it completes."""
        self._newest = time
        if self._half is None:
            for watch in self.watches:
                watch.begun = True
            self._half = (image, time)
            pair = None
        else:
            pair = FramePair((self._half[0], image), (self._half[1], time))
            self._half = None
        if self._context.add(time):
            while self._kept and self._first_kept < self._context.start:
                self._kept.popleft()
                self._first_kept += 2
        return pair

    def keep(self, pair: FramePair) -> None:
        """Keep a pair while it is in context."""
        if self._engine.keep_features:
            self._kept.append(pair)

    def provisional(self) -> FramePair:
        """A provisional pair that repeats the waiting frame."""
        assert self._half is not None
        image, time = self._half
        return FramePair((image, image), (time, time), provisional=True)

    def usable(self, watch: Watch) -> int:
        """Number of frames that a decision of this watch may use now."""
        waits = self._half is not None and self._engine.config.odd_frame == "wait"
        return watch.frames - (waits and watch.ready)

    def _free_id(self, query: str) -> str:
        name = hashlib.sha256(query.encode()).hexdigest()[:8]
        names = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(2)))
        return next(free for free in names if free not in self._watches)

    def _check_time(self, time: Any) -> float:
        try:
            value = float(time)
        except (TypeError, ValueError) as error:
            raise TimeError(f"A frame's time is {time!r}; pass seconds as a number.") from error
        if not math.isfinite(value):
            raise TimeError(f"A frame's time is {value}; pass a finite number of seconds.")
        if value <= self._newest:
            raise TimeError(
                f"A frame's time is {value:.6f} s after one of {self._newest:.6f} s; push frames in order or "
                "reset."
            )
        return value


def without_images(pair: FramePair) -> FramePair:
    """An encoded pair without its pixels, which are no longer needed."""
    nothing = np.empty((0, 0, 3), np.uint8)
    return replace(pair, images=(nothing, nothing))
