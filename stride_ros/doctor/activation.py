"""The memory that the activation stage takes, from a checkpoint's config alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from stride_ros.activation import ActivationConfig, ActivationEngine, ActivationModel
from stride_ros.activation.prompt import Prompt
from stride_ros.doctor.memory import StageMemory, working_bytes
from stride_ros.errors import CheckpointError
from stride_ros.parameters.activation import DEFAULT_QUERY
from stride_ros.qwen3_vl import checkpoint
from stride_ros.qwen3_vl.architecture import Architecture
from stride_ros.qwen3_vl.patches import CELL, model_size
from stride_ros.qwen3_vl.published import PUBLISHED, window_architecture

_PATCHES = 4  # patches of the vision tower per token of the language model
_KNOWN = {"interlive/stride-2b": "2b", "interlive/stride-4b": "4b"}
_LARGEST_WINDOW = 256  # slots; published checkpoints have as many or fewer
_SPECIAL = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|video_pad|>", "<|vision_end|>")


def activation_memory(
    model: str,
    config: ActivationConfig,
    size: tuple[int, int],
    cameras: int,
    queries: int,
    dtype: torch.dtype,
    device: str = "cpu",
) -> StageMemory:
    """The memory of the stage with these cameras of `size` (height, width) in px, and queries on each.

    model: a directory with config.json, `stride-tiny`, or a published repository, which is not downloaded.
    device: cpu or cuda. Weights and state are the engine's own figures. Raises CheckpointError, ConfigError.
    """
    planned = planned_model(model, dtype, device)
    engine = ActivationEngine(planned, config)
    state = cameras * engine.memory_for(size, [DEFAULT_QUERY] * queries)
    text, vision = planned.architecture.text, planned.architecture.vision
    height, width = model_size(*size, engine.frame_max_tokens)
    tokens = height // CELL * (width // CELL)
    item = dtype.itemsize
    seen = working_bytes(cameras * tokens * _PATCHES, vision.hidden, vision.intermediate, item)
    appended = cameras * queries * 2 * (tokens + planned.window)  # both caches of a query and its first pass
    return StageMemory(
        planned.memory_bytes, state, seen + working_bytes(appended, text.hidden, text.intermediate, item)
    )


def planned_model(model: str, dtype: torch.dtype, device: str = "cpu") -> ActivationModel:
    """A model without weights that knows its sizes, with caches as on this device."""
    folder = _folder(model)
    if folder is None:
        architecture, tokenizer = _published(model), CountedText()
    else:
        architecture = checkpoint.read_architecture(folder)
        tokenizer = (
            checkpoint.read_tokenizer(folder) if (folder / "tokenizer.json").is_file() else CountedText()
        )
    planned = ActivationModel(architecture, _Shapes(dtype, architecture.tied), Prompt(tokenizer), model)
    planned.paged = device != "cpu"
    return planned


def _folder(model: str) -> Path | None:
    """The directory of the checkpoint, or None for a repository's name: nothing is downloaded here."""
    if "/" in model and not Path(model).expanduser().exists() and model.lower() in _KNOWN:
        return None
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not Path(model).expanduser().exists():
        raise CheckpointError(
            f"The sizes of {model} are unknown; download it and give its directory, or choose one of "
            "interlive/STRIDE-2B, interlive/STRIDE-4B and stride-tiny."
        )
    return checkpoint.find(model)


def _published(model: str) -> Architecture:
    return window_architecture(*PUBLISHED[_KNOWN[model.lower()]], _LARGEST_WINDOW)


class _Shapes:
    """Tensors with shapes but no values."""

    def __init__(self, dtype: torch.dtype, tied: bool) -> None:
        self._dtype, self._tied = dtype, tied

    def has(self, name: str) -> bool:
        return not (self._tied and name == "lm_head.weight")

    def tensor(self, name: str, *shape: int) -> torch.Tensor:
        return torch.empty(shape, device="meta", dtype=self._dtype)


class CountedText:
    """Stands in for an unavailable tokenizer: estimates the number of Qwen's tokens for plain English.

    Words with their space, single digits, other characters and special tokens count as one each.
    """

    def __init__(self) -> None:
        special = [*_SPECIAL, *checkpoint.SLOT_TOKENS]
        self._vocabulary = {token: number for number, token in enumerate(special, 1)}
        self._part = re.compile("|".join(map(re.escape, special)) + r"| ?[^\W\d]+|\d|\s+|[^\w\s]")
        self.all_special_ids = list(self._vocabulary.values())

    def get_vocab(self) -> dict[str, int]:
        return self._vocabulary

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [self._vocabulary.get(part, 0) for part in self._part.findall(text)]}

    def apply_chat_template(self, messages: Sequence[Any], **_: Any) -> str:
        query = messages[0]["content"][0]["text"]
        return f"<|im_start|>user\n{query}<|vision_start|><|video_pad|><|vision_end|><|im_end|>\n"
