"""The responder without ROS: what it is shown at an onset, and its answer, one after another."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np

from stride_ros.errors import StrideError
from stride_ros.parameters.responder import TABLE, backend_options
from stride_ros.response.backend import ResponseRequest, load_backend
from stride_ros.response.frame_cache import FrameCache
from stride_ros.runs.record import Said


class Answerer:
    """Answers each onset as the responder node would, with the same frames, history and settings.

    ``parameters`` are those of the responder node (config/stride.yaml); decoding is greedy unless
    ``temperature`` is among them, so that the same recording gives the same words.
    """

    def __init__(self, model: str, **parameters: Any) -> None:
        values: dict[str, Any] = {spec.name: spec.default for spec in TABLE}
        values |= {"temperature": 0.0, "model": model, **parameters}
        self._values = values
        self._backend = load_backend(
            values["backend"], model, values["device"], values["dtype"], **backend_options(values)
        )
        self._cache = FrameCache(values["cache_seconds"], values["cache_frames"])
        self._history: deque[str] = deque(maxlen=max(values["history"], 1))
        self._origin = 0
        self.name = self._backend.name

    def add(self, image: np.ndarray, stamp: int) -> None:
        """Remember a frame, (H, W, 3) uint8 RGB; ``stamp`` in ns. A step back in time forgets the others."""
        if self._cache.newest is not None and self._seconds(stamp) <= self._cache.newest:
            self._cache.clear()
        if self._cache.newest is None:
            self._origin = stamp
        self._cache.add(image, self._seconds(stamp))

    def answer(self, query: str, start: int, stamp: int) -> Said:
        """What is said about the event that began at ``start`` and was noticed at ``stamp`` (ns)."""
        values = self._values
        begin = self._seconds(start)
        frames = self._cache.select(begin - values["pre_seconds"], self._seconds(stamp), values["max_frames"])
        request = ResponseRequest(
            query=query,
            frames=tuple(frames),
            span_start=begin,
            history=tuple(self._history)[-values["history"] :] if values["history"] else (),
            system_prompt=values["system_prompt"],
        )
        shown = tuple(self._origin + round(frame.time * 1e9) for frame in frames)
        begun = time.monotonic()
        try:
            text = "".join(self._backend.stream(request, lambda: False)).strip()
        except StrideError as error:
            return Said("", self.name, "error", str(error), time.monotonic() - begun, shown)
        if not text:
            error_text = f"{self.name} gave an empty text: try another model or prompt."
            return Said("", self.name, "error", error_text, time.monotonic() - begun, shown)
        self._history.append(text)
        return Said(text, self.name, latency=time.monotonic() - begun, frame_stamps=shown)

    def close(self) -> None:
        """Free the model."""
        self._backend.close()

    def _seconds(self, stamp: int) -> float:
        return (stamp - self._origin) / 1e9
