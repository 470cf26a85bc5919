"""What the same checkpoint says at an onset, judged by its words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stride_ros.evaluation.metrics import word_accuracy
from stride_ros.response.backend import ResponseRequest, load_backend
from stride_ros.response.frame_cache import TimedFrame
from stride_ros.response.prompt import DEFAULT_SYSTEM_PROMPT
from stride_ros.world.story import WorldEvent

PRE_SECONDS = 2.0  # as the responder node's default
MAX_WORDS = 32  # tokens at most; the world's sentences are short


class Sayer:
    """Asks a response backend as the responder node does, and compares with the world's sentence."""

    def __init__(
        self, model: str, per_query: int = 1, device: str = "auto", threads: int | None = None
    ) -> None:
        """per_query: how many onsets of each query and clip are put into words; threads: see the backend."""
        self.per_query = per_query
        self._backend = load_backend("huggingface", model, device, max_new_tokens=MAX_WORDS, threads=threads)

    def judge(
        self,
        query: str,
        event: WorldEvent,
        frames: Sequence[NDArray[np.uint8]],
        times: Sequence[float],
        onset: float,
    ) -> float:
        """Word accuracy (0 to 1) of the sentence said at `onset` (s) about `event`."""
        shown = tuple(
            TimedFrame(frame, time)
            for frame, time in zip(frames, times, strict=True)
            if event.start - PRE_SECONDS <= time <= onset
        )
        request = ResponseRequest(query, shown, event.start, (), DEFAULT_SYSTEM_PROMPT)
        return word_accuracy("".join(self._backend.stream(request, lambda: False)), event.text)
