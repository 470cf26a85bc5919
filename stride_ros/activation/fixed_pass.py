"""A slot pass whose shapes and addresses never change, so that a CUDA graph can be captured from it.

All slots of all queries run in every pass. Ids, positions and where to write come from one device buffer
that is filled before; what the slots attend to is a number of equal parts of each cache, of which a mask
hides what is not valid. So the host decides nothing inside a pass but the number of parts.

The parts are attended to independently and put together by their log-sum-exp: few rows against a long prompt
would otherwise leave most of a GPU idle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from stride_ros.qwen3_vl.decoder import TextDecoder, TokenBlock

_HIDDEN = -1e4  # added to scores: weight 0 in every dtype, and no NaN where a whole part is hidden


class FixedPass:
    """Passes over the slots behind prompts in certain caches, one cache for each query.

    slots: rows of a query, all copies of the window; answers: how many of its last rows are answered. Made
    anew when one of the caches takes other memory.
    """

    def __init__(
        self, decoder: TextDecoder, head: torch.Tensor, blocks: Sequence[TokenBlock], answers: int
    ) -> None:
        self._decoder, self._head, self._answered = decoder, head, answers
        self._slots = len(blocks[0].ids)
        self._caches = [block.cache for block in blocks]
        self._allocations = [cache.allocations for cache in self._caches]
        for block in blocks:  # what was never written may be NaN, which no mask hides
            block.cache.clear(block.start)
        on_cuda = decoder.device.type == "cuda"
        # Of each query: its ids, the entry of its first slot in the cache, the position of its first slot.
        filled = torch.zeros((len(blocks), self._slots + 2), dtype=torch.int64, pin_memory=on_cuda)
        self._filled, self._rows = filled, filled.numpy()
        self._inputs = torch.zeros_like(filled, device=decoder.device)
        self._output = torch.zeros((len(blocks), answers), device=decoder.device)
        self._steps = torch.arange(self._slots, device=decoder.device)

    @property
    def dtype(self) -> torch.dtype:
        """The number type that the pass is computed in."""
        return self._decoder.dtype

    def serves(self, blocks: Sequence[TokenBlock]) -> bool:
        """Whether these blocks are in the caches, and the caches where they were."""
        return [block.cache for block in blocks] == self._caches and self._allocations == [
            cache.allocations for cache in self._caches
        ]

    def fill(self, blocks: Sequence[TokenBlock]) -> None:
        """Say what the next pass runs; one block of all slots for each query."""
        for row, block in zip(self._rows, blocks, strict=True):
            row[:-2], row[-2], row[-1] = block.ids, block.start, block.positions[0, 0]
        self._inputs.copy_(self._filled, non_blocking=True)  # done when `answers` returns

    def answers(self) -> NDArray[np.float32]:
        """P(active) (queries, answers) of the last pass; waits for it."""
        values: NDArray[np.float32] = self._output.cpu().numpy().copy()
        return values

    def erase(self) -> None:
        """Make the answers of the last pass unusable."""
        self._output.fill_(math.nan)

    def run(self, parts: int) -> None:
        """The pass itself, over what was filled in: the prompt and slots lie in the first `parts` parts."""
        decoder, n, queries = self._decoder, self._slots, len(self._caches)
        first, position = self._inputs[:, n], self._inputs[:, n + 1]
        x = F.embedding(self._inputs[:, :n].reshape(-1), decoder.embedding)
        # The axes of a slot's position agree in both position schemes.
        cos, sin = decoder.rotary((position[:, None] + self._steps).view(-1, 1))
        entries = first[:, None] + self._steps
        masks = self._masks(entries, parts)
        for index, layer in enumerate(decoder.layers):
            q, k, v = layer.project(x, cos, sin)
            each = zip(self._caches, entries, torch.split(k, n), torch.split(v, n), strict=True)
            for cache, rows, keys, values in each:
                cache.write_at(index, rows, keys, values)
            wanted = n
            if index == len(decoder.layers) - 1:  # all keys and values are written: on with what is wanted
                wanted = self._answered
                x = x.view(queries, n, -1)[:, n - wanted :].flatten(0, 1)
                q = q.view(queries, n, *q.shape[1:])[:, n - wanted :].flatten(0, 1)
                masks = self._masks(entries[:, n - wanted :], parts)
            attended = [
                attend_in_parts(part, *cache.read_parts(index, parts), mask)
                for part, cache, mask in zip(torch.split(q, wanted), self._caches, masks, strict=True)
            ]
            x = layer.finish(x, torch.cat(attended))
        logits = F.linear(decoder.norm(x), self._head).float()
        self._output.copy_(torch.softmax(logits, dim=-1)[:, 1].view(queries, self._answered))

    def _masks(self, entries: torch.Tensor, parts: int) -> list[torch.Tensor]:
        """For each query, what to add to the scores of the slots at `entries` (queries, n).

        A slot sees the prompt, the slots before it, and itself. The rows are repeated for the query heads
        that share a key head: (heads / kv heads * n, entries of the cache's first `parts` parts).
        """
        shape = self._decoder.shape
        masks = []
        for rows, cache in zip(entries, self._caches, strict=True):
            hidden = torch.arange(parts * cache.part, device=rows.device) > rows[:, None]
            mask = hidden.to(self.dtype) * _HIDDEN
            masks.append(mask.repeat(shape.heads // shape.kv_heads, 1))
        return masks


def parts_needed(blocks: Sequence[TokenBlock]) -> int:
    """How many parts of its cache the prompt and slots of any of these blocks reach into."""
    return max(-(-block.end // block.cache.part) for block in blocks)


def attend_in_parts(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Attention (n, heads * size) of q (n, heads, size) to keys and values (parts, kv heads, part, size).

    The query heads that share a key head are rows of one product, so keys are not repeated. mask (heads / kv
    heads * n, parts * part) is added to the scores.
    """
    n, heads, size = q.shape
    parts, kv_heads, part = keys.shape[:3]
    group = heads // kv_heads
    rows = q.view(n, kv_heads, group, size).permute(1, 2, 0, 3).reshape(kv_heads, group * n, size)
    bias = mask.view(-1, parts, part).transpose(0, 1)
    shape = (parts, kv_heads, group * n)
    out, weight = attend_with_weight(
        rows.expand(*shape, size), keys, values, bias[:, None].expand(*shape, part)
    )
    if parts > 1:
        share = torch.softmax(weight, dim=0)[..., None]
        out = (out * share).sum(dim=0, keepdim=True).to(q.dtype)
    merged: torch.Tensor = out[0].reshape(kv_heads, group, n, size).permute(2, 0, 1, 3)
    return merged.reshape(n, heads * size)


def attend_with_weight(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention (b, h, n, size), and the log-sum-exp (b, h, n), float32, of its scores.

    q (b, h, n, size), k and v (b, h, m, size), bias (b, h, n, m). On CUDA the memory-efficient kernel of
    PyTorch's scaled_dot_product_attention, called by the name under which it returns that sum, too.
    """
    if q.device.type != "cpu":
        kernel = torch.ops.aten._scaled_dot_product_efficient_attention
        out, weight, *_ = kernel(q, k, v, bias, compute_log_sumexp=True)
        return out, weight[..., : q.shape[2]]  # it pads the rows
    scores = (q @ k.transpose(-1, -2)).float() / math.sqrt(q.shape[-1]) + bias.float()
    return torch.softmax(scores, dim=-1).to(v.dtype) @ v, torch.logsumexp(scores, dim=-1)
