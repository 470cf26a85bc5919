"""Detect whether and how a checkpoint's weights are quantised, from its configuration and tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stride_ros.errors import CheckpointError

_SETTINGS = ("quantization_config", "compression_config")
_SECTIONS = ("text_config", "vision_config", "llm_config")
FLOATS = {"F64", "F32", "F16", "BF16"}
_INDICES = {"BOOL", "I64", "I32"}  # buffers such as position ids
# Tensors that only quantised checkpoints have with or instead of a weight, and their formats.
_MARKS = (
    (re.compile(r"\.g_idx$"), "GPTQ"),
    (re.compile(r"\.(qweight|qzeros)$"), "AWQ or GPTQ"),
    (re.compile(r"\.SCB$|\.weight_format$"), "bitsandbytes int8"),
    (re.compile(r"\.(nested_)?(absmax|quant_map)$|\.quant_state\."), "bitsandbytes 4-bit"),
    (re.compile(r"\.weight_scale_inv$"), "FP8"),
    (
        re.compile(r"\.weight_(packed|shape|zero_point|scales?|scale_2|g_idx|global_scale)$"),
        "compressed-tensors",
    ),
    (re.compile(r"\.(input|output|k|v|q)_(scale|zero_point)$|\.activation_scale$"), "compressed-tensors"),
    (re.compile(r"\.(W_q|codebooks?|codes|scales|biases)$|\.weight\._(data|scale|zero_point)$"), "packed"),
)


def configured(raw: Mapping[str, Any]) -> str | None:
    """The quantisation that the content of config.json declares, e.g. `awq`, or None."""
    for section in (raw, *(raw.get(name) for name in _SECTIONS)):
        if not isinstance(section, Mapping):
            continue
        for key in _SETTINGS:
            settings = section.get(key)
            if not settings:
                continue
            if not isinstance(settings, Mapping):
                return str(settings)
            method = settings.get("quant_method") or settings.get("quant_algo") or settings.get("format")
            if not method and (settings.get("load_in_4bit") or settings.get("load_in_8bit")):
                method = "bitsandbytes"
            return str(method or key)
    return None


def stored(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> str | None:
    """The quantisation that names and dtypes of tensors (dtype, shape) show, or None."""
    for mark, method in _MARKS:
        if any(mark.search(name) for name in tensors):
            return method
    for name, (dtype, _) in tensors.items():
        if dtype in FLOATS:
            continue
        if dtype.startswith(("F8", "F4", "F6")):
            return "FP8" if dtype.startswith("F8") else dtype
        if dtype not in _INDICES or name.endswith(".weight"):
            return f"weights of dtype {dtype}"
    return None


def refuse(folder: Path, method: str | None) -> None:
    """Raise CheckpointError if there is a quantisation."""
    if method:
        raise CheckpointError(
            f"{folder} is quantised ({method}), which is not supported here; use the bfloat16, float16 or "
            "float32 checkpoint that it was made from."
        )
