"""Preallocated keys and values of one prompt, read as one stretch or in equal parts."""

from __future__ import annotations

import torch

from stride_ros.qwen3_vl.architecture import TextShape

PARTS = 8  # equal parts of the capacity: what a pass of fixed shape attends to is a number of them
_ALIGNED = 16  # entries; a part is a multiple of them, as fused attention kernels want masks laid out
_GROWTH = 1.25


class KVCache:
    """Keys and values of one prompt, preallocated: (layers, 2, kv heads, capacity, head size).

    It does not know which of its entries are valid: who writes a block at `start` keeps track of what lies
    before. allocations: how often memory was taken; what has been read before is elsewhere afterwards.
    """

    def __init__(self, shape: TextShape, device: torch.device, dtype: torch.dtype) -> None:
        self._shape = shape
        self._data = torch.empty(
            (shape.layers, 2, shape.kv_heads, 0, shape.head_dim), device=device, dtype=dtype
        )
        self.allocations = 0

    @property
    def capacity(self) -> int:
        """Entries there is room for: a multiple of PARTS."""
        return self._data.shape[3]

    @property
    def part(self) -> int:
        """Entries of one of PARTS equal parts."""
        return self.capacity // PARTS

    @property
    def memory_bytes(self) -> int:
        return self._data.numel() * self._data.element_size()

    def bytes_for(self, tokens: int) -> int:
        """Bytes that room for `tokens` entries takes."""
        shape = self._shape
        entry = 2 * shape.layers * shape.kv_heads * shape.head_dim * self._data.element_size()
        return _rounded(tokens) * entry

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` entries. Copies what is there when it has to grow."""
        if tokens <= self.capacity:
            return
        old = self._data
        room = _rounded(tokens if not self.capacity else int(tokens * _GROWTH))
        self._data = torch.empty((*old.shape[:3], room, old.shape[4]), device=old.device, dtype=old.dtype)
        self._data[:, :, :, : old.shape[3]] = old
        self.allocations += 1

    def clear(self, start: int) -> None:
        """Set what lies from entry `start` on to zero."""
        self._data[:, :, :, start:] = 0

    def write(self, layer: int, start: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Put keys and values (n, kv heads, head size) at `start`."""
        end = start + keys.shape[0]
        self._data[layer, 0, :, start:end] = keys.transpose(0, 1)
        self._data[layer, 1, :, start:end] = values.transpose(0, 1)

    def read(self, layer: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Views of the first `end` keys and values, (kv heads, end, head size) each."""
        return self._data[layer, 0, :, :end], self._data[layer, 1, :, :end]

    def write_at(self, layer: int, entries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Put keys and values (n, kv heads, head size) at `entries` (n,), a tensor on the cache's device."""
        self._data[layer, 0].index_copy_(1, entries, keys.transpose(0, 1))
        self._data[layer, 1].index_copy_(1, entries, values.transpose(0, 1))

    def read_parts(self, layer: int, parts: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Views of keys and values in the first `parts` parts, (parts, kv heads, part, head size) each."""
        _, sides, heads, _, size = self._data.shape
        stretch = self._data[layer, :, :, : parts * self.part]
        split = stretch.view(sides, heads, parts, self.part, size).transpose(1, 2)
        return split[0], split[1]


def _rounded(tokens: int) -> int:
    step = PARTS * _ALIGNED
    return -(-tokens // step) * step
