"""The cached prompt of one query: what has been appended, and passes over the slots after it.

Slots are written after the end of the prefix and overwritten by the next pass or pair; the prefix is never
copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.denoising import Probabilities, SlotPass
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.positions import pair_positions
from stride_ros.activation.prompt import Ids, pair_time
from stride_ros.qwen3_vl.decoder import TokenBlock
from stride_ros.qwen3_vl.kv_cache import KVCache
from stride_ros.qwen3_vl.vision import PairFeatures


@dataclass(frozen=True)
class Pair:
    """An encoded frame pair: times of its two frames (s) and its features."""

    first: float
    second: float
    features: PairFeatures


class Prefix:
    """The prompt of one query in one cache, from one start of the context.

    start: index of the context's first frame in the stream; pairs: number of appended pairs; length: their
    tokens.
    """

    def __init__(
        self, model: ActivationModel, query: str, scheme: str, max_pairs: int, cache: KVCache | None = None
    ) -> None:
        self._model, self._query, self._scheme, self._max_pairs = model, query, scheme, max_pairs
        self._copies = 1 if model.single_sequence else 2
        self._steps: Ids = np.tile(np.arange(self._copies * model.window), (3, 1))  # positions of the slots
        self._cache = cache or model.new_cache()
        self.restart(0)

    def restart(self, start: int) -> None:
        """Forget the prompt, free its memory, and begin again at frame `start`."""
        self._cache.release()
        self.start, self.pairs = start, 0
        self.length = self._position = 0  # after the pairs that stay
        self._end = self._end_position = 0  # after a provisional pair, too
        # Ids of the slots whose keys and values are stored after the end.
        self._slots: Ids = np.empty(0, dtype=np.int64)
        self._answers = np.zeros(self._model.window, dtype=np.float32)
        self._answered = slice(0)  # the slots for which the last block gives answers

    @property
    def memory_bytes(self) -> int:
        """Bytes of keys and values."""
        return self._cache.memory_bytes

    @property
    def next_frame(self) -> int:
        """Index in the stream of the first frame that is not yet appended."""
        return self.start + 2 * self.pairs

    def append(self, pairs: Sequence[Pair], origin: float, keep: bool = True) -> TokenBlock:
        """Return the block that appends `pairs`; the prefix counts it as done, so it must be run.

        origin: time of the context's first frame (s). keep: False for a provisional pair, which the next
        append replaces.
        """
        if not self._cache.room:
            tokens = pairs[0].features.rows * pairs[0].features.columns
            self._cache.reserve(self._tokens_for(tokens, 2.0 * self._max_pairs))
        prompt = self._model.prompt
        ids, positions, visual = [], [], []
        length, position = self.length, self._position
        for index, pair in enumerate(pairs):
            features = pair.features
            tokens = features.rows * features.columns
            query = self._query if self.pairs + index == 0 else None
            pair_ids = prompt.pair(pair_time(pair.first, pair.second, origin), tokens, query)
            at, position = self._pair_positions(len(pair_ids), features, length, position)
            ids.append(pair_ids)
            positions.append(at)
            first_visual = length - self.length + len(pair_ids) - tokens - 1
            visual.append(np.arange(first_visual, first_visual + tokens))
            length += len(pair_ids)
        block = TokenBlock(
            self._cache,
            self.length,
            _joined(ids),
            _joined(positions),
            _joined(visual),
            tuple(pair.features for pair in pairs),
        )
        self._end, self._end_position = length, position
        if keep:
            self.length, self._position = length, position
            self.pairs += len(pairs)
        self.forget_slots()
        return block

    def bytes_for(self, pair_tokens: int, seconds: float, pairs: int | None = None) -> int:
        """Bytes of keys and values of `pairs` frame pairs, of `pair_tokens` video tokens each, in `seconds`.

        pairs: None for a full context and the slots after it.
        """
        room = self._tokens_for(pair_tokens, seconds)
        tokens = room if pairs is None else self._prompt_tokens(pair_tokens, seconds, pairs)
        return self._cache.bytes_for(tokens, room)

    def _tokens_for(self, pair_tokens: int, seconds: float) -> int:
        """Tokens of a full context and its slots: a cache of that size need not grow."""
        slots = self._copies * self._model.window
        return self._prompt_tokens(pair_tokens, seconds, self._max_pairs) + slots

    def _prompt_tokens(self, pair_tokens: int, seconds: float, pairs: int) -> int:
        """Maximum number of tokens of `pairs` pairs, wherever within `seconds`."""
        if not pairs:
            return 0
        prompt = self._model.prompt
        digits = [10.0**n - 0.1 for n in range(1, 1 + len(str(int(seconds))))]  # 9.9, 99.9, ...
        times = [pair_time(time, time, 0.0) for time in (*digits[:-1], min(seconds, digits[-1]))]
        pair = max(len(prompt.pair(time, pair_tokens)) for time in times)
        opening = max(len(prompt.pair(time, pair_tokens, self._query)) for time in times)
        return opening + (pairs - 1) * pair

    def forget_slots(self) -> None:
        """Make the next pass run over all slots."""
        self._slots = self._slots[:0]

    def _pair_positions(
        self, count: int, features: PairFeatures, index: int, position: int
    ) -> tuple[NDArray[np.int64], int]:
        """Positions (3, count) of a pair's ids, and the next one; the last id ends the vision part."""
        if self._scheme == "flat":
            return np.tile(np.arange(index, index + count), (3, 1)), index + count
        return pair_positions(count, features.rows, features.columns, position)

    def ask(self, request: SlotPass, whole: bool = False) -> TokenBlock | None:
        """Return the block that a pass has to run: from the first slot that differs from the cached ones.

        Slots attend to earlier ones only, so an unchanged beginning keeps its keys, values and answers. None
        when the last pass has answered everything. whole: return a block of all slots, if any. With budgets
        it is the first of several passes, whose answers are not kept.
        """
        if request.budgets:
            self.forget_slots()
        ids = self._model.prompt.slot_ids[request.labels]
        slots: Ids = np.concatenate([ids] * self._copies)
        needed = len(slots) - len(ids) + request.needed
        cached = min(len(self._slots), needed)
        differs = self._slots[:cached] != slots[:cached]
        first = int(differs.argmax()) if differs.any() else cached
        if first >= needed:
            return None
        if whole:
            first, needed = 0, len(slots)
        if not request.budgets:
            self._slots = slots[:needed]
        positions = self._steps[:, first:needed] + self._end_position
        asked = len(request.labels) if whole else request.needed
        wanted = min(asked, needed - first)  # only the last copy answers
        self._answered = slice(asked - wanted, asked)
        return TokenBlock(self._cache, self._end + first, slots[first:needed], positions, wanted=wanted)

    def answer(self, values: Probabilities | None) -> Probabilities:
        """P(active) (W,) after a pass, from the values of `ask`'s block; stale beyond the needed slots.

        After several passes, the values themselves (passes, W).
        """
        if values is not None and values.ndim > 1:
            return values
        if values is not None:
            self._answers[self._answered] = values
        answers: Probabilities = self._answers.copy()
        return answers


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The parts concatenated along their last axis."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
