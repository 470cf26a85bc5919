"""Keys and values in pages of a pool that all prompts of a model share, as on a GPU.

Pages have one size and never move: pages freed by one cache are used by others, and the device is asked for
more only if none is free. A pass of fixed shape reads them through a table, see `page_attention.py`.
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
_SLAB = 4  # pages that the pool allocates at once; neighbours are read as one


@dataclass(frozen=True, eq=False)
class Page:
    """One page: its `slab` (pages, layers, 2, kv heads, entries, head size), and its index in it.

    number: its number among all pages of the pool.
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
        """The next page in memory."""
        return self.neighbours[self.index + 1] if self.index + 1 < len(self.neighbours) else None


class PageAttention(Protocol):
    """Attention to pages. Rows see every entry of their prompt's pages before its length.

    copies: whether it copies the pages, so that there are faster ways outside recordings.
    """

    copies: bool

    @property
    def generation(self) -> int:
        """Changes when captures may read memory that others use now."""

    def entries(self, pages: Sequence[Page]) -> NDArray[np.int64]:
        """The table entries for these pages."""

    def __call__(
        self, layer: int, q: torch.Tensor, table: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention for q (b, kv heads, n, size) to the pages of table (b, pages).

        Returns attention (b, parts, kv heads, n, size) and the log-sum-exp (b, parts, kv heads, n) of its
        scores; `lengths` (b,) entries count.
        """


class PagePool:
    """Pages on one device.

    It grows by a few if none is free, and keeps freed pages as long as there are caches.

    slabs: its allocations on the device; generation: how often they have changed; attention: to pages by a
    table, once it agreed with the results of PyTorch's operators, run by run.
    """

    def __init__(self, shape: TextShape, device: torch.device, dtype: torch.dtype) -> None:
        self.shape, self.device, self.dtype = shape, device, dtype
        self.entries, self.slab_pages = ENTRIES, _SLAB
        self.slabs: list[torch.Tensor] = []
        self.generation = 0
        self.attention: PageAttention | None = None
        self._free: dict[Page, None] = {}  # last freed pages at the end
        self._caches = 0
        # A cache may be collected in any thread, also while another one takes a page.
        self._lock = threading.RLock()

    @property
    def page_bytes(self) -> int:
        shape = self.shape
        return 2 * shape.layers * shape.kv_heads * self.entries * shape.head_dim * self.dtype.itemsize

    @property
    def free_bytes(self) -> int:
        """Bytes of free pages."""
        return len(self._free) * self.page_bytes

    def new_cache(self) -> PagedCache:
        """Create an empty cache, whose pages are freed with it."""
        cache = PagedCache(self)
        with self._lock:
            self._caches += 1
        weakref.finalize(cache, self._forget, cache.pages).atexit = False
        return cache

    def take(self, after: Page | None) -> Page:
        """Take a page: the one after `after` if free, otherwise from a slab that is entirely free.

        So its neighbours may follow.
        """
        with self._lock:
            page = after.next if after is not None else None
            if page not in self._free:
                page = next((page for page in reversed(self._free) if self._begins_free_slab(page)), None)
            page = page or next(reversed(self._free), None) or self._grow()
            del self._free[page]
            return page

    def give(self, pages: list[Page]) -> None:
        """Free pages and empty the list."""
        with self._lock:
            self._free.update(dict.fromkeys(pages))
            pages.clear()

    def _forget(self, pages: list[Page]) -> None:
        """Free the pages of a cache that is gone."""
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
        # Zeros, since masks do not hide NaN.
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
    """A cache in pages of a pool; created by `PagePool.new_cache`. See `KVCache`.

    pages: its pages, in order.
    """

    def __init__(self, pool: PagePool) -> None:
        self.pool, self.part = pool, pool.entries
        self.pages: list[Page] = []
        self.room = 0

    @property
    def memory_bytes(self) -> int:
        return len(self.pages) * self.pool.page_bytes

    def bytes_for(self, tokens: int, room: int) -> int:
        """See `KVCache`; counts whole slabs, since the pool grows by them."""
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
        """Views of keys and values in pages `first` to before `last`, in order, as few as possible.

        Each is (n, kv heads, entries, head size).
        """
        runs: list[list[Page]] = []
        for page in self.pages[first:last]:
            if runs and runs[-1][-1].next is page:
                runs[-1].append(page)
            else:
                runs.append([page])
        stretches = [run[0].slab[run[0].index : run[0].index + len(run), layer] for run in runs]
        return [(stretch[:, 0], stretch[:, 1]) for stretch in stretches]
