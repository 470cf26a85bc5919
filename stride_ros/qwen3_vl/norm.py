"""The norm of the language model."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


class RMSNorm:
    """Root mean square norm over the last axis, with weights for that axis or several of the last axes.

    PyTorch's own is one kernel on a GPU. On a CPU it consists of some twenty operators, so there it is
    computed with four, in float32.
    """

    def __init__(self, weight: torch.Tensor, eps: float) -> None:
        size = weight.shape[-1]
        self._size, self._eps, self._weight = (size,), eps, weight
        self._least: torch.Tensor | None = None
        if weight.device.type == "cpu" and weight.dtype == torch.float32:
            # x / sqrt(mean(x^2) + eps) * w = x / sqrt(sum(x^2) + size * eps) * (w * sqrt(size))
            self._weight = weight * math.sqrt(size)
            self._least = torch.tensor(math.sqrt(size * eps))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self._least is not None:
            length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            return (x / torch.hypot(length, self._least)).mul_(self._weight)
        if self._weight.ndim == 1:
            return F.rms_norm(x, self._size, self._weight, self._eps)
        return F.rms_norm(x, self._size, None, self._eps) * self._weight
