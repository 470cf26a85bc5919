"""Read config.json of a Qwen3-VL model without transformers: sizes, and the activation window.

Importing transformers for a few numbers takes more CPU time than loading a small model. A missing key has
transformers' default, since transformers may write only differences from that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

_DEFAULT_THETA = 500_000.0
_DEFAULT_SECTION = (24, 20, 20)
# The only supported values; a missing key has this value.
_FIXED_VISION = {
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "in_channels": 3,
    "hidden_act": "gelu_pytorch_tanh",
}
# Far above any model, but far below what would fill a machine's memory or never end.
_LARGEST = 2**31 - 1
_MOST_LAYERS = 1000
_MOST_SLOTS = 4096
_SHORTEST_SLOT, _LONGEST_SLOT = 0.01, 3600.0  # s


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
    """The content of config.json: sizes, and the activation window the model was trained with.

    past, future: slots before and after the newest frame; resolution: seconds per slot; single_sequence: the
    window is written once; frame_max_tokens: tokens of a frame pair that the model was trained for; tied: the
    output head is the embedding.
    """

    text: TextShape
    vision: VisionShape
    past: int
    future: int
    resolution: float
    single_sequence: bool
    frame_max_tokens: int
    tied: bool = True


def parse_architecture(raw: Mapping[str, Any]) -> Architecture:
    """Parse the content of config.json; ValueError names a wrong key."""
    past, future = _count(raw, "trigger_window_past", None), _count(raw, "trigger_window_future", 0, least=0)
    resolution = _number(raw, "trigger_temporal_resolution", 1.0)
    tie = "tie_word_embeddings"
    return Architecture(
        text=_text(_section(raw, "text_config")),
        vision=_vision(_section(raw, "vision_config")),
        past=past,
        future=future,
        resolution=resolution,
        single_sequence=_flag(raw, "single_sequence", False),
        frame_max_tokens=_count(raw, "frame_max_tokens", 0, least=0) or 256,
        tied=_flag(raw, tie, _flag(_section(raw, "text_config"), tie, True)),
    )


def check_architecture(architecture: Architecture) -> None:
    """Raise ValueError for sizes that are inconsistent, or that no model has."""
    text, vision = architecture.text, architecture.vision
    for name, value, most in (
        ("num_hidden_layers", text.layers, _MOST_LAYERS),
        ("depth", vision.layers, _MOST_LAYERS),
        ("trigger_window_past", architecture.past, _MOST_SLOTS),
        ("trigger_window_future", architecture.future, _MOST_SLOTS),
        ("trigger_temporal_resolution", architecture.resolution, _LONGEST_SLOT),
    ):
        if value > most:
            raise ValueError(f"{name} is {value}, above {most}")
    if architecture.resolution < _SHORTEST_SLOT:
        raise ValueError(f"trigger_temporal_resolution is {architecture.resolution}, below {_SHORTEST_SLOT}")
    if text.heads % text.kv_heads:
        raise ValueError(f"num_attention_heads {text.heads} is not a multiple of {text.kv_heads} kv heads")
    if text.head_dim % 2:
        raise ValueError(f"head_dim is {text.head_dim}, an odd number")
    if vision.hidden % (4 * vision.heads):
        raise ValueError(f"hidden_size {vision.hidden} of the tower does not suit {vision.heads} heads")
    if isqrt(vision.positions) ** 2 != vision.positions:
        raise ValueError(f"num_position_embeddings is {vision.positions}, which is not a square")
    if vision.output != text.hidden:
        raise ValueError(f"out_hidden_size is {vision.output}, but hidden_size is {text.hidden}")
    stack = vision.deepstack
    beyond = any(layer >= vision.layers for layer in stack)
    if beyond or len(set(stack)) < len(stack) or len(stack) > text.layers:
        raise ValueError(f"deepstack_visual_indexes is {list(stack)[:8]}, with {vision.layers} vision layers")


def _text(text: Mapping[str, Any]) -> TextShape:
    # Older files have rope_scaling, newer ones rope_parameters; theta is inside or next to it.
    rope = {**_section(text, "rope_parameters"), **_section(text, "rope_scaling")}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ValueError(f"rope_type {kind!r} is not supported")
    if text.get("attention_bias"):
        raise ValueError("attention_bias is not supported")
    if text.get("hidden_act", "silu") != "silu":
        raise ValueError(f"hidden_act {text['hidden_act']!r} is not supported")
    section = _counts(rope, "mrope_section", _DEFAULT_SECTION)
    if len(section) != 3:
        raise ValueError(f"mrope_section has {len(section)} parts instead of 3")
    theta = rope if rope.get("rope_theta") is not None else text
    heads = _count(text, "num_attention_heads", 32)
    kv_heads = 32 if "num_key_value_heads" not in text else heads  # null means as many as heads
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
    for key, value in _FIXED_VISION.items():
        if vision.get(key) not in (None, value):
            raise ValueError(f"{key} {vision[key]!r} is not supported, only {value!r}")
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
        raise ValueError(f"{key} is {_short(value)}, not a group of settings")
    return value or {}


def _count(raw: Mapping[str, Any], key: str, default: int | None, least: int = 1) -> int:
    value = raw.get(key)
    value = default if value is None else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or value < least:
        raise ValueError(f"{key} is {_short(value)}, not a whole number of at least {least}")
    if value > _LARGEST:
        raise ValueError(f"{key} is {_short(value)}, above {_LARGEST}")
    return value


def _flag(raw: Mapping[str, Any], key: str, default: bool) -> bool:
    value = raw.get(key)
    value = default if value is None else value
    if value not in (False, True):
        raise ValueError(f"{key} is {_short(value)}, not true or false")
    return bool(value)


def _short(value: Any) -> str:
    """A value for use in a sentence, shortened; integers with thousands of digits cannot become text."""
    if type(value) is int and abs(value) > 10**30:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _number(raw: Mapping[str, Any], key: str, default: float) -> float:
    value = raw.get(key)
    value = default if value is None else value
    if type(value) not in (int, float) or not 0 < value < 1e30:
        raise ValueError(f"{key} is {_short(value)}, not a number above 0")
    return float(value)


def _counts(raw: Mapping[str, Any], key: str, default: tuple[int, ...]) -> tuple[int, ...]:
    value = raw.get(key)
    value = default if value is None else value
    whole = isinstance(value, list | tuple) and all(type(item) is int for item in value)
    if not whole or any(not 0 <= item <= _LARGEST for item in value):
        raise ValueError(f"{key} is {_short(value)}, not a list of whole numbers")
    return tuple(value)
