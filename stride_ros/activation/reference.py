"""Two slow ways to run the same passes, as references for the results and the speed of the cached prompts.

`RecomputedPrompt` runs the whole prompt, frames and slots, for every pass. `RebuiltPrompt` encodes and
prefills the context again for every decision and keeps it cached for the decision's passes, as the published
evaluation code does.
"""

from __future__ import annotations

import time as clock
from collections import deque
from collections.abc import Sequence

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import Probabilities, SlotPass
from stride_ros.activation.graphs import RecordedPasses
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.passes import FramePair
from stride_ros.activation.prefix import Pair, Prefix
from stride_ros.qwen3_vl.decoder import TokenBlock
from stride_ros.qwen3_vl.paged_cache import PagePool
from stride_ros.qwen3_vl.patches import CELL

_ENCODED_AT_ONCE = 8  # pairs; more only costs memory


class _FrameKeeper:
    """Keeps the frames in context, since the prompts here start from pixels each time."""

    encoded = False
    recordings: RecordedPasses | None = None
    pages: PagePool | None = None
    kept_pairs: Sequence[Pair] = ()
    waiting: Sequence[FramePair] = ()

    def __init__(
        self,
        model: ActivationModel,
        query: str,
        config: ActivationConfig,
        context: Context,
    ) -> None:
        self._model, self._context = model, context
        self._prefix = Prefix(model, query, config.position_scheme, (config.max_frames + 1) // 2)
        self._pairs: deque[FramePair] = deque()
        self._provisional: FramePair | None = None
        self._encoded: list[Pair] | None = None  # the pairs in context, once a decision needed them
        self._start = 0  # index in the stream of the first frame in self._pairs
        self.timings: dict[str, float] = {}

    @property
    def memory_bytes(self) -> int:
        """Bytes of keys and values, and of the frames in context."""
        return sum(image.nbytes for pair in self._pairs for image in pair.images) + self._prefix.memory_bytes

    def memory_limit(self, tokens: int) -> int:
        """Bytes of keys and values for a full context of pairs with that many tokens, and of their pixels."""
        pixels = self._context.max_frames * tokens * CELL * CELL * 3
        return self._prefix.bytes_for(tokens, self._context.seconds) + pixels

    def shift(self) -> None:
        """Forget the frames that have left the context."""
        while self._start < self._context.start:
            self._pairs.popleft()
            self._start += 2

    def advance(self, pair: FramePair | None) -> list[TokenBlock]:
        """Take in the next pair, or a provisional one; it is not processed until a decision needs it."""
        if pair is not None and not pair.provisional:
            self._pairs.append(pair)
        self._provisional = pair if pair is not None and pair.provisional else None
        self._encoded = None
        return []

    def settle(self) -> None:
        """Do nothing, since nothing was run."""

    def fill(self) -> list[TokenBlock]:
        """Return no blocks: nothing is deferred until a decision."""
        return []

    def answer(self, values: Probabilities | None) -> Probabilities:
        """P(active) (W,)."""
        return self._prefix.answer(values)

    def _encode(self) -> list[Pair]:
        begin = clock.perf_counter()
        pairs = [*self._pairs, *([self._provisional] if self._provisional else [])]
        encoded: list[Pair] = []
        for same_size in _runs_of_one_size(pairs):
            features = self._model.encode([pair.images for pair in same_size])
            encoded += [Pair(*pair.times, f) for pair, f in zip(same_size, features, strict=True)]
        self._add_time("vision", clock.perf_counter() - begin)
        return encoded

    def _prompt(self, pairs: Sequence[Pair]) -> TokenBlock:
        self._prefix.restart(self._context.start)
        return self._prefix.append(pairs, self._context.time(self._context.start))

    def _add_time(self, name: str, seconds: float) -> None:
        self.timings[name] = self.timings.get(name, 0.0) + seconds


class RecomputedPrompt(_FrameKeeper):
    """Runs a full forward over the whole prompt for every pass, and vision once for every decision."""

    def ask(self, request: SlotPass) -> TokenBlock | None:
        """One block of frames and slots."""
        if self._encoded is None:
            self._encoded = self._encode()
        prompt = self._prompt(self._encoded)
        slots = self._prefix.ask(request)
        assert slots is not None, "no slots are cached after a restart"
        return prompt.followed_by(slots)


class RebuiltPrompt(_FrameKeeper):
    """Prefills the prompt for every decision, whose passes share the cache and run over all slots."""

    def ask(self, request: SlotPass) -> TokenBlock | None:
        """One block of all slots, after a prefill if it is the decision's first."""
        if self._encoded is None:
            self._encoded = self._encode()
            begin = clock.perf_counter()
            self._model.append([self._prompt(self._encoded)])
            self._add_time("append", clock.perf_counter() - begin)
        self._prefix.forget_slots()
        return self._prefix.ask(SlotPass(request.labels, len(request.labels)))


def _runs_of_one_size(pairs: Sequence[FramePair]) -> list[list[FramePair]]:
    """The pairs in order, in batches that can be encoded together."""
    batches: list[list[FramePair]] = []
    for pair in pairs:
        batch = batches[-1] if batches else []
        if not batch or len(batch) == _ENCODED_AT_ONCE or batch[0].images[0].shape != pair.images[0].shape:
            batches.append([])
        batches[-1].append(pair)
    return batches
