"""What config.json of a Qwen3-VL says: sizes, and the activation window. Read without transformers.

Importing transformers for a few numbers takes more CPU time than loading a small model. A key that is left
out has the value that transformers gives it, since it may write only what differs from that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DEFAULT_THETA = 500_000.0
_DEFAULT_SECTION = (24, 20, 20)


@dataclass(frozen=True)
class TextShape:
    """Sizes of the language model, in Qwen3-VL's terms."""

    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_eps: float
    rope_theta: float
    mrope_section: tuple[int, int, int]


@dataclass(frozen=True)
class VisionShape:
    """Sizes of the vision tower, in Qwen3-VL's terms."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    positions: int
    output: int
    deepstack: tuple[int, ...]


@dataclass(frozen=True)
class Architecture:
    """What config.json says: sizes, and the activation window the model was trained with.

    past, future: slots before and after the newest frame; resolution: seconds of a slot; single_sequence: the
    window is written once; frame_max_tokens: tokens of a frame pair the model was made for.
    """

    text: TextShape
    vision: VisionShape
    past: int
    future: int
    resolution: float
    single_sequence: bool
    frame_max_tokens: int


def parse_architecture(raw: Mapping[str, Any]) -> Architecture:
    """The architecture that the content of config.json stands for; ValueError names the key that is wrong."""
    past, future = _count(raw, "trigger_window_past", None), _count(raw, "trigger_window_future", 0, least=0)
    resolution = _number(raw, "trigger_temporal_resolution", 1.0)
    return Architecture(
        text=_text(_section(raw, "text_config")),
        vision=_vision(_section(raw, "vision_config")),
        past=past,
        future=future,
        resolution=resolution,
        single_sequence=bool(raw.get("single_sequence", False)),
        frame_max_tokens=_count(raw, "frame_max_tokens", 0, least=0) or 256,
    )


def _text(text: Mapping[str, Any]) -> TextShape:
    # Older files say rope_scaling, newer ones rope_parameters; theta lies in there or beside it.
    rope = {**_section(text, "rope_parameters"), **_section(text, "rope_scaling")}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ValueError(f"rope_type {kind!r} is not supported")
    if text.get("attention_bias"):
        raise ValueError("attention_bias is not supported")
    section = _counts(rope, "mrope_section", _DEFAULT_SECTION)
    if len(section) != 3:
        raise ValueError(f"mrope_section has {len(section)} parts instead of 3")
    theta = rope if rope.get("rope_theta") is not None else text
    heads = _count(text, "num_attention_heads", 32)
    kv_heads = 32 if "num_key_value_heads" not in text else heads  # null stands for as many as heads
    return TextShape(
        vocab=_count(text, "vocab_size", 151_936),
        hidden=_count(text, "hidden_size", 4096),
        intermediate=_count(text, "intermediate_size", 22_016),
        layers=_count(text, "num_hidden_layers", 32),
        heads=heads,
        kv_heads=_count(text, "num_key_value_heads", kv_heads),
        head_dim=_count(text, "head_dim", 128),
        norm_eps=_number(text, "rms_norm_eps", 1e-6),
        rope_theta=_number(theta, "rope_theta", _DEFAULT_THETA),
        mrope_section=(section[0], section[1], section[2]),
    )


def _vision(vision: Mapping[str, Any]) -> VisionShape:
    return VisionShape(
        hidden=_count(vision, "hidden_size", 1152),
        intermediate=_count(vision, "intermediate_size", 4304),
        layers=_count(vision, "depth", 27),
        heads=_count(vision, "num_heads", 16),
        positions=_count(vision, "num_position_embeddings", 2304),
        output=_count(vision, "out_hidden_size", 3584),
        deepstack=_counts(vision, "deepstack_visual_indexes", (8, 16, 24)),
    )


def _section(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(f"{key} is {value!r}, not a group of settings")
    return value or {}


def _count(raw: Mapping[str, Any], key: str, default: int | None, least: int = 1) -> int:
    value = raw.get(key)
    value = default if value is None else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or value < least:
        raise ValueError(f"{key} is {value!r}, not a whole number from {least}")
    return value


def _number(raw: Mapping[str, Any], key: str, default: float) -> float:
    value = raw.get(key)
    value = default if value is None else value
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise ValueError(f"{key} is {value!r}, not a number above 0")
    return float(value)


def _counts(raw: Mapping[str, Any], key: str, default: tuple[int, ...]) -> tuple[int, ...]:
    value = raw.get(key)
    value = default if value is None else value
    if not isinstance(value, list | tuple) or not all(type(item) is int and item >= 0 for item in value):
        raise ValueError(f"{key} is {value!r}, not a list of whole numbers")
    return tuple(value)
