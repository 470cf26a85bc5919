"""Rotary position embedding: the halves of a head are real and imaginary parts of numbers to rotate."""

from __future__ import annotations

import numpy as np
import torch

from stride_ros.qwen3_vl.architecture import TextShape


class Rotary:
    """The rotations of the language model's heads at multimodal positions."""

    def __init__(self, shape: TextShape, device: torch.device, dtype: torch.dtype) -> None:
        exponent = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
        frequency = 1.0 / shape.rope_theta**exponent
        # The first half of a head rotates against the second: a sine with either sign.
        self._frequency = torch.cat((-frequency, frequency)).to(device)
        # Interleaved axes: time for most frequencies, height and width for every third of the first.
        axis = np.zeros(shape.head_dim // 2, dtype=np.int64)
        for offset in (1, 2):
            axis[offset : 3 * shape.mrope_section[offset] : 3] = offset
        self._axis = torch.from_numpy(np.tile(axis, 2)).to(device)
        self._dtype = dtype

    def at(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The arguments of `rotate`, (n, head size) each, for positions (3, n)."""
        return self._tables(positions.index_select(0, self._axis).t())

    def at_same(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The arguments of `rotate` for positions (n,) whose axes all agree."""
        return self._tables(positions[:, None])

    def _tables(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angles = positions * self._frequency
        return angles.cos().to(self._dtype), angles.sin().to(self._dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, out: torch.Tensor) -> None:
    """Write the rotated x (..., d) to `out`, which may be x; the first half of `sin` is negative."""
    torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin, out=out)
