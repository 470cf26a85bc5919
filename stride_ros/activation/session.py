"""The activation stage for one query: frames in, decisions and span events out."""

from __future__ import annotations

from typing import Any

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.passes import PromptFactory
from stride_ros.activation.spans import SpanEvent
from stride_ros.activation.watch import ActivationUpdate

__all__ = ["ActivationSession", "ActivationUpdate"]


class ActivationSession:
    """Watches one stream of frames for one query: an engine with one stream and one watch. Not thread-safe.

    Deterministic: the same frames, times, configuration and seed give the same updates. prompts: makes the
    prompt, for other ways to run the same passes. Raises QueryError and ConfigError.
    """

    def __init__(
        self,
        model: ActivationModel,
        query: str,
        config: ActivationConfig | None = None,
        prompts: PromptFactory = CachedPrompt,
    ) -> None:
        self._engine = ActivationEngine(model, config, keep_features=False, prompts=prompts)
        self._stream = self._engine.open_stream("camera")
        self._watch = self._stream.watch(query)

    @property
    def query(self) -> str:
        return self._watch.query

    @property
    def config(self) -> ActivationConfig:
        return self._engine.config

    @property
    def window_slots(self) -> int:
        """Slots in the activation window (W)."""
        return self._engine.window_slots

    @property
    def resolution(self) -> float:
        """Duration of a slot in seconds."""
        return self._engine.resolution

    @property
    def context_frames(self) -> int:
        """Frames in context now."""
        return self._stream.context_frames

    @property
    def memory_bytes(self) -> int:
        """Bytes of the session's state, without the model's weights."""
        return self._engine.memory_bytes

    def memory_limit(self, height: int, width: int) -> int:
        """Maximum bytes of the session's state with camera frames of this size, however long it runs."""
        return self._engine.memory_for((height, width), [self.query])

    @property
    def finished(self) -> bool:
        """Whether the one event is over (only with multi_event off); further frames then change nothing."""
        return self._watch.finished

    def push(self, frame: Any, time: float) -> ActivationUpdate | None:
        """Take in a frame (H, W, 3) uint8 RGB at `time` (s); return the decision it leads to, if any.

        None between decisions, while waiting for a pair, and when finished. Raises FrameError (not such an
        image, or under 32 pixels) and TimeError (not later than the previous frame), which leave the session
        unchanged.
        """
        return None if self.finished else _only(self._engine.push({self._stream: (frame, time)}))

    def decide(self) -> ActivationUpdate | None:
        """Decide on the frames so far, regardless of `decide_every`; None without a usable frame."""
        return _only(self._stream.decide())

    def close(self) -> tuple[SpanEvent, ...]:
        """End the stream; return the OFFSET of an open published span. The session is then like a new one."""
        return self.reset()

    def reset(self) -> tuple[SpanEvent, ...]:
        """Forget the stream, e.g. after a jump in time; return the OFFSET of an open published span."""
        return self._stream.reset()

    def set_query(self, query: str) -> tuple[SpanEvent, ...]:
        """Watch for something else from now on; returns what `reset` does. QueryError changes nothing."""
        self._engine.model.prompt.check_query(query)
        events = self._stream.unwatch(self._watch)
        watch = self._stream.watch(query)
        watch.count_on(self._watch)
        self._watch = watch
        self._stream.reset()
        return events

    def update_config(self, config: ActivationConfig) -> None:
        """Apply thresholds, steps, trigger and span settings at the next decision.

        Raises ConfigError, and changes nothing, for a setting that shapes the cached prompt.
        """
        self._engine.update_config(config)


def _only(updates: tuple[ActivationUpdate, ...]) -> ActivationUpdate | None:
    return updates[0] if updates else None
