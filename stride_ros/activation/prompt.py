"""The token ids of the prompt: query, frame pairs with their times, slots of the activation window."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import CheckpointError, QueryError
from stride_ros.qwen3_vl.checkpoint import SLOT_TOKENS
from stride_ros.qwen3_vl.tokenizer import panics_told

MAX_QUERY_TOKENS = 1024
VISION_START, VIDEO_PAD, VISION_END = "<|vision_start|>", "<|video_pad|>", "<|vision_end|>"
# Training and the published code pass times to the processor as frame indices at this rate, which divides
# them again; the last bit of the resulting float decides how a tie such as 0.35 is rounded to one decimal.
_INDEX_RATE = 100

Ids = NDArray[np.int64]


def pair_time(first: float, second: float, origin: float) -> str:
    """The time of a frame pair as the prompt states it, e.g. `<0.5 seconds>`.

    first, second, origin: times of the two frames and of the context's first frame (s).
    """
    a = (first - origin) * _INDEX_RATE / _INDEX_RATE
    b = (second - origin) * _INDEX_RATE / _INDEX_RATE
    return f"<{(a + b) / 2:.1f} seconds>"


class Prompt:
    """Builds prompts with the checkpoint's own tokenizer and chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        missing = [token for token in (VISION_START, VIDEO_PAD, VISION_END) if token not in vocabulary]
        if missing:
            raise CheckpointError(
                f"The tokenizer lacks {', '.join(missing)}; use the tokenizer of a Qwen3-VL model."
            )
        self.slot_ids: Ids = np.array([vocabulary[token] for token in SLOT_TOKENS], dtype=np.int64)
        self.video_id = vocabulary[VIDEO_PAD]
        self._vision_start, self._vision_end = vocabulary[VISION_START], vocabulary[VISION_END]
        self._special = set(tokenizer.all_special_ids) | set(self.slot_ids.tolist()) | {self.video_id}
        self._pair_ids = lru_cache(maxsize=1024)(self._make_pair)

    def _tokenize(self, text: str) -> list[int]:
        with panics_told():
            ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def check_query(self, query: Any) -> str:
        """Return the query; QueryError if it is empty, too long or contains special tokens of the model."""
        if not isinstance(query, str) or not query.strip():
            raise QueryError(
                "The query is empty; say what to watch for, e.g. 'Tell me when a person enters.'."
            )
        ids = self._tokenize(query)
        if self._special.intersection(ids):
            raise QueryError("The query contains special tokens of the model; write it in plain words.")
        if len(ids) > MAX_QUERY_TOKENS:
            raise QueryError(
                f"The query has {len(ids)} tokens; shorten it to {MAX_QUERY_TOKENS} tokens or fewer."
            )
        return query

    def _around_video(self, query: str) -> tuple[str, str]:
        content = [{"type": "text", "text": query}, {"type": "video"}]
        text: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=False
        )
        before, placeholder, after = text.partition(VISION_START + VIDEO_PAD + VISION_END)
        if not placeholder:
            raise CheckpointError(
                "The chat template places no video in a user turn; use the template of a Qwen3-VL model."
            )
        return before, after

    def pair(self, time: str, tokens: int, query: str | None = None) -> Ids:
        """Ids of a frame pair with `tokens` video tokens; with `query`, of the prompt up to its first pair.

        The query and the first time are encoded together, since the tokenizer may merge characters across
        them.
        """
        return self._pair_ids(time if query is None else self._around_video(query)[0] + time, tokens)

    def _make_pair(self, text: str, tokens: int) -> Ids:
        vision = [self._vision_start, *[self.video_id] * tokens, self._vision_end]
        ids: Ids = np.array(self._tokenize(text) + vision, dtype=np.int64)
        ids.flags.writeable = False  # the same request returns the same array
        return ids

    def ending(self, query: str) -> Ids:
        """Ids after the slots: the end of the user turn. No slot attends to them."""
        return np.array(self._tokenize(self._around_video(query)[1]), dtype=np.int64)
