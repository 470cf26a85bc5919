"""Attention to keys in several places: each is attended to separately, and the results are combined.

The weight of each follows from the log-sum-exp of its scores, so nothing has to be gathered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

HIDDEN = -1e4  # added to scores: weight 0 in every dtype, and no NaN if a whole part is hidden

# Keys and values (parts, kv heads, part, size), and the bias of the scores, (heads / kv heads * n, parts *
# part): the rows are repeated for the query heads that share a key head. None if all rows see everything.
Stretch = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]


# For rows (1, kv heads, n, size): attention (1, parts, kv heads, n, size) to keys elsewhere, and the
# log-sum-exp of its scores.
Elsewhere = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def attend_to_stretches(
    q: torch.Tensor, stretches: Sequence[Stretch], more: Elsewhere | None = None
) -> torch.Tensor:
    """Attention (n, heads * size) of q (n, heads, size) to all parts of all stretches, and to what is `more`.

    The query heads that share a key head are rows of one product, so keys are not repeated.
    """
    n, heads, size = q.shape
    kv_heads = stretches[0][0].shape[1]
    group = heads // kv_heads
    rows = q.view(n, kv_heads, group, size).permute(1, 2, 0, 3).reshape(kv_heads, group * n, size)
    outs, weights = [], []
    if more is not None:
        out, weight = more(rows[None])
        outs.append(out[0])
        weights.append(weight[0])
    for keys, values, mask in stretches:
        parts, _, part, _ = keys.shape
        shape, bias = (parts, kv_heads, group * n), None
        if mask is not None:
            bias = mask.view(-1, parts, part).transpose(0, 1)[:, None].expand(*shape, part)
        out, weight = attend_with_weight(rows.expand(*shape, size), keys, values, bias)
        outs.append(out)
        weights.append(weight)
    out, weight = (found[0] if len(found) == 1 else torch.cat(found) for found in (outs, weights))
    if len(out) > 1:
        share = torch.softmax(weight, dim=0)[..., None]
        out = (out * share).sum(dim=0, keepdim=True).to(q.dtype)
    merged: torch.Tensor = out[0].reshape(kv_heads, group, n, size).permute(2, 0, 1, 3)
    return merged.reshape(n, heads * size)


def attend_with_weight(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention (b, h, n, size), and the log-sum-exp (b, h, n), float32, of its scores.

    q (b, h, n, size), k and v (b, h, m, size), bias (b, h, n, m) or None. On CUDA, this uses the
    memory-efficient kernel of PyTorch's scaled_dot_product_attention, under the name that also returns that
    sum.
    """
    if q.device.type != "cpu":
        kernel = torch.ops.aten._scaled_dot_product_efficient_attention
        out, weight, *_ = kernel(q, k, v, bias, compute_log_sumexp=True)
        return out, weight[..., : q.shape[2]]  # the kernel pads the rows
    scores = (q @ k.transpose(-1, -2)).float() / math.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias.float()
    return torch.softmax(scores, dim=-1).to(v.dtype) @ v, torch.logsumexp(scores, dim=-1)


def hidden_after(rows: torch.Tensor, entries: int, dtype: torch.dtype, repeat: int) -> torch.Tensor:
    """The bias of scores (repeat * n, entries) so that rows at entries `rows` (n,) see no later entries."""
    hidden = torch.arange(entries, device=rows.device) > rows[:, None]
    return (hidden.to(dtype) * HIDDEN).repeat(repeat, 1)
