"""The memory that the responder's model takes, from a checkpoint's config alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from stride_ros.doctor.memory import StageMemory, working_bytes
from stride_ros.errors import BackendError, CheckpointError
from stride_ros.qwen3_vl import checkpoint
from stride_ros.qwen3_vl.published import PUBLISHED
from stride_ros.response.config import BackendConfig, ResponseConfig

NONE = "none"  # no responder, or a server elsewhere
_TEXT = 1024  # tokens of instructions, history and question


def _qwen3_vl(size: str, tied: bool) -> dict[str, Any]:
    text, vision = PUBLISHED[size]
    return {
        "model_type": "qwen3_vl",
        "tie_word_embeddings": tied,
        "text_config": {
            "vocab_size": text.vocab,
            "hidden_size": text.hidden,
            "intermediate_size": text.intermediate,
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "num_key_value_heads": text.kv_heads,
            "head_dim": text.head_dim,
            "tie_word_embeddings": tied,
        },
        "vision_config": {
            "hidden_size": vision.hidden,
            "intermediate_size": vision.intermediate,
            "depth": vision.layers,
            "num_heads": vision.heads,
            "out_hidden_size": vision.output,
            "deepstack_visual_indexes": list(vision.deepstack),
            "num_position_embeddings": vision.positions,
        },
    }


def _internvl3(hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int) -> dict[str, Any]:
    return {
        "model_type": "internvl",
        "tie_word_embeddings": False,
        "text_config": {
            "model_type": "qwen2",
            "vocab_size": 151674,
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "tie_word_embeddings": False,
        },
        "vision_config": {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": [448, 448],
            "patch_size": [14, 14],
        },
    }


def _gemma3(hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int) -> dict[str, Any]:
    return {
        "model_type": "gemma3",
        "mm_tokens_per_image": 256,
        "text_config": {
            "vocab_size": 262208,
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "head_dim": 256,
        },
        "vision_config": {
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "image_size": 896,
            "patch_size": 14,
        },
    }


KNOWN: dict[str, dict[str, Any]] = {
    "Qwen/Qwen3-VL-2B-Instruct": _qwen3_vl("2b", tied=True),
    "Qwen/Qwen3-VL-4B-Instruct": _qwen3_vl("4b", tied=True),
    "Qwen/Qwen3-VL-8B-Instruct": _qwen3_vl("8b", tied=False),
    "OpenGVLab/InternVL3-1B-hf": _internvl3(896, 4864, 24, 14, 2),
    "OpenGVLab/InternVL3-2B-hf": _internvl3(1536, 8960, 28, 12, 2),
    "OpenGVLab/InternVL3-8B-hf": _internvl3(3584, 18944, 28, 28, 4),
    "google/gemma-3-4b-it": _gemma3(2560, 10240, 34, 8, 4),
    "google/gemma-3-12b-it": _gemma3(3840, 15360, 48, 16, 8),
}


def responder_memory(
    model: str, response: ResponseConfig, backend: BackendConfig, dtype: torch.dtype
) -> StageMemory:
    """The memory of a model that answers on this machine with these settings; zero for `none`.

    model: a directory with config.json, `stride-tiny`, or a published repository, which is not downloaded.
    The state is the keys and values of the longest answer. Raises BackendError.
    """
    if model == NONE:
        return StageMemory(0, 0, 0)
    config = _config(model)
    with torch.device("meta"):
        from transformers import AutoModelForImageTextToText

        try:
            planned = AutoModelForImageTextToText.from_config(config)
        except Exception as error:  # transformers raises many types for inconsistent sizes
            raise BackendError(
                f"The config.json of {model} does not describe an image-text model ({error}); give the "
                f"directory of "
                "a Qwen3-VL, InternVL3 (-hf) or Gemma 3."
            ) from error
    item = dtype.itemsize
    weights = sum(parameter.numel() for parameter in planned.parameters()) * item
    text = config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    tokens = _TEXT + _video_tokens(config, response, backend) + backend.max_new_tokens
    state = tokens * 2 * text.num_hidden_layers * text.num_key_value_heads * head * item
    return StageMemory(weights, state, working_bytes(tokens, text.hidden_size, text.intermediate_size, item))


def _config(model: str) -> Any:
    from transformers import AutoConfig

    known = {name.lower(): values for name, values in KNOWN.items()}.get(model.lower())
    if known is not None and not Path(model).expanduser().exists():
        return AutoConfig.for_model(**known)
    if "/" in model and not Path(model).expanduser().exists():
        raise BackendError(
            f"The sizes of {model} are unknown; download it and give its directory, or choose one of "
            f"{', '.join(KNOWN)}."
        )
    try:
        return AutoConfig.from_pretrained(
            checkpoint.find(model), trust_remote_code=False, local_files_only=True
        )
    except CheckpointError as error:
        raise BackendError(str(error)) from error
    except Exception as error:  # unknown model types and broken JSON raise several types
        raise BackendError(
            f"The config.json of {model} cannot be used ({error}); choose a model that this version of "
            "transformers supports."
        ) from error


def _video_tokens(config: Any, response: ResponseConfig, backend: BackendConfig) -> int:
    """Number of tokens of the frames: Qwen3-VL takes them in pairs, other models one by one."""
    if config.model_type.startswith("qwen3_vl"):
        return math.ceil(response.max_frames / 2) * backend.frame_max_tokens
    return response.max_frames * int(getattr(config, "mm_tokens_per_image", None) or 256)
