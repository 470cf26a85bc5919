"""The streaming engine: a frame pair is encoded and appended once; a pass runs changed slots only.

Two cached prompts per query: the active one, and an upcoming one that begins where the context will begin
after the next shift. Both take the same encoded pairs, the upcoming one at an even pace behind, so that a
shift is a swap and costs nothing. Memory is bounded by two caches per query and the features of the pairs
that the upcoming one still needs.
"""

from __future__ import annotations

import time as clock
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import Probabilities, SlotPass
from stride_ros.activation.graphs import Recorder
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.prefix import Pair, Prefix
from stride_ros.activation.prompt_set import PromptSet
from stride_ros.qwen3_vl.decoder import TokenBlock
from stride_ros.qwen3_vl.kv_cache import PARTS


@dataclass(frozen=True)
class FramePair:
    """Two prepared frames (H, W, 3) uint8 of one size, their times (s); a provisional one repeats one."""

    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    times: tuple[float, float]
    provisional: bool = False


class PassEngine(Protocol):
    """What a stream needs to make decisions; the queries are numbered.

    timings: seconds spent on `vision` and `append` since it was last cleared.
    """

    timings: dict[str, float]

    @property
    def memory_bytes(self) -> int:
        """Bytes of the state of the stream."""

    def memory_limit(self, height: int, width: int) -> int:
        """Bytes of the state for a full context of frames of this size (model pixels)."""

    def shift(self) -> None:
        """The context has just lost its oldest frames."""

    def advance(self, pair: FramePair | None) -> None:
        """Take in the next pair, or a provisional one that the next replaces; called at every frame."""

    def answer(self, requests: Mapping[int, SlotPass]) -> dict[int, Probabilities]:
        """Run one pass over the slots for each of these queries: P(active), (W,) each."""


class CachedEngine:
    """The engine of a live stream.

    recorder: of slot passes; left out, it is that of the model's device, if there is one and the
    configuration wants CUDA graphs.
    """

    def __init__(
        self,
        model: ActivationModel,
        queries: Sequence[str],
        config: ActivationConfig,
        context: Context,
        recorder: Recorder | None = None,
    ) -> None:
        self._model, self._context = model, context
        pairs = config.max_frames // 2 + 1
        recorder = recorder or (model.recorder if config.cuda_graphs else None)

        def prompts() -> PromptSet:
            prefixes = [Prefix(model, query, config.position_scheme, pairs) for query in queries]
            return PromptSet(model, prefixes, model.recorded_passes(recorder) if recorder else None)

        self._active, self._upcoming = prompts(), prompts()
        self._upcoming.restart(context.next_start)
        self._pairs: deque[Pair] = deque()
        self._first_pair = 0  # index in the stream of the first frame in self._pairs
        self.timings: dict[str, float] = {}

    @property
    def memory_bytes(self) -> int:
        """Bytes of keys and values of all queries, and of the encoded pairs that are kept."""
        caches = self._active.memory_bytes + self._upcoming.memory_bytes
        return caches + sum(pair.features.memory_bytes for pair in self._pairs)

    def memory_limit(self, height: int, width: int) -> int:
        """Bytes of keys and values for frames of this size, and of the encoded pairs kept at most."""
        caches = self._active.bytes_for(height, width) + self._upcoming.bytes_for(height, width)
        return caches + self._context.max_frames // 2 * self._model.feature_bytes(height, width)

    @property
    def recordings(self) -> int:
        """How many slot passes are recorded, 0 where they are not or where recording failed."""
        return self._active.recordings + self._upcoming.recordings

    def shift(self) -> None:
        """Swap the caches; what is missing from the new active one is appended with the next pair."""
        self._active, self._upcoming = self._upcoming, self._active
        self._upcoming.restart(self._context.next_start)

    def advance(self, pair: FramePair | None) -> None:
        """Encode and append `pair`, and let the upcoming prompts catch up by their share."""
        begin = clock.perf_counter()
        provisional: Pair | None = None
        if pair is not None:
            encoded = Pair(*pair.times, self._model.encode([pair.images])[0])
            if pair.provisional:
                provisional = encoded
            else:
                self._pairs.append(encoded)
        encoding_done = clock.perf_counter()
        blocks = [*self._appends(provisional), *self._catch_up()]
        if blocks:
            self._model.append(blocks)
        self._forget()
        self._active.record_ahead()
        if self._context.frames_to_shift < PARTS:  # it is nearly as long as when it will be used
            self._upcoming.record_ahead()
        self._add_time("vision", encoding_done - begin)
        self._add_time("append", clock.perf_counter() - encoding_done)

    def answer(self, requests: Mapping[int, SlotPass]) -> dict[int, Probabilities]:
        """One pass for all these queries at once."""
        return self._active.answer(requests)

    def _appends(self, provisional: Pair | None) -> list[TokenBlock]:
        origin = self._context.time(self._context.start)
        blocks = self._active.append(self._pairs_from(self._active.next_frame), origin)
        if provisional is not None:
            blocks += self._active.append([provisional], origin, keep=False)
        return blocks

    def _catch_up(self) -> list[TokenBlock]:
        """Appends to the upcoming prompts: an even share of what they will need by the next shift."""
        context = self._context
        needed = (context.start + context.max_frames - self._upcoming.next_frame) // 2
        share = -(-needed // (context.frames_to_shift + 1))
        pairs = self._pairs_from(self._upcoming.next_frame)[: max(0, share)]
        return self._upcoming.append(pairs, context.time(context.next_start)) if pairs else []

    def _pairs_from(self, frame: int) -> list[Pair]:
        return list(self._pairs)[(frame - self._first_pair) // 2 :]

    def _forget(self) -> None:
        """Drop encoded pairs that neither the upcoming prompts nor the ones after them need."""
        needed = min(self._upcoming.next_frame, self._context.next_start + self._context.drop_frames)
        while self._pairs and self._first_pair < needed:
            self._pairs.popleft()
            self._first_pair += 2

    def _add_time(self, name: str, seconds: float) -> None:
        self.timings[name] = self.timings.get(name, 0.0) + seconds
