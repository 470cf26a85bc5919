"""Judge the words of the same checkpoint's sentences at onsets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stride_ros.evaluation.metrics import word_accuracy
from stride_ros.response.config import BackendConfig, ResponseConfig
from stride_ros.response.request import nanoseconds, request_about, stamped
from stride_ros.world.story import WorldEvent

MAX_WORDS = 32  # maximum number of tokens; the world's sentences are short


class SentenceScorer:
    """Asks a response backend as the responder node does, and compares with the world's sentence."""

    def __init__(
        self, model: str, per_query: int = 1, device: str = "auto", threads: int | None = None
    ) -> None:
        """per_query: number of onsets of each query and clip to describe; threads: see the backend."""
        self.per_query = per_query
        self._config = ResponseConfig()
        self._backend = BackendConfig(
            model=model, device=device, max_new_tokens=MAX_WORDS, threads=threads
        ).load()

    def judge(
        self,
        query: str,
        event: WorldEvent,
        frames: Sequence[NDArray[np.uint8]],
        times: Sequence[float],
        onset: float,
    ) -> float:
        """Word accuracy (0 to 1) of the sentence at `onset` (s) about `event`."""
        request = request_about(
            self._config,
            query,
            stamped(self._config, frames, times),
            nanoseconds(event.start),
            nanoseconds(onset),
        )
        return word_accuracy("".join(self._backend.stream(request, lambda: False)), event.text)
