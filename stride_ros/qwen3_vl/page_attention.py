"""Attention for several prompts at once to their pages, which a table on the device locates.

Nothing here depends on the contents of the table or on lengths, and the host reads neither. So a capture over
a table serves other prompts later.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stride_ros.qwen3_vl.attention import HIDDEN, attend_with_weight
from stride_ros.qwen3_vl.paged_cache import Page, PageAttention, PagePool


class GatheredPages:
    """Attention with PyTorch's operators only: pages are first copied into a contiguous tensor.

    A capture reads the slabs that the pool had at that time.
    """

    copies = True

    def __init__(self, pool: PagePool) -> None:
        self._pool = pool

    @property
    def generation(self) -> int:
        return self._pool.generation

    def entries(self, pages: Sequence[Page]) -> NDArray[np.int64]:
        """The numbers of these pages."""
        return np.array([page.number for page in pages], dtype=np.int64)

    def __call__(
        self, layer: int, q: torch.Tensor, table: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `PageAttention`; one part."""
        prompts, pages = table.shape
        numbers, first = table.reshape(-1), 0
        found: torch.Tensor | None = None
        for slab in self._pool.slabs:  # from each slab its own pages, or anything
            inside = numbers - first
            read = slab[:, layer].index_select(0, inside.clamp(0, len(slab) - 1))
            later = (inside >= 0).view(-1, 1, 1, 1, 1)
            found = read if found is None else torch.where(later, read, found)
            first += len(slab)
        assert found is not None, "there are prompts, so there are pages"
        both = found.view(prompts, pages, *found.shape[1:]).permute(2, 0, 3, 1, 4, 5).flatten(3, 4)
        columns = torch.arange(both.shape[3], device=q.device)
        bias = (columns >= lengths[:, None]).to(q.dtype)[:, None, None] * HIDDEN
        shape = (*q.shape[:3], len(columns))
        out, weight = attend_with_weight(q, both[0], both[1], bias.expand(shape))
        return out[:, None], weight[:, None]


def page_attention(pool: PagePool, plain: bool = False) -> PageAttention:
    """The fastest attention for the pool's device. plain: only PyTorch's operators."""
    if pool.device.type == "cuda" and not plain:
        try:
            from stride_ros.qwen3_vl.page_kernel import PageKernel
        except ImportError:  # a PyTorch without Triton
            return GatheredPages(pool)
        return PageKernel(pool)
    return GatheredPages(pool)
