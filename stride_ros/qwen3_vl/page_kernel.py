"""A Triton kernel for attention to any number of pages in place.

Nothing is copied, hidden by a mask or read beyond a prompt's length.

The table has the pages' addresses, so captures stay valid whatever the pool does. Parts of a prompt are
attended to in parallel, since few rows against a long prompt would leave most of a GPU idle.

Importing it needs Triton, which comes with PyTorch for CUDA. With TRITON_INTERPRET=1 it runs on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray

from stride_ros.qwen3_vl.paged_cache import Page, PagePool

# By bytes per number: the maximum rows per program, and entries that it processes at once. They need less
# shared memory than the 99 KiB of small GPUs.
_BLOCKS = {2: (64, 64), 4: (32, 32)}
_PROGRAMS = 512  # programs that fill a GPU


class PageKernel:
    """See `PageAttention`."""

    copies = False
    generation = 0  # captures contain no addresses

    def __init__(self, pool: PagePool) -> None:
        self._pool = pool

    def entries(self, pages: Sequence[Page]) -> NDArray[np.int64]:
        """The addresses of these pages."""
        size = self._pool.page_bytes
        return np.array([page.slab.data_ptr() + page.index * size for page in pages], dtype=np.int64)

    def __call__(
        self, layer: int, q: torch.Tensor, table: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `PageAttention`; lengths and table (int64) are contiguous."""
        prompts, kv_heads, n, size = q.shape
        pages, entries = table.shape[1], self._pool.entries
        most, columns = _BLOCKS[q.element_size()]
        rows = max(16, min(most, triton.next_power_of_2(n)))
        tiles = triton.cdiv(n, rows)
        each = max(1, pages * prompts * kv_heads * tiles // _PROGRAMS)  # pages of a part
        parts = triton.cdiv(pages, each)
        out = torch.empty((prompts, parts, kv_heads, n, size), device=q.device, dtype=torch.float32)
        weight = torch.empty((prompts, parts, kv_heads, n), device=q.device, dtype=torch.float32)
        side = kv_heads * entries * size  # keys, then values
        _attend[(prompts * parts, kv_heads, tiles)](
            q.contiguous(),
            out,
            weight,
            table,
            lengths,
            2 * layer * side,
            side,
            pages,
            parts,
            each,
            n,
            1 / math.sqrt(size),
            ENTRIES=entries,
            SIZE=size,
            PADDED=max(16, triton.next_power_of_2(size)),
            ROWS=rows,
            COLUMNS=min(columns, entries),
        )
        return out, weight


# One compiled kernel for prompts and blocks of any length.
@triton.jit(do_not_specialize=["pages", "parts", "each", "n"])  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]  # the compiler takes no other annotations
    q,
    out,
    weight,
    table,
    lengths,
    offset,
    side,
    pages,
    parts,
    each,
    n,
    scale,
    ENTRIES: tl.constexpr,
    SIZE: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Attend to one part of one prompt, for one kv head and some rows."""
    prompt, part = tl.program_id(0) // parts, tl.program_id(0) % parts
    head, heads = tl.program_id(1), tl.num_programs(1)
    rows = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    inner = tl.arange(0, PADDED)
    tile = (rows[:, None] < n) & (inner[None, :] < SIZE)
    queries = tl.load(
        q + ((prompt * heads + head) * n + rows[:, None]) * SIZE + inner[None, :], mask=tile, other=0.0
    )
    length = tl.load(lengths + prompt)
    last = tl.minimum(part * each + each, (length + ENTRIES - 1) // ENTRIES)
    most = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    found = tl.zeros((ROWS, PADDED), tl.float32)
    for page in range(part * each, last):
        address = tl.load(table + prompt * pages + page)
        keys = address.to(tl.pointer_type(q.dtype.element_ty)) + offset + head * ENTRIES * SIZE
        for first in range(0, ENTRIES, COLUMNS):
            columns = first + tl.arange(0, COLUMNS)
            valid = page * ENTRIES + columns < length
            places = columns[:, None] * SIZE + inner[None, :]
            there = valid[:, None] & (inner[None, :] < SIZE)
            k = tl.load(keys + places, mask=there, other=0.0)
            v = tl.load(keys + side + places, mask=there, other=0.0)
            scores = tl.dot(queries, tl.trans(k), input_precision="ieee") * scale
            scores = tl.where(valid[None, :], scores, float("-inf"))
            # Some entry of a page's beginning is valid, so this is finite from then on.
            higher = tl.maximum(most, tl.max(scores, 1))
            shares = tl.exp(scores - higher[:, None])
            before = tl.exp(most - higher)
            total = total * before + tl.sum(shares, 1)
            found = found * before[:, None] + tl.dot(shares.to(v.dtype), v, input_precision="ieee")
            most = higher
    some = total > 0
    found = found / tl.where(some, total, 1.0)[:, None]
    place = ((prompt * parts + part) * heads + head) * n + rows
    tl.store(out + place[:, None] * SIZE + inner[None, :], found, mask=tile)
    sums = tl.where(some, most + tl.log(tl.where(some, total, 1.0)), float("-inf"))
    tl.store(weight + place, sums, mask=rows < n)
