"""The language model of Qwen3-VL as a short loop over cached prefixes.

One forward serves everything a tick needs: blocks of new tokens, each written in place behind the part of its
own cache it continues, share the matrix products; only attention runs per block. So appending a pair to two
caches, or a pass over the slots of several queries, reads the weights once, whatever the lengths of the
prefixes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from stride_ros.activation.checkpoint import TextShape
from stride_ros.activation.vision import PairFeatures, Weights, rotate

_QUERY_ROWS = 512  # rows of attention computed at once on CPU; bounds the mask
_GROWTH = 1.25


class KVCache:
    """Keys and values of one prompt, preallocated: (layers, 2, kv heads, capacity, head size).

    It does not know which of its entries are valid: who writes a block at `start` keeps track of what lies
    before.
    """

    def __init__(self, shape: TextShape, device: torch.device, dtype: torch.dtype) -> None:
        self._shape = shape
        self._data = torch.empty(
            (shape.layers, 2, shape.kv_heads, 0, shape.head_dim), device=device, dtype=dtype
        )

    @property
    def capacity(self) -> int:
        return self._data.shape[3]

    @property
    def memory_bytes(self) -> int:
        return self._data.numel() * self._data.element_size()

    def bytes_for(self, tokens: int) -> int:
        """Bytes that room for `tokens` entries takes."""
        shape = self._shape
        return 2 * shape.layers * shape.kv_heads * shape.head_dim * tokens * self._data.element_size()

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` entries. Copies what is there when it has to grow."""
        if tokens <= self.capacity:
            return
        old = self._data
        size = (*old.shape[:3], tokens if not self.capacity else int(tokens * _GROWTH), old.shape[4])
        self._data = torch.empty(size, device=old.device, dtype=old.dtype)
        self._data[:, :, :, : old.shape[3]] = old

    def write(self, layer: int, start: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Put keys and values (n, kv heads, head size) at `start`."""
        end = start + keys.shape[0]
        self._data[layer, 0, :, start:end] = keys.transpose(0, 1)
        self._data[layer, 1, :, start:end] = values.transpose(0, 1)

    def read(self, layer: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Views of the first `end` keys and values, (kv heads, end, head size) each."""
        return self._data[layer, 0, :, :end], self._data[layer, 1, :, :end]


@dataclass(frozen=True)
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


class _Layer:
    """Weights of one layer; projections that read the same input are joined."""

    def __init__(self, shape: TextShape, weights: Weights, name: str) -> None:
        hidden, inner = shape.hidden, shape.intermediate
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.input_norm = weights.tensor(f"{name}.input_layernorm.weight", hidden)
        self.qkv = torch.cat(
            [
                weights.tensor(f"{name}.self_attn.q_proj.weight", queries, hidden),
                weights.tensor(f"{name}.self_attn.k_proj.weight", keys, hidden),
                weights.tensor(f"{name}.self_attn.v_proj.weight", keys, hidden),
            ]
        )
        self.q_norm = weights.tensor(f"{name}.self_attn.q_norm.weight", shape.head_dim)
        self.k_norm = weights.tensor(f"{name}.self_attn.k_norm.weight", shape.head_dim)
        self.out = weights.tensor(f"{name}.self_attn.o_proj.weight", hidden, queries)
        self.mlp_norm = weights.tensor(f"{name}.post_attention_layernorm.weight", hidden)
        self.gate_up = torch.cat(
            [
                weights.tensor(f"{name}.mlp.gate_proj.weight", inner, hidden),
                weights.tensor(f"{name}.mlp.up_proj.weight", inner, hidden),
            ]
        )
        self.down = weights.tensor(f"{name}.mlp.down_proj.weight", hidden, inner)


class TextDecoder:
    """Runs blocks of tokens through the language model."""

    def __init__(self, shape: TextShape, weights: Weights) -> None:
        self._shape = shape
        self.embedding = weights.tensor("text.embed_tokens.weight", shape.vocab, shape.hidden)
        self._layers = [_Layer(shape, weights, f"text.layers.{i}") for i in range(shape.layers)]
        self._norm = weights.tensor("text.norm.weight", shape.hidden)
        self.device, self.dtype = self.embedding.device, self.embedding.dtype
        half = shape.head_dim // 2
        exponent = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
        self._frequency = (1.0 / shape.rope_theta**exponent).to(self.device)
        # Interleaved multimodal rotary axes: time for most frequencies, height and width for every third of
        # the first.
        axis = np.zeros(half, dtype=np.int64)
        for offset in (1, 2):
            axis[offset : 3 * shape.mrope_section[offset] : 3] = offset
        self._axis = torch.from_numpy(axis).to(self.device)
        self._mask = torch.empty((0, 0), device=self.device, dtype=self.dtype)
        self._lower_right: Callable[[int, int], torch.Tensor] | None = None
        if self.device.type == "cuda":  # the fused kernels know this mask; importing it takes seconds
            from torch.nn.attention.bias import causal_lower_right

            self._lower_right = causal_lower_right

    def head_rows(self, weights: Weights, ids: NDArray[np.int64]) -> torch.Tensor:
        """Rows of the output head. The file's own head counts, also where the configuration calls it tied."""
        rows = torch.from_numpy(ids).to(self.device)
        if weights.has("lm_head.weight"):
            return weights.tensor("lm_head.weight", self._shape.vocab, self._shape.hidden)[rows].clone()
        return self.embedding[rows]

    def new_cache(self) -> KVCache:
        """An empty cache for this model."""
        return KVCache(self._shape, self.device, self.dtype)

    def forward(self, blocks: Sequence[TokenBlock]) -> list[torch.Tensor]:
        """Write all keys and values to the caches; the last hidden states (wanted, hidden) of each block."""
        for block in blocks:
            block.cache.reserve(block.end)
        ids = torch.from_numpy(np.concatenate([block.ids for block in blocks])).to(self.device)
        x = F.embedding(ids, self.embedding)
        visual, tokens, deepstack = self._visual(blocks)
        if tokens is not None:
            x[visual] = tokens
        cos, sin = self._rotary(np.concatenate([block.positions for block in blocks], axis=1))
        sizes = [len(block.ids) for block in blocks]
        for index, layer in enumerate(self._layers):
            q = self._write(index, layer, x, cos, sin, blocks)
            if index == len(self._layers) - 1:  # all keys and values are written: on with what is wanted
                wanted = [block.wanted for block in blocks]
                x, q = _tails(x, sizes, wanted), _tails(q, sizes, wanted)
                sizes, deepstack = wanted, []
                if not any(sizes):
                    break
            x = x + F.linear(self._attend(index, q, sizes, blocks), layer.out)
            gate, up = F.linear(self._rms(x, layer.mlp_norm), layer.gate_up).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, layer.down)
            if index < len(deepstack):
                x[visual] += deepstack[index]
        return list(torch.split(self._rms(x, self._norm), sizes))

    def _write(
        self,
        index: int,
        layer: _Layer,
        x: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        blocks: Sequence[TokenBlock],
    ) -> torch.Tensor:
        """Put a layer's keys and values into the caches; its queries (n, heads, head size)."""
        shape = self._shape
        sizes = [len(block.ids) for block in blocks]
        splits = [heads * shape.head_dim for heads in (shape.heads, shape.kv_heads, shape.kv_heads)]
        joined = torch.split(F.linear(self._rms(x, layer.input_norm), layer.qkv), splits, dim=-1)
        q, k, v = (part.view(len(x), -1, shape.head_dim) for part in joined)
        k = rotate(self._rms(k, layer.k_norm), cos, sin)
        for block, keys, values in zip(blocks, torch.split(k, sizes), torch.split(v, sizes), strict=True):
            block.cache.write(index, block.start, keys, values)
        return rotate(self._rms(q, layer.q_norm), cos, sin)

    def _attend(
        self, index: int, q: torch.Tensor, sizes: Sequence[int], blocks: Sequence[TokenBlock]
    ) -> torch.Tensor:
        """Attention of each block's last `sizes` queries: (n, heads * head size)."""
        return torch.cat(
            [
                self._attend_block(part, *block.cache.read(index, block.end))
                for block, part in zip(blocks, torch.split(q, list(sizes)), strict=True)
                if len(part)
            ]
        )

    def _visual(
        self, blocks: Sequence[TokenBlock]
    ) -> tuple[torch.Tensor, torch.Tensor | None, list[torch.Tensor]]:
        """Rows of video tokens in the joined blocks, what replaces them, what each first layer adds."""
        features = [feature for block in blocks for feature in block.features]
        if not features:
            return torch.empty(0, dtype=torch.int64), None, []
        offsets = np.cumsum([0] + [len(block.ids) for block in blocks])
        rows = np.concatenate([block.visual + offset for block, offset in zip(blocks, offsets, strict=False)])
        depth = len(features[0].deepstack)
        deepstack = [torch.cat([feature.deepstack[i] for feature in features]) for i in range(depth)]
        tokens = torch.cat([feature.tokens for feature in features])
        return torch.from_numpy(rows).to(self.device), tokens, deepstack

    def _rms(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, weight.shape, weight, self._shape.norm_eps)

    def _rotary(self, positions: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotary tables (n, 1, head size) for positions (3, n)."""
        axes = torch.from_numpy(positions).to(self.device)
        angles = axes[self._axis].T.float() * self._frequency
        angles = torch.cat((angles, angles), dim=-1)[:, None]
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)

    def _attend_block(self, q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Causal attention of q (n, heads, size), the last n of the keys' (kv heads, m, size) positions."""
        n, heads, size = q.shape
        start = keys.shape[1] - n
        groups = (keys.shape[0], heads // keys.shape[0])
        grouped = q.transpose(0, 1).view(*groups, n, size)
        k, v = (side[:, None].expand(*groups, -1, -1) for side in (keys, values))
        if start == 0:
            out = F.scaled_dot_product_attention(grouped, k, v, is_causal=True)
        elif self._lower_right is not None:
            out = F.scaled_dot_product_attention(grouped, k, v, attn_mask=self._lower_right(n, start + n))
        else:
            out = self._attend_masked(grouped, k, v)
        return out.flatten(0, 1).transpose(0, 1).reshape(n, heads * size)

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
