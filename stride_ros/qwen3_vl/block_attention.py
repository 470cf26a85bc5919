"""Attention of blocks of tokens to their caches; what all layers share is computed once per forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from stride_ros.qwen3_vl.attention import Elsewhere, Stretch, attend_to_stretches, hidden_after
from stride_ros.qwen3_vl.device import uploaded
from stride_ros.qwen3_vl.kv_cache import KVCache, StretchCache
from stride_ros.qwen3_vl.paged_cache import PagedCache

_QUERY_ROWS = 512  # rows of attention computed at once; bounds the mask
_GROWTH = 1.25  # of that mask


class BlockAttention(Protocol):
    """Attention for the last tokens of a block that ends at entry `end` of its cache."""

    def __call__(self, layer: int, q: torch.Tensor) -> torch.Tensor:
        """Causal attention (n, heads * head size) of q (1, heads, n, head size), of the last n tokens."""


class CausalMask:
    """Hides later entries from rows, with views of one mask, which is remade when a longer one is needed."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._mask = torch.empty((0, 0), device=device, dtype=dtype)

    def view(self, rows: int, columns: int) -> torch.Tensor:
        """Additive mask (rows, columns) whose last row sees every column; up to 512 rows.

        Which entries are hidden depends only on the distance from the last row and the last column.
        """
        if columns > self._mask.shape[1]:
            width, like = int(columns * _GROWTH), self._mask
            self._mask = like.new_zeros((_QUERY_ROWS, width))
            hidden = torch.ones((_QUERY_ROWS, _QUERY_ROWS), device=like.device, dtype=torch.bool).triu(1)
            newest = self._mask[:, max(0, width - _QUERY_ROWS) :]
            newest.masked_fill_(hidden[:, -width:], float("-inf"))
        return self._mask[_QUERY_ROWS - rows :, self._mask.shape[1] - columns :]


class StretchAttention:
    """Attention to a contiguous cache, as on a CPU."""

    def __init__(self, cache: StretchCache, end: int, mask: CausalMask) -> None:
        self._cache, self._end, self._mask = cache, end, mask
        self._rows, self._view = 0, torch.empty(0)

    def __call__(self, layer: int, q: torch.Tensor) -> torch.Tensor:
        """See `BlockAttention`."""
        keys, values = self._cache.read(layer, self._end)
        rows = q.shape[2]
        if rows == self._end:
            out = F.scaled_dot_product_attention(
                q, keys, values, is_causal=True, enable_gqa=q.shape[1] > keys.shape[1]
            )
        elif rows > _QUERY_ROWS:
            parts, last = [], self._end - rows
            for part in torch.split(q, _QUERY_ROWS, 2):
                last += part.shape[2]
                mask = self._mask.view(part.shape[2], last)
                parts.append(_attend(part, keys[:, :, :last], values[:, :, :last], mask))
            out = torch.cat(parts, 2)
        else:
            if rows != self._rows:
                self._rows, self._view = rows, self._mask.view(rows, self._end)
            out = _attend(q, keys, values, self._view)
        return out.transpose(1, 2).reshape(rows, -1)


class PagedAttention:
    """Attention to a paged cache, a limited number of rows at a time.

    Only pages that some rows do not see completely have a mask.
    """

    def __init__(self, cache: PagedCache, end: int) -> None:
        self._cache, self._end = cache, end
        self._masks: dict[tuple[int, int], torch.Tensor] = {}  # from one entry to another
        self._tables: dict[int, torch.Tensor] = {}  # of the first pages

    def __call__(self, layer: int, q: torch.Tensor) -> torch.Tensor:
        """See `BlockAttention`."""
        outs: list[torch.Tensor] = []
        first = self._end - q.shape[2]
        part = self._cache.part
        for rows in torch.split(q[0].transpose(0, 1), _QUERY_ROWS):
            last = first + len(rows)
            seen = (first + 1) // part  # pages that all of these rows see completely
            whole = self._whole(layer, seen, q.device)
            stretches: list[Stretch] = []
            if whole is None:
                stretches = [(*sides, None) for sides in self._cache.read_pages(layer, 0, seen)]
            entry = seen * part
            for keys, values in self._cache.read_pages(layer, seen, -(-last // part)):
                hidden = self._hidden(first, last, seen * part, q.shape[1] // keys.shape[1], q)
                after = entry + len(keys) * part
                stretches.append((keys, values, hidden[:, entry - seen * part : after - seen * part]))
                entry = after
            outs.append(attend_to_stretches(rows, stretches, whole))
            first = last
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    def _whole(self, layer: int, seen: int, device: torch.device) -> Elsewhere | None:
        """Attention to the first `seen` pages by a table, if the pool has a reliable one."""
        attention = self._cache.pool.attention
        if attention is None or not seen:
            return None
        if seen not in self._tables:
            numbers = np.append(attention.entries(self._cache.pages[:seen]), seen * self._cache.part)
            self._tables[seen] = uploaded(torch.from_numpy(numbers), device)
        table, length = self._tables[seen].split_with_sizes([seen, 1])
        return lambda rows: attention(layer, rows, table[None], length)

    def _hidden(self, first: int, last: int, tail: int, repeat: int, like: torch.Tensor) -> torch.Tensor:
        """The mask that hides later entries from the rows at entries `first` to `last`, from entry `tail`."""
        mask = self._masks.get((first, last))
        if mask is None:
            entries = -(-last // self._cache.part) * self._cache.part - tail
            at = torch.arange(first - tail, last - tail, device=like.device)
            mask = self._masks[first, last] = hidden_after(at, entries, like.dtype, repeat)
        return mask


def attention_to(cache: KVCache, end: int, mask: CausalMask) -> BlockAttention:
    """Attention for the tokens before entry `end` of a cache to all that precede them there."""
    if isinstance(cache, PagedCache):
        return PagedAttention(cache, end)
    assert isinstance(cache, StretchCache)
    return StretchAttention(cache, end, mask)


def attend_each(
    layer: int, q: torch.Tensor, sizes: Sequence[int], attentions: Sequence[BlockAttention]
) -> torch.Tensor:
    """Attention (n, heads * head size) for the joined queries (1, heads, n, head size) of blocks."""
    if len(sizes) == 1:
        return attentions[0](layer, q)
    each = zip(attentions, q.split_with_sizes(list(sizes), 2), strict=True)
    return torch.cat([attention(layer, part) for attention, part in each if part.shape[2]])


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    gqa = q.shape[1] > k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=gqa)
