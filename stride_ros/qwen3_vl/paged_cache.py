"""Keys and values in pages of a pool that the caches of one prompt share, as on a GPU.

What one cache gives back the other takes, and the device is asked for more only where nothing is free. A page
never moves, and a cache that fills again takes the pages that it had before: work that was captured over them
stays valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from stride_ros.qwen3_vl.architecture import TextShape
from stride_ros.qwen3_vl.kv_cache import ALIGNED, PARTS, KeysAndValues

_SLAB = 4  # pages that the pool takes from the device at once; neighbours are read as one


@dataclass(frozen=True, eq=False)
class Page:
    """One page: `slab` (pages, layers, 2, kv heads, entries, head size), and which of its pages it is."""

    slab: torch.Tensor
    index: int
    neighbours: list[Page]

    @property
    def data(self) -> torch.Tensor:
        """(layers, 2, kv heads, entries, head size)."""
        return self.slab[self.index]

    @property
    def next(self) -> Page | None:
        """The page behind it in memory."""
        return self.neighbours[self.index + 1] if self.index + 1 < len(self.neighbours) else None


class PagePool:
    """Pages on one device. It grows by a few where none is free, and keeps those that are given back."""

    def __init__(self, shape: TextShape, device: torch.device, dtype: torch.dtype) -> None:
        self.shape, self.device, self.dtype = shape, device, dtype
        self._free: dict[Page, None] = {}  # those given back last at the end

    @property
    def free_bytes(self) -> int:
        """Bytes of pages that no cache has."""
        return sum(page.data.nbytes for page in self._free)

    def take(self, entries: int, preferred: Iterable[Page | None]) -> Page:
        """A page of so many entries: one of the preferred ones if it is free, else one of a slab that is
        free as a whole, so that its neighbours may follow.
        """
        free = [page for page in self._free if page.slab.shape[4] == entries]
        page = next((page for page in preferred if page in self._free), None)
        page = page or next((page for page in reversed(free) if self._begins_free_slab(page)), None)
        page = page or next(reversed(free), None) or self._grow(entries)
        del self._free[page]
        return page

    def give(self, pages: list[Page]) -> None:
        """Take pages back and empty the list."""
        self._free.update(dict.fromkeys(pages))
        pages.clear()

    def _grow(self, entries: int) -> Page:
        shape = self.shape
        sizes = (_SLAB, shape.layers, 2, shape.kv_heads, entries, shape.head_dim)
        # Zeros, since no mask hides what may be NaN.
        slab = torch.zeros(sizes, device=self.device, dtype=self.dtype)
        pages: list[Page] = []
        pages += [Page(slab, index, pages) for index in range(_SLAB)]
        self._free.update(dict.fromkeys(pages))
        return pages[0]

    def _begins_free_slab(self, page: Page) -> bool:
        return page.index == 0 and all(neighbour in self._free for neighbour in page.neighbours)


class PagedCache:
    """A cache in pages of a pool, one a part. See `KVCache`."""

    def __init__(self, pool: PagePool) -> None:
        self._pool = pool
        self._pages: list[Page] = []
        self._before: list[Page] = []  # the pages that it had, by part
        self.room = self.part = 0

    @property
    def memory_bytes(self) -> int:
        return sum(page.data.nbytes for page in self._pages)

    def bytes_for(self, tokens: int, room: int) -> int:
        """Whole slabs, since the pool grows by them."""
        shape, slab = self._pool.shape, _SLAB * _part(room)
        entry = 2 * shape.layers * shape.kv_heads * shape.head_dim * self._pool.dtype.itemsize
        return -(-tokens // slab) * slab * entry

    def reserve(self, room: int) -> None:
        if not self.part:
            self.part = _part(room)
        self.room = max(self.room, -(-room // self.part) * self.part)

    def hold(self, tokens: int) -> None:
        self.reserve(tokens)
        while len(self._pages) * self.part < tokens:
            index = len(self._pages)
            before = self._before[index] if index < len(self._before) else None
            page = self._pool.take(self.part, [before, self._pages[-1].next if self._pages else None])
            self._pages.append(page)
            self._before[index : index + 1] = [page]

    def release(self) -> None:
        self._pool.give(self._pages)

    def write(self, layer: int, start: int, keys_values: torch.Tensor) -> None:
        joined, written = keys_values.view(2, -1, *keys_values.shape[1:]), 0  # (2, kv heads, n, head size)
        while written < joined.shape[2]:
            index, first = divmod(start + written, self.part)
            n = min(self.part - first, joined.shape[2] - written)
            data = self._pages[index].data[layer]
            data[:, :, first : first + n] = joined[:, :, written : written + n]
            written += n

    def read_parts(self, layer: int, first: int, last: int) -> Sequence[KeysAndValues]:
        runs: list[list[Page]] = []
        for page in self._pages[first:last]:
            if runs and runs[-1][-1].next is page:
                runs[-1].append(page)
            else:
                runs.append([page])
        stretches = [run[0].slab[run[0].index : run[0].index + len(run), layer] for run in runs]
        return [(stretch[:, 0], stretch[:, 1]) for stretch in stretches]

    def places(self, parts: int) -> tuple[object, ...]:
        return tuple(self._pages[:parts])


def _part(room: int) -> int:
    step = PARTS * ALIGNED
    return -(-room // step) * ALIGNED
