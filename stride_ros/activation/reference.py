"""Two slow ways to run the same passes, to check the streaming engine against and to measure it by.

`RecomputeEngine` runs the whole prompt, frames and slots, for every pass. `RebuildEngine` encodes and
prefills the context anew for every decision and keeps it cached for the decision's passes, as the published
evaluation code does.
"""

from __future__ import annotations

import time as clock
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import Probabilities, SlotPass
from stride_ros.activation.engine import FramePair
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.prefix import Pair, Prefix
from stride_ros.qwen3_vl.decoder import TokenBlock

_ENCODED_AT_ONCE = 8  # pairs; more only costs memory


class _FrameKeeper:
    """Keeps the frames in context, as the engines here start from pixels each time."""

    def __init__(
        self, model: ActivationModel, queries: Sequence[str], config: ActivationConfig, context: Context
    ) -> None:
        self._model, self._context = model, context
        pairs = config.max_frames // 2 + 1
        self._prefixes = [Prefix(model, query, config.position_scheme, pairs) for query in queries]
        self._pairs: deque[FramePair] = deque()
        self._provisional: FramePair | None = None
        self._encoded: list[Pair] | None = None  # the pairs in context, once a decision has needed them
        self._start = 0  # index in the stream of the first frame in self._pairs
        self.timings: dict[str, float] = {}

    @property
    def memory_bytes(self) -> int:
        """Bytes of keys and values, and of the frames in context."""
        pixels = sum(image.nbytes for pair in self._pairs for image in pair.images)
        return pixels + sum(prefix.memory_bytes for prefix in self._prefixes)

    def memory_limit(self, height: int, width: int) -> int:
        """Bytes of keys and values for a full context of frames of this size, and of its pixels."""
        caches = sum(prefix.bytes_for(height, width) for prefix in self._prefixes)
        return caches + self._context.max_frames * height * width * 3

    def shift(self) -> None:
        """Forget the frames that have left the context."""
        while self._start < self._context.start:
            self._pairs.popleft()
            self._start += 2

    def advance(self, pair: FramePair | None) -> None:
        """Take in the stream's next pair, or a provisional one; no work until a decision needs it."""
        if pair is not None and not pair.provisional:
            self._pairs.append(pair)
        self._provisional = pair if pair is not None and pair.provisional else None
        self._encoded = None

    def _encode(self) -> list[Pair]:
        begin = clock.perf_counter()
        pairs = [*self._pairs, *([self._provisional] if self._provisional else [])]
        encoded: list[Pair] = []
        for same_size in _runs_of_one_size(pairs):
            features = self._model.encode([pair.images for pair in same_size])
            encoded += [Pair(*pair.times, f) for pair, f in zip(same_size, features, strict=True)]
        self._add_time("vision", clock.perf_counter() - begin)
        return encoded

    def _prompt(self, query: int, pairs: Sequence[Pair]) -> TokenBlock:
        prefix = self._prefixes[query]
        prefix.restart(self._context.start)
        return prefix.append(pairs, self._context.time(self._context.start))

    def _add_time(self, name: str, seconds: float) -> None:
        self.timings[name] = self.timings.get(name, 0.0) + seconds


class RecomputeEngine(_FrameKeeper):
    """A full forward over the whole prompt for every pass; vision once for every decision."""

    def answer(self, requests: Mapping[int, SlotPass]) -> dict[int, Probabilities]:
        """Run one pass over frames and slots for each of these queries: P(active), (W,) each."""
        if self._encoded is None:
            self._encoded = self._encode()
        answers = {}
        for query, request in requests.items():
            prompt = self._prompt(query, self._encoded)
            slots = self._prefixes[query].ask(request)
            assert slots is not None, "no slots are cached after a restart"
            (values,) = self._model.slot_probabilities([_joined(prompt, slots)])
            answers[query] = self._prefixes[query].answer(values)
        return answers


class RebuildEngine(_FrameKeeper):
    """The prompt is prefilled for every decision; its passes share the cache and run over all slots."""

    def answer(self, requests: Mapping[int, SlotPass]) -> dict[int, Probabilities]:
        """Run one pass over the slots for each of these queries, after a prefill if it is the decision's
        first.
        """
        if self._encoded is None:
            self._encoded = self._encode()
            begin = clock.perf_counter()
            for query in range(len(self._prefixes)):
                self._model.append([self._prompt(query, self._encoded)])
            self._add_time("append", clock.perf_counter() - begin)
        answers = {}
        for query, request in requests.items():
            prefix = self._prefixes[query]
            prefix.forget_slots()
            slots = prefix.ask(SlotPass(request.labels, len(request.labels)))
            assert slots is not None, "no slots are cached after they were forgotten"
            answers[query] = prefix.answer(self._model.slot_probabilities([slots])[0])
        return answers


def _runs_of_one_size(pairs: Sequence[FramePair]) -> list[list[FramePair]]:
    """The pairs in order, in batches that can be encoded together."""
    batches: list[list[FramePair]] = []
    for pair in pairs:
        batch = batches[-1] if batches else []
        if not batch or len(batch) == _ENCODED_AT_ONCE or batch[0].images[0].shape != pair.images[0].shape:
            batches.append([])
        batches[-1].append(pair)
    return batches


def _joined(prompt: TokenBlock, slots: TokenBlock) -> TokenBlock:
    """Two blocks that follow each other as one."""
    return TokenBlock(
        prompt.cache,
        prompt.start,
        np.concatenate([prompt.ids, slots.ids]),
        np.concatenate([prompt.positions, slots.positions], axis=1),
        prompt.visual,
        prompt.features,
        slots.wanted,
    )
