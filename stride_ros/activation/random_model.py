"""Activation models with random weights and chosen sizes, for benchmarks, where only shapes matter."""

from __future__ import annotations

from typing import Any

import torch

from stride_ros.activation.model import ActivationModel
from stride_ros.activation.prompt import Prompt
from stride_ros.qwen3_vl.architecture import Architecture
from stride_ros.qwen3_vl.device import choose_device, choose_dtype


class RandomWeights:
    """Tensors drawn from a seed: norms pass values through, other layers keep the scale of their input."""

    def __init__(self, seed: int, device: torch.device, dtype: torch.dtype) -> None:
        self._generator = torch.Generator(device).manual_seed(seed)
        self._device, self._dtype = device, dtype

    def has(self, name: str) -> bool:
        """Return True: every tensor exists, so the output head is not tied to the embeddings."""
        return True

    def tensor(self, name: str, *shape: int) -> torch.Tensor:
        """A tensor of this shape, which depends on the seed and on the tensors drawn before it."""
        if "norm" in name and name.endswith("weight"):
            return torch.ones(shape, device=self._device, dtype=self._dtype)
        if name.endswith("bias"):
            return torch.zeros(shape, device=self._device, dtype=self._dtype)
        fan_in = 1 if "embed" in name else torch.Size(shape[1:]).numel()
        value = torch.empty(shape, device=self._device, dtype=self._dtype)
        return value.normal_(0.0, fan_in**-0.5, generator=self._generator)


def random_model(
    architecture: Architecture,
    tokenizer: Any,
    name: str,
    *,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
) -> ActivationModel:
    """A model of this architecture with random weights and a tokenizer with the prompt's special tokens.

    device, dtype and threads are as in ActivationModel.load. The same seed gives the same model on the same
    kind of device.
    """
    chosen = choose_device(device)
    weights = RandomWeights(seed, chosen, choose_dtype(dtype, chosen))
    return ActivationModel(architecture, weights, Prompt(tokenizer), name, threads)
