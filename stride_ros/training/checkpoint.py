"""Random Qwen3-VL checkpoints with the keys and tokens of STRIDE, as a start for training and for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copymode
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.training.tokenizer import (
    END_OF_TEXT,
    IMAGE_PAD,
    TURN_END,
    VIDEO_PAD,
    VISION_END,
    VISION_START,
    build_tokenizer,
    save_tokenizer,
)

PATCH_SIZE, MERGE_SIZE, TEMPORAL_PATCH_SIZE = 16, 2, 2
DEFAULT_TEXTS = (
    "Tell me when a person is in view.",
    "Tell me when a red ball is on the table.",
    "A person is in view.",
    "A red ball is on the table.",
)


@dataclass(frozen=True)
class CheckpointSize:
    """Widths and depths of the language model and of the vision tower, in Qwen3-VL's terms."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    rope_theta: float
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    vision_intermediate: int
    deepstack: tuple[int, ...]
    position_grid: int
    frame_max_tokens: int


SIZES = {
    # Loads and runs in milliseconds, but knows nothing.
    "test": CheckpointSize(64, 2, 2, 1, 32, 128, 5e6, 32, 2, 2, 64, (0,), 8, 256),
    # stride-tiny. A short rope wavelength suits prompts of hundreds, not hundreds of thousands, of tokens.
    "tiny": CheckpointSize(96, 4, 3, 3, 32, 288, 1e4, 96, 3, 3, 288, (1,), 8, 6),
}


def create_checkpoint(
    path: str | Path,
    *,
    seed: int = 0,
    size: str = "test",
    window: int = 16,
    resolution: float = 1.0,
    texts: Iterable[str] = DEFAULT_TEXTS,
    time_limit: float = -1.0,
    mask_modes: Sequence[int] = (1, 2, 3),
    single_sequence: bool = False,
    frame_max_tokens: int | None = None,
    activation_tokens: bool = True,
) -> Path:
    """Write a random Qwen3-VL checkpoint folder that loads as an activation model and as a text generator.

    `window` is the number of slots, `resolution` the seconds per slot. `texts` determine the tokenizer's
    vocabulary, `time_limit` is the last time (s) that is one token (negative: times are written in digits).
    `frame_max_tokens` is stored in config.json as the model's own frame size (default: that of `size`). With
    `activation_tokens=False` it is a plain Qwen3-VL: no slot tokens and no `trigger_*` keys. The same
    arguments give the same bytes. Returns the folder; ConfigError for an unknown size or window.
    """
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    if size not in SIZES:
        raise ConfigError(f"There is no checkpoint size {size!r}; choose one of {', '.join(SIZES)}.")
    if window < 1:
        raise ConfigError(f"A window of {window} slots is not possible; use 1 or more.")
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(texts, time_limit=time_limit, activation_tokens=activation_tokens)
    config = model_config(SIZES[size], tokenizer)
    if activation_tokens:
        config |= {
            "trigger_window_past": window,
            "trigger_window_future": 0,
            "trigger_temporal_resolution": resolution,
            "mask_modes": list(mask_modes),
            "single_sequence": single_sequence,
            "frame_max_tokens": frame_max_tokens or SIZES[size].frame_max_tokens,
        }
    # Written here and not by the library, so that it looks like published checkpoints with any library
    # version.
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig.from_pretrained(folder))
    save_weights(model, folder)
    save_tokenizer(tokenizer, folder)
    write_processor_configs(folder)
    _write_generation_config(folder, tokenizer)
    return folder


def save_weights(model: Any, folder: Path, dtype: Any = None) -> Path:
    """Write model.safetensors (without a tied lm_head, as published), in `dtype` if given; return its path.

    An existing file is replaced only when the new one is complete.
    """
    from safetensors.torch import save_file

    tied = model.config.tie_word_embeddings
    state = {
        name: (value if dtype is None else value.to(dtype)).detach().cpu().contiguous()
        for name, value in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
    file, part = folder / "model.safetensors", folder / "model.safetensors.part"
    try:
        save_file(state, str(part), metadata={"format": "pt"})
        # Some releases of safetensors make files readable only by the owner; nodes may run as another user.
        copymode(folder / "config.json", part)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return file


def write_processor_configs(folder: Path) -> None:
    """Write preprocessor_config.json and video_preprocessor_config.json of a Qwen3-VL model."""
    common: dict[str, Any] = {
        "processor_class": "Qwen3VLProcessor",
        "patch_size": PATCH_SIZE,
        "temporal_patch_size": TEMPORAL_PATCH_SIZE,
        "merge_size": MERGE_SIZE,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    image = common | {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "size": {"shortest_edge": 1024, "longest_edge": 16777216},
    }
    video = common | {
        "video_processor_type": "Qwen3VLVideoProcessor",
        "size": {"shortest_edge": 1024, "longest_edge": 25165824},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(image, indent=2) + "\n")
    (folder / "video_preprocessor_config.json").write_text(json.dumps(video, indent=2) + "\n")


def _write_generation_config(folder: Path, tokenizer: Any) -> None:
    end_of_text, turn_end = tokenizer.convert_tokens_to_ids([END_OF_TEXT, TURN_END])
    settings = {
        "bos_token_id": end_of_text,
        "pad_token_id": end_of_text,
        "eos_token_id": [turn_end, end_of_text],
        "do_sample": False,
    }
    (folder / "generation_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def model_config(size: CheckpointSize, tokenizer: Any, vocabulary: int | None = None) -> dict[str, Any]:
    """The content of config.json without the activation window.

    `vocabulary`: rows of the embeddings, at least the number of the tokenizer's tokens, which is the default.
    """
    half = size.head_dim // 2
    side = half * 5 // 16  # Qwen3-VL gives 24 : 20 : 20 of 64 frequencies to time, height and width
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "dtype": "float32",
        "tie_word_embeddings": True,
        "image_token_id": tokenizer.convert_tokens_to_ids(IMAGE_PAD),
        "video_token_id": tokenizer.convert_tokens_to_ids(VIDEO_PAD),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids(VISION_START),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids(VISION_END),
        "text_config": {
            "model_type": "qwen3_vl_text",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": tokenizer.convert_tokens_to_ids(END_OF_TEXT),
            "eos_token_id": tokenizer.convert_tokens_to_ids(TURN_END),
            "head_dim": size.head_dim,
            "hidden_act": "silu",
            "hidden_size": size.hidden,
            "initializer_range": 0.02,
            "intermediate_size": size.intermediate,
            "max_position_embeddings": 32768,
            "num_attention_heads": size.heads,
            "num_hidden_layers": size.layers,
            "num_key_value_heads": size.kv_heads,
            "rms_norm_eps": 1e-6,
            "rope_scaling": {
                "mrope_interleaved": True,
                "mrope_section": [half - 2 * side, side, side],
                "rope_type": "default",
            },
            "rope_theta": size.rope_theta,
            "tie_word_embeddings": True,
            "use_cache": True,
            "vocab_size": vocabulary or len(tokenizer),
        },
        "vision_config": {
            "model_type": "qwen3_vl",
            "deepstack_visual_indexes": list(size.deepstack),
            "depth": size.vision_layers,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": size.vision_hidden,
            "in_channels": 3,
            "initializer_range": 0.02,
            "intermediate_size": size.vision_intermediate,
            "num_heads": size.vision_heads,
            "num_position_embeddings": size.position_grid**2,
            "out_hidden_size": size.hidden,
            "patch_size": PATCH_SIZE,
            "spatial_merge_size": MERGE_SIZE,
            "temporal_patch_size": TEMPORAL_PATCH_SIZE,
        },
    }
