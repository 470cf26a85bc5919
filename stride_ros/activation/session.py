"""The activation stage for one query: frames in, decisions and span events out."""

from __future__ import annotations

from typing import Any

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import CachedEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.spans import SpanEvent
from stride_ros.activation.stream import ActivationStream, ActivationUpdate, EngineFactory

__all__ = ["ActivationSession", "ActivationUpdate"]


class ActivationSession:
    """Watches one stream of frames for one query. Not thread-safe.

    Deterministic: the same frames, times, configuration and seed give the same updates. Raises QueryError and
    ConfigError.
    """

    def __init__(
        self,
        model: ActivationModel,
        query: str,
        config: ActivationConfig | None = None,
        engine: EngineFactory = CachedEngine,
    ) -> None:
        self._stream = ActivationStream(model, [query], config, engine)

    @property
    def query(self) -> str:
        return self._stream.queries[0]

    @property
    def config(self) -> ActivationConfig:
        return self._stream.config

    @property
    def window_slots(self) -> int:
        """Slots in the activation window (W)."""
        return self._stream.window_slots

    @property
    def resolution(self) -> float:
        """Seconds of a slot."""
        return self._stream.resolution

    @property
    def context_frames(self) -> int:
        """Frames in context now."""
        return self._stream.context_frames

    @property
    def memory_bytes(self) -> int:
        """Bytes of the session's state; the weights are the model's."""
        return self._stream.memory_bytes

    def memory_limit(self, height: int, width: int) -> int:
        """Bytes the session's state takes at most with camera frames of this size, however long it runs."""
        return self._stream.memory_limit(height, width)

    @property
    def finished(self) -> bool:
        """Whether the one event has been found (only with multi_event off); further frames change nothing."""
        return self._stream.finished

    def push(self, frame: Any, time: float) -> ActivationUpdate | None:
        """Take in a frame (H, W, 3) uint8 RGB at `time` (s); the decision it leads to, if any.

        None between decisions, while waiting for a pair, and when finished. Raises FrameError (not such an
        image, or under 32 pixels) and TimeError (not later than the frame before); the session is then as it
        was before.
        """
        return _only(self._stream.push(frame, time))

    def decide(self) -> ActivationUpdate | None:
        """Decide on the frames so far, whatever `decide_every` says; None without a usable frame."""
        return _only(self._stream.decide())

    def close(self) -> tuple[SpanEvent, ...]:
        """End the stream: an open published span is over (OFFSET). The session is then like a new one."""
        return self._stream.close()

    def reset(self) -> tuple[SpanEvent, ...]:
        """Forget the stream, e.g. when time has jumped; the OFFSET of an open published span."""
        return self._stream.reset()

    def set_query(self, query: str) -> tuple[SpanEvent, ...]:
        """Watch for something else from now on; returns what `reset` does. QueryError changes nothing."""
        return self._stream.set_queries([query])

    def update_config(self, config: ActivationConfig) -> None:
        """Apply thresholds, steps, trigger and span settings at the next decision.

        ConfigError, and nothing changed, for a setting that shapes the cached prompt.
        """
        self._stream.update_config(config)


def _only(updates: tuple[ActivationUpdate, ...]) -> ActivationUpdate | None:
    return updates[0] if updates else None
