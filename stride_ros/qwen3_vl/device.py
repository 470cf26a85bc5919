"""Choose where a model runs, and in which number format."""

from __future__ import annotations

import torch

from stride_ros.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str) -> torch.device:
    """Choose a device; `auto` is the first CUDA device or the CPU. ConfigError for an unavailable device."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"There is no device {device!r}; use auto, cpu, cuda or cuda:N.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device is 'cuda', but PyTorch sees no CUDA device; use device cpu or install a CUDA PyTorch."
        )
    return chosen


def uploaded(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy values of the host to a device; to a GPU from pinned memory, so that the host does not wait."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values if values.device == device else values.to(device)


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Choose a number type; `auto` is bfloat16 on CUDA and float32 elsewhere. ConfigError if unknown."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}; use auto, {', '.join(DTYPES)}.")
    return DTYPES[dtype]
