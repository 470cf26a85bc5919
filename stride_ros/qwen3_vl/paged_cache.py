"""Keys and values in pages of a pool that all prompts of a model share, as on a GPU.

Pages are of one size, and none ever moves: what one cache gives back any other takes, and the device is asked
for more only where nothing is free. A pass of fixed shape reads them by a table, see `page_attention.py`.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from stride_ros.qwen3_vl.architecture import TextShape

ENTRIES = 256  # of a page
_SLAB = 4  # pages that the pool takes from the device at once; neighbours are read as one


@dataclass(frozen=True, eq=False)
class Page:
    """One page: `slab` (pages, layers, 2, kv heads, entries, head size), and which of its pages it is.

    number: of all pages of the pool.
    """

    slab: torch.Tensor
    index: int
    number: int
    neighbours: list[Page]

    @property
    def data(self) -> torch.Tensor:
        """(layers, 2, kv heads, entries, head size)."""
        return self.slab[self.index]

    @property
    def next(self) -> Page | None:
        """The page behind it in memory."""
        return self.neighbours[self.index + 1] if self.index + 1 < len(self.neighbours) else None


class PageAttention(Protocol):
    """Attention to pages. Rows see every entry of their prompt's pages before its length.

    copies: whether it copies the pages, so that outside of recordings there are quicker ways.
    """

    copies: bool

    @property
    def generation(self) -> int:
        """Changes when what was captured reads memory that may be of others now."""

    def entries(self, pages: Sequence[Page]) -> NDArray[np.int64]:
        """What the table says for these pages."""

    def __call__(
        self, layer: int, q: torch.Tensor, table: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention (b, parts, kv heads, n, size), and the log-sum-exp (b, parts, kv heads, n) of its scores,
        of q (b, kv heads, n, size), to the pages of table (b, pages), of which `lengths` (b,) entries count.
        """


class PagePool:
    """Pages on one device. It grows by a few where none is free, and keeps those that are given back for as
    long as there are caches.

    slabs: what it has taken from the device; generation: how often that has changed; attention: to pages by a
    table, once it was found to agree with what PyTorch's operators give, stretch by stretch.
    """

    def __init__(self, shape: TextShape, device: torch.device, dtype: torch.dtype) -> None:
        self.shape, self.device, self.dtype = shape, device, dtype
        self.entries, self.slab_pages = ENTRIES, _SLAB
        self.slabs: list[torch.Tensor] = []
        self.generation = 0
        self.attention: PageAttention | None = None
        self._free: dict[Page, None] = {}  # those given back last at the end
        self._caches = 0
        # A cache may be collected in any thread, also while another one takes a page.
        self._lock = threading.RLock()

    @property
    def page_bytes(self) -> int:
        shape = self.shape
        return 2 * shape.layers * shape.kv_heads * self.entries * shape.head_dim * self.dtype.itemsize

    @property
    def free_bytes(self) -> int:
        """Bytes of pages that no cache has."""
        return len(self._free) * self.page_bytes

    def new_cache(self) -> PagedCache:
        """An empty cache, whose pages come back when it is gone."""
        cache = PagedCache(self)
        with self._lock:
            self._caches += 1
        weakref.finalize(cache, self._forget, cache.pages).atexit = False
        return cache

    def take(self, after: Page | None) -> Page:
        """A page: the one behind `after` if it is free, else one of a slab that is free as a whole, so that
        its neighbours may follow.
        """
        with self._lock:
            page = after.next if after is not None else None
            if page not in self._free:
                page = next((page for page in reversed(self._free) if self._begins_free_slab(page)), None)
            page = page or next(reversed(self._free), None) or self._grow()
            del self._free[page]
            return page

    def give(self, pages: list[Page]) -> None:
        """Take pages back and empty the list."""
        with self._lock:
            self._free.update(dict.fromkeys(pages))
            pages.clear()

    def _forget(self, pages: list[Page]) -> None:
        """A cache is gone, which had these pages."""
        with self._lock:
            self.give(pages)
            self._caches -= 1
            if not self._caches:
                self._free.clear()
                self.slabs.clear()
                self.generation += 1

    def _grow(self) -> Page:
        shape = self.shape
        sizes = (self.slab_pages, shape.layers, 2, shape.kv_heads, self.entries, shape.head_dim)
        # Zeros, since no mask hides what may be NaN.
        slab = torch.zeros(sizes, device=self.device, dtype=self.dtype)
        first = sum(map(len, self.slabs))
        pages: list[Page] = []
        pages += [Page(slab, index, first + index, pages) for index in range(self.slab_pages)]
        self.slabs.append(slab)
        self.generation += 1
        self._free.update(dict.fromkeys(pages))
        return pages[0]

    def _begins_free_slab(self, page: Page) -> bool:
        return page.index == 0 and all(neighbour in self._free for neighbour in page.neighbours)


class PagedCache:
    """A cache in pages of a pool; made by `PagePool.new_cache`. See `KVCache`.

    pages: those that it holds, in order.
    """

    def __init__(self, pool: PagePool) -> None:
        self.pool, self.part = pool, pool.entries
        self.pages: list[Page] = []
        self.room = 0

    @property
    def memory_bytes(self) -> int:
        return len(self.pages) * self.pool.page_bytes

    def bytes_for(self, tokens: int, room: int) -> int:
        """Whole slabs, since the pool grows by them."""
        slab = self.pool.slab_pages * self.part
        return -(-tokens // slab) * self.pool.slab_pages * self.pool.page_bytes

    def reserve(self, room: int) -> None:
        self.room = max(self.room, -(-room // self.part) * self.part)

    def hold(self, tokens: int) -> None:
        self.reserve(tokens)
        while len(self.pages) * self.part < tokens:
            self.pages.append(self.pool.take(self.pages[-1] if self.pages else None))

    def release(self) -> None:
        self.pool.give(self.pages)

    def write(self, layer: int, start: int, keys_values: torch.Tensor) -> None:
        joined, written = keys_values.view(2, -1, *keys_values.shape[1:]), 0  # (2, kv heads, n, head size)
        while written < joined.shape[2]:
            index, first = divmod(start + written, self.part)
            n = min(self.part - first, joined.shape[2] - written)
            data = self.pages[index].data[layer]
            data[:, :, first : first + n] = joined[:, :, written : written + n]
            written += n

    def read_pages(self, layer: int, first: int, last: int) -> Sequence[tuple[torch.Tensor, torch.Tensor]]:
        """Views of keys and values in pages `first` to before `last`: (n, kv heads, entries, head size) each,
        in order, as few as possible.
        """
        runs: list[list[Page]] = []
        for page in self.pages[first:last]:
            if runs and runs[-1][-1].next is page:
                runs[-1].append(page)
            else:
                runs.append([page])
        stretches = [run[0].slab[run[0].index : run[0].index + len(run), layer] for run in runs]
        return [(stretch[:, 0], stretch[:, 1]) for stretch in stretches]
