"""Reserve addresses for a tensor, whose memory is allocated where it is first written, and can be freed.

On a CPU this is an anonymous mapping: the system backs its pages when they are written, and MADV_DONTNEED
frees them while the addresses stay.
"""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Sequence

import numpy as np
import torch

PAGE = mmap.PAGESIZE  # bytes allocated and freed at once


class Reservation:
    """A tensor on the CPU that is zero where not written, and takes memory page by page as it is written."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        self._shape, self._dtype = tuple(shape), dtype
        self._bytes = math.prod(self._shape) * dtype.itemsize
        self._mapping = _mapping(self._bytes)
        self.tensor = self._new()

    def release(self) -> None:
        """Free all memory, after which the tensor is zero again."""
        if self._mapping is not None:
            self._mapping.madvise(mmap.MADV_DONTNEED)
        else:
            self.tensor = self._new()

    def _new(self) -> torch.Tensor:
        if self._mapping is not None:
            return torch.frombuffer(self._mapping, dtype=self._dtype).view(self._shape)
        if not self._bytes:
            return torch.empty(self._shape, dtype=self._dtype)
        # NumPy does not write its zeros, so large arrays also take memory only as they are used.
        return torch.from_numpy(np.zeros(self._bytes, np.uint8)).view(self._dtype).view(self._shape)


def _mapping(size: int) -> mmap.mmap | None:
    """An anonymous mapping; None on systems that cannot free its pages."""
    if not size or not hasattr(mmap, "MADV_DONTNEED") or not hasattr(mmap, "MAP_ANONYMOUS"):
        return None
    try:
        mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:  # no addresses left, for example under a limit: NumPy raises the familiar error
        return None
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages
            mapping.madvise(mmap.MADV_NOHUGEPAGE)  # which would take 2 MiB for a few entries of each head
    return mapping
