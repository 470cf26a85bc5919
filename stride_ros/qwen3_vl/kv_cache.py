"""Keys and values of one prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch

from stride_ros.qwen3_vl.architecture import TextShape
from stride_ros.qwen3_vl.reservation import PAGE, Reservation

ALIGNED = 16  # entries; fused attention kernels need masks that are multiples of this
_GROWTH = 1.25

KeysAndValues = tuple[torch.Tensor, torch.Tensor]


class KVCache(Protocol):
    """Keys and values of one prompt. It takes memory as it fills, and frees it when released.

    It does not know which of its entries are valid: the writer of a block at `start` keeps track of those
    before it.
    """

    @property
    def memory_bytes(self) -> int:
        """Bytes currently used."""

    @property
    def room(self) -> int:
        """Number of entries that fit before it has to grow."""

    def bytes_for(self, tokens: int, room: int) -> int:
        """Bytes that `tokens` entries take in a cache for `room` entries."""

    def reserve(self, room: int) -> None:
        """Reserve `room` entries without using memory for them; existing entries stay."""

    def hold(self, tokens: int) -> None:
        """Allocate memory for the first `tokens` entries; the cache grows if they do not fit."""

    def release(self) -> None:
        """Free all memory and the entries. The room stays."""

    def write(self, layer: int, start: int, keys_values: torch.Tensor) -> None:
        """Write keys, then values, of all heads (2 * kv heads, n, head size) to held entries at `start`."""


class StretchCache:
    """A contiguous cache: (layers, 2, kv heads, room, head size), on a CPU.

    Addresses for the whole room are reserved; memory is used as it fills.
    """

    def __init__(self, shape: TextShape, dtype: torch.dtype) -> None:
        self._shape, self._dtype = shape, dtype
        self._reservation = Reservation(self._layout(0), dtype)
        self._held = 0  # maximum entries since the last release
        # Views of all layers, of the entries last written and read: the next layers, and often the next pass,
        # use the same.
        self._rows: tuple[tuple[int, int], Sequence[torch.Tensor]] = ((0, 0), ())
        self._sides: tuple[int, Sequence[torch.Tensor]] = (0, ())

    @property
    def memory_bytes(self) -> int:
        return self.bytes_for(self._held, self.room)

    @property
    def room(self) -> int:
        return self._reservation.tensor.shape[3]

    def bytes_for(self, tokens: int, room: int) -> int:
        """See `KVCache`; counts whole pages of each head's entries."""
        pages = -(-tokens * self._shape.head_dim * self._dtype.itemsize // PAGE)
        return math.prod(self._layout(0)[:3]) * pages * PAGE

    def reserve(self, room: int) -> None:
        if room <= self.room:
            return
        old = self._reservation.tensor
        self._reservation = Reservation(self._layout(self._rounded(room)), self._dtype)
        if self._held:
            self._reservation.tensor[:, :, :, : self._held] = old[:, :, :, : self._held]
        self._forget_views()

    def hold(self, tokens: int) -> None:
        if tokens > self.room:
            self.reserve(int(tokens * _GROWTH) if self.room else tokens)
        self._held = max(self._held, tokens)

    def release(self) -> None:
        self._reservation.release()
        self._held = 0
        self._forget_views()

    def write(self, layer: int, start: int, keys_values: torch.Tensor) -> None:
        place = (start, start + keys_values.shape[1])
        if place != self._rows[0]:
            self._rows = (place, self._reservation.tensor.flatten(1, 2)[:, :, place[0] : place[1]].unbind())
        self._rows[1][layer].copy_(keys_values)

    def read(self, layer: int, end: int) -> KeysAndValues:
        """Views of the first `end` keys and values, (1, kv heads, end, head size) each."""
        if end != self._sides[0]:
            self._sides = (end, self._reservation.tensor.flatten(0, 1)[None, :, :, :end].unbind(1))
        return self._sides[1][2 * layer], self._sides[1][2 * layer + 1]

    def _forget_views(self) -> None:
        self._rows, self._sides = ((0, 0), ()), (0, ())

    def _layout(self, room: int) -> tuple[int, int, int, int, int]:
        return (self._shape.layers, 2, self._shape.kv_heads, room, self._shape.head_dim)

    def _rounded(self, room: int) -> int:
        """Round so that each head's entries begin at a page of the system."""
        step = PAGE // math.gcd(PAGE, self._shape.head_dim * self._dtype.itemsize)
        return -(-room // step) * step
