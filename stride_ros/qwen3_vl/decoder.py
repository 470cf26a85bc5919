"""The language model of Qwen3-VL as a short loop over cached prefixes.

One forward serves everything that a tick needs: blocks of new tokens, each written in place after the part of
its own cache that it continues, share the matrix products; only attention runs per block. So appending a pair
to two caches, or a pass over the slots of several queries, reads the weights once, whatever the lengths of
the prefixes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from stride_ros.qwen3_vl.architecture import TextShape
from stride_ros.qwen3_vl.block_attention import CausalMask, attend_each, attention_to
from stride_ros.qwen3_vl.device import uploaded
from stride_ros.qwen3_vl.kv_cache import KVCache
from stride_ros.qwen3_vl.layer import Layer
from stride_ros.qwen3_vl.norm import RMSNorm
from stride_ros.qwen3_vl.rotary import Rotary
from stride_ros.qwen3_vl.vision import PairFeatures, Weights


@dataclass(frozen=True, eq=False)
class TokenBlock:
    """Tokens to run through the model after the first `start` entries of `cache`.

    ids (n,), positions (3, n) on the rotary axes time, height, width; features of the frame pairs whose video
    tokens are at `visual` (rows of the block). Hidden states are computed for the last `wanted` tokens only.
    """

    cache: KVCache
    start: int
    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    visual: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    features: tuple[PairFeatures, ...] = ()
    wanted: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.ids)

    def followed_by(self, other: TokenBlock) -> TokenBlock:
        """Join this block and another, whose wanted tokens remain.

        The other has no frame pairs and begins where this one ends.
        """
        assert (other.cache, other.start, other.features) == (self.cache, self.end, ())
        return TokenBlock(
            self.cache,
            self.start,
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.positions, other.positions], axis=1),
            self.visual,
            self.features,
            other.wanted,
        )


def joined(
    appends: Sequence[TokenBlock], passes: Sequence[TokenBlock]
) -> tuple[list[TokenBlock], list[TokenBlock]]:
    """Join passes, in order, with the appends that they follow in their caches.

    Appends that no pass follows come first.
    """
    ends = {(id(block.cache), block.end): index for index, block in enumerate(appends)}
    rest, found = dict(enumerate(appends)), []
    for block in passes:
        before = rest.pop(ends.get((id(block.cache), block.start), -1), None)
        found.append(block if before is None else before.followed_by(block))
    return list(rest.values()), found


class TextDecoder:
    """Runs blocks of tokens through the language model."""

    def __init__(self, shape: TextShape, weights: Weights) -> None:
        self.shape = shape
        self.embedding = weights.tensor("text.embed_tokens.weight", shape.vocab, shape.hidden)
        self.layers = [Layer(shape, weights, f"text.layers.{i}") for i in range(shape.layers)]
        self.norm = RMSNorm(weights.tensor("text.norm.weight", shape.hidden), shape.norm_eps)  # the last
        self.device, self.dtype = self.embedding.device, self.embedding.dtype
        self.rotary = Rotary(shape, self.device, self.dtype)
        self._mask = CausalMask(self.device, self.dtype)

    def head_rows(self, weights: Weights, ids: NDArray[np.int64]) -> torch.Tensor:
        """Rows of the output head. The file's own head is used, even if the configuration calls it tied."""
        rows = torch.from_numpy(ids).to(self.device)
        if weights.has("lm_head.weight"):
            return weights.tensor("lm_head.weight", self.shape.vocab, self.shape.hidden)[rows].clone()
        return self.embedding[rows]

    def forward(self, blocks: Sequence[TokenBlock]) -> list[torch.Tensor]:
        """Write keys and values to the caches; return the hidden states (wanted, hidden) of each block."""
        for block in blocks:
            block.cache.hold(block.end)
        ids, positions, visual = self._upload(blocks)
        x = self.embedding.index_select(0, ids)
        tokens, deepstack = _visual_features(blocks)
        if tokens is not None:
            x.index_copy_(0, visual, tokens)
        cos, sin = self.rotary.at(positions)
        attentions = [attention_to(block.cache, block.end, self._mask) for block in blocks]
        written = sizes = [len(block.ids) for block in blocks]
        for index, layer in enumerate(self.layers):
            q, keys_values = layer.project(x, cos, sin)
            for block, part in zip(blocks, keys_values[0].split_with_sizes(written, 1), strict=True):
                block.cache.write(index, block.start, part)
            if index == len(self.layers) - 1:  # all keys and values are written: go on with the wanted rows
                sizes, deepstack = [block.wanted for block in blocks], []
                if not any(sizes):
                    return [x[:0] for _ in blocks]
                x, q = _tails(x, 0, written, sizes), _tails(q, 2, written, sizes)
            x = layer.finish(x, attend_each(index, q, sizes, attentions))
            if index < len(deepstack):
                x.index_add_(0, visual, deepstack[index])
        return list(self.norm(x).split_with_sizes(sizes))

    def _upload(self, blocks: Sequence[TokenBlock]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids (n,), positions (3, n) and rows of video tokens of the joined blocks, in one transfer."""
        ends = itertools.accumulate(len(block.ids) for block in blocks)
        rows = [block.visual + (end - len(block.ids)) for block, end in zip(blocks, ends, strict=True)]
        n = sum(len(block.ids) for block in blocks)
        places = [block.positions for block in blocks]
        place = places[0] if len(places) == 1 else np.concatenate(places, axis=1)
        numbers = np.concatenate([*(block.ids for block in blocks), place.reshape(-1), *rows])
        joined = uploaded(torch.from_numpy(numbers), self.device)
        ids, positions, visual = joined.split_with_sizes([n, 3 * n, len(joined) - 4 * n])
        return ids, positions.view(3, n), visual


def _tails(x: torch.Tensor, axis: int, sizes: Sequence[int], wanted: Sequence[int]) -> torch.Tensor:
    """The last `wanted` entries of each part of x along an axis, where the parts have these `sizes`."""
    bounds = [n for size, last in zip(sizes, wanted, strict=True) for n in (size - last, last)]
    tails = x.split_with_sizes(bounds, axis)[1::2]
    return tails[0] if len(tails) == 1 else torch.cat(tails, axis)


def _visual_features(blocks: Sequence[TokenBlock]) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
    """The features that replace the video tokens of the blocks, and those that the first layers add."""
    features = [feature for block in blocks for feature in block.features]
    if not features:
        return None, []
    if len(features) == 1:
        return features[0].tokens, list(features[0].deepstack)
    deepstack = [torch.cat(layer) for layer in zip(*(feature.deepstack for feature in features), strict=True)]
    return torch.cat([feature.tokens for feature in features]), deepstack
