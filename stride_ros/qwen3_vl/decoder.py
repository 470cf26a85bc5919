"""The language model of Qwen3-VL as a short loop over cached prefixes.

One forward serves everything a tick needs: blocks of new tokens, each written in place behind the part of its
own cache it continues, share the matrix products; only attention runs per block. So appending a pair to two
caches, or a pass over the slots of several queries, reads the weights once, whatever the lengths of the
prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from stride_ros.qwen3_vl.architecture import TextShape
from stride_ros.qwen3_vl.attention import attend_to_stretches, hidden_after
from stride_ros.qwen3_vl.kv_cache import KVCache, StretchCache
from stride_ros.qwen3_vl.layer import Layer
from stride_ros.qwen3_vl.vision import PairFeatures, Weights

_QUERY_ROWS = 512  # rows of attention computed at once on CPU; bounds the mask
_GROWTH = 1.25  # of that mask


@dataclass(frozen=True, eq=False)
class TokenBlock:
    """Tokens to run through the model behind the first `start` entries of `cache`.

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


# What hides later tokens from the rows of a block from one entry of its cache on.
Masks = dict[tuple[TokenBlock, int], torch.Tensor]


class TextDecoder:
    """Runs blocks of tokens through the language model."""

    def __init__(self, shape: TextShape, weights: Weights) -> None:
        self.shape = shape
        self.embedding = weights.tensor("text.embed_tokens.weight", shape.vocab, shape.hidden)
        self.layers = [Layer(shape, weights, f"text.layers.{i}") for i in range(shape.layers)]
        self._norm = weights.tensor("text.norm.weight", shape.hidden)
        self.device, self.dtype = self.embedding.device, self.embedding.dtype
        exponent = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
        self._frequency = (1.0 / shape.rope_theta**exponent).to(self.device)
        # Interleaved multimodal rotary axes: time for most frequencies, height and width for every third of
        # the first.
        axis = np.zeros(shape.head_dim // 2, dtype=np.int64)
        for offset in (1, 2):
            axis[offset : 3 * shape.mrope_section[offset] : 3] = offset
        self._axis = torch.from_numpy(axis).to(self.device)
        self._mask = torch.empty((0, 0), device=self.device, dtype=self.dtype)

    def head_rows(self, weights: Weights, ids: NDArray[np.int64]) -> torch.Tensor:
        """Rows of the output head. The file's own head counts, also where the configuration calls it tied."""
        rows = torch.from_numpy(ids).to(self.device)
        if weights.has("lm_head.weight"):
            return weights.tensor("lm_head.weight", self.shape.vocab, self.shape.hidden)[rows].clone()
        return self.embedding[rows]

    def forward(self, blocks: Sequence[TokenBlock]) -> list[torch.Tensor]:
        """Write all keys and values to the caches; the last hidden states (wanted, hidden) of each block."""
        masks: Masks = {}
        for block in blocks:
            block.cache.hold(block.end)
        ids, positions, visual = self._upload(blocks)
        x = F.embedding(ids, self.embedding)
        tokens, deepstack = _visual_features(blocks)
        if tokens is not None:
            x[visual] = tokens
        cos, sin = self.rotary(positions[self._axis].T)
        sizes = [len(block.ids) for block in blocks]
        for index, layer in enumerate(self.layers):
            q, k, v = layer.project(x, cos, sin)
            written = [len(block.ids) for block in blocks]
            each = zip(blocks, torch.split(k, written), torch.split(v, written), strict=True)
            for block, keys, values in each:
                block.cache.write(index, block.start, keys, values)
            if index == len(self.layers) - 1:  # all keys and values are written: on with what is wanted
                wanted = [block.wanted for block in blocks]
                x, q = _tails(x, sizes, wanted), _tails(q, sizes, wanted)
                sizes, deepstack = wanted, []
                if not any(sizes):
                    break
            x = layer.finish(x, self._attend(index, q, sizes, blocks, masks))
            if index < len(deepstack):
                x[visual] += deepstack[index]
        return list(torch.split(self.norm(x), sizes))

    def norm(self, x: torch.Tensor) -> torch.Tensor:
        """The norm behind the last layer."""
        return F.rms_norm(x, self._norm.shape, self._norm, self.shape.norm_eps)

    def rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotary tables (n, 1, head size) for positions (n, head size / 2) or (n, 1) if all axes agree."""
        angles = positions.float() * self._frequency
        angles = torch.cat((angles, angles), dim=-1)[:, None]
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)

    def _upload(self, blocks: Sequence[TokenBlock]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids (n,), positions (3, n) and rows of video tokens of the joined blocks, in one transfer."""
        offsets = np.cumsum([0] + [len(block.ids) for block in blocks])
        rows = [block.visual + offset for block, offset in zip(blocks, offsets, strict=False)]
        n = int(offsets[-1])
        positions = np.concatenate([block.positions for block in blocks], axis=1)
        joined = torch.from_numpy(
            np.concatenate([*(block.ids for block in blocks), positions.reshape(-1), *rows])
        )
        if self.device.type == "cuda":  # from pinned memory, so that the host need not wait
            joined = joined.pin_memory().to(self.device, non_blocking=True)
        return joined[:n], joined[n : 4 * n].view(3, n), joined[4 * n :]

    def _attend(
        self, index: int, q: torch.Tensor, sizes: Sequence[int], blocks: Sequence[TokenBlock], masks: Masks
    ) -> torch.Tensor:
        """Attention of each block's last `sizes` queries: (n, heads * head size)."""
        return torch.cat(
            [
                self._attend_block(part, *block.cache.read(index, block.end))
                if isinstance(block.cache, StretchCache)
                else self._attend_in_parts(index, part, block, masks)
                for block, part in zip(blocks, torch.split(q, list(sizes)), strict=True)
                if len(part)
            ]
        )

    def _attend_block(self, q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Causal attention of q (n, heads, size), the last n of the keys' (kv heads, m, size) positions."""
        n, heads, size = q.shape
        start = keys.shape[1] - n
        groups = (keys.shape[0], heads // keys.shape[0])
        grouped = q.transpose(0, 1).view(*groups, n, size)
        k, v = (side[:, None].expand(*groups, -1, -1) for side in (keys, values))
        if start == 0:
            out = F.scaled_dot_product_attention(grouped, k, v, is_causal=True)
        else:
            out = self._attend_masked(grouped, k, v)
        return out.flatten(0, 1).transpose(0, 1).reshape(n, heads * size)

    def _attend_in_parts(self, layer: int, q: torch.Tensor, block: TokenBlock, masks: Masks) -> torch.Tensor:
        """The same to a cache in pages, a bounded number of rows at a time; masks: of this forward."""
        outs: list[torch.Tensor] = []
        group = self.shape.heads // self.shape.kv_heads
        for rows in torch.split(q, _QUERY_ROWS):
            first = block.end - len(q) + _QUERY_ROWS * len(outs)
            part, last = block.cache.part, first + len(rows)
            mask = masks.get((block, first))
            if mask is None:
                entries = -(-last // part) * part
                at = torch.arange(first, last, device=q.device)
                mask = masks[block, first] = hidden_after(at, entries, self.dtype, group)
            stretches, entry = [], 0
            for keys, values in block.cache.read_parts(layer, -(-last // part)):
                stretches.append((keys, values, mask[:, entry : entry + len(keys) * part]))
                entry += len(keys) * part
            outs.append(attend_to_stretches(rows, stretches))
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    def _attend_masked(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The same on a CPU, a bounded number of rows at a time: (kv heads, group, n, size)."""
        n, end = q.shape[2], k.shape[2]
        parts = []
        for first in range(0, n, _QUERY_ROWS):
            last = min(first + _QUERY_ROWS, n)
            seen = end - n + last
            mask = self._causal_mask(last - first, seen)
            rows = q[:, :, first:last]
            parts.append(F.scaled_dot_product_attention(rows, k[:, :, :seen], v[:, :, :seen], attn_mask=mask))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def _causal_mask(self, rows: int, columns: int) -> torch.Tensor:
        """Additive mask (rows, columns) whose last row sees every column: a view, never rebuilt.

        Which entries are hidden depends only on the distance from the last row and the last column.
        """
        if columns > self._mask.shape[1]:
            width = int(columns * _GROWTH)
            mask = torch.zeros((_QUERY_ROWS, width), device=self.device, dtype=self.dtype)
            hidden = torch.ones((_QUERY_ROWS, _QUERY_ROWS), device=self.device, dtype=torch.bool).triu(1)
            mask[:, max(0, width - _QUERY_ROWS) :].masked_fill_(hidden[:, -width:], float("-inf"))
            self._mask = mask
        return self._mask[_QUERY_ROWS - rows :, self._mask.shape[1] - columns :]


def _tails(x: torch.Tensor, sizes: Sequence[int], wanted: Sequence[int]) -> torch.Tensor:
    """The last `wanted` rows of each of the parts of x that are `sizes` long."""
    parts = torch.split(x, list(sizes))
    return torch.cat([part[len(part) - n :] for part, n in zip(parts, wanted, strict=True)])


def _visual_features(blocks: Sequence[TokenBlock]) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
    """What replaces the video tokens of the joined blocks, and what each of the first layers adds to them."""
    features = [feature for block in blocks for feature in block.features]
    if not features:
        return None, []
    depth = len(features[0].deepstack)
    deepstack = [torch.cat([feature.deepstack[i] for feature in features]) for i in range(depth)]
    return torch.cat([feature.tokens for feature in features]), deepstack
