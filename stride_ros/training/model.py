"""The model in training: Qwen3-VL with a loss on slots and sentences, and learning rates by part."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from stride_ros.errors import CheckpointError, ConfigError
from stride_ros.qwen3_vl.checkpoint import (
    SLOT_TOKENS,
    check_rows,
    find,
    read_config,
    usable_architecture,
)
from stride_ros.qwen3_vl.pretrained import check_files, load_pretrained
from stride_ros.qwen3_vl.tokenizer import legacy_template
from stride_ros.qwen3_vl.weights import short_name
from stride_ros.training.checkpoint import save_weights, write_processor_configs
from stride_ros.training.examples import IGNORED
from stride_ros.training.masking import check_modes
from stride_ros.training.output import make_folder, whole_files, writing
from stride_ros.training.tokenizer import ACTIVATION_TOKENS
from stride_ros.user_files.output import write_whole

PARTS = ("language", "embedding", "merger", "vision")


@dataclass(frozen=True)
class WindowKeys:
    """The `trigger_*` keys of config.json; None keeps the checkpoint's value.

    They are the slots, seconds per slot, mask modes, whether the window is written once, and the maximum
    tokens of a frame pair.
    """

    window: int | None = None
    resolution: float | None = None
    mask_modes: tuple[int, ...] | None = None
    single_sequence: bool | None = None
    frame_max_tokens: int | None = None


# Values for a plain Qwen3-VL: the window of the first published checkpoint, the paper's mask modes.
DEFAULT_KEYS = WindowKeys(32, 1.0, (1, 2, 3), False, 256)


class StrideForTraining(Qwen3VLForConditionalGeneration):  # type: ignore[misc]  # untyped library
    """A Qwen3-VL model whose forward returns the training loss if targets are passed.

    `slot_token_ids` are those of SLOT_TOKENS, `text_weight` scales the loss of sentences.
    """

    slot_token_ids: tuple[int, int, int] = (-1, -1, -1)
    text_weight: float = 1.0

    def forward(
        self, slot_labels: torch.Tensor | None = None, text_labels: torch.Tensor | None = None, **inputs: Any
    ) -> Any:
        """With targets (B, L), -100 where there is none, return {"loss", "slot_loss", "text_loss"}.

        Slots are read at their own position over the two rows `<inactive>` and `<active>`, as at inference;
        words one position earlier over the whole vocabulary. Only those rows of the output head are computed.
        """
        if slot_labels is None or text_labels is None:
            return super().forward(**inputs)
        hidden = self.model(**inputs, use_cache=False).last_hidden_state
        zero = hidden.sum() * 0.0
        asked = slot_labels != IGNORED
        slot_loss = text_loss = zero
        if asked.any():
            rows = self.lm_head.weight[list(self.slot_token_ids[:2])]
            slot_loss = F.cross_entropy(F.linear(hidden[asked], rows).float(), slot_labels[asked])
        said = text_labels[:, 1:] != IGNORED
        if said.any():
            logits = self.lm_head(hidden[:, :-1][said]).float()
            text_loss = F.cross_entropy(logits, text_labels[:, 1:][said])
        loss = slot_loss + self.text_weight * text_loss
        return {"loss": loss, "slot_loss": slot_loss.detach(), "text_loss": text_loss.detach()}

    def parts(self) -> dict[str, list[tuple[str, torch.nn.Parameter]]]:
        """All parameters by part; an output head tied to the embedding counts once."""
        groups: dict[str, list[tuple[str, torch.nn.Parameter]]] = {part: [] for part in PARTS}
        for name, parameter in self.named_parameters():
            groups[_part(name)].append((name, parameter))
        return groups


def _part(name: str) -> str:
    if "embed_tokens" in name or name.startswith("lm_head"):
        return "embedding"
    if "visual" in name:
        return "merger" if "merger" in name else "vision"
    return "language"


def prepare(source: str, folder: Path, keys: WindowKeys) -> tuple[StrideForTraining, Any]:
    """Load a start checkpoint for training, and write everything except its weights to `folder`.

    A plain Qwen3-VL gets the three tokens, larger embeddings and the `trigger_*` keys. Returns the model and
    the tokenizer. Raises CheckpointError and ConfigError.
    """
    start = find(source)
    config = read_config(start)
    architecture = usable_architecture({"trigger_window_past": 1, **config}, start / "config.json")
    weights = check_files(start)
    tokenizer = _tokenizer(start)
    check_rows(tokenizer, architecture.text.vocab, start)
    # At inference a head in the files is used, even if the configuration calls it tied.
    own_head = any(short_name(key) == "lm_head.weight" for key in weights.tensors)
    config["tie_word_embeddings"] = architecture.tied and not own_head
    try:
        loaded = Qwen3VLConfig.from_dict(dict(config))
        model = load_pretrained(
            StrideForTraining, start, weights, whole=True, config=loaded, dtype=torch.float32
        )
    except CheckpointError:
        raise
    except Exception as error:  # transformers raises many types for a broken checkpoint
        raise CheckpointError(
            f"{start} cannot be loaded for training ({error}); use a Qwen3-VL checkpoint."
        ) from error
    added = tokenizer.add_tokens(list(ACTIVATION_TOKENS), special_tokens=True)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=added > 0)
    config["text_config"]["vocab_size"] = model.get_input_embeddings().num_embeddings
    config |= _window_keys(config, keys)
    for name, value in config.items():
        if name.startswith("trigger_") or name in ("mask_modes", "single_sequence", "frame_max_tokens"):
            setattr(model.config, name, value)
    model.slot_token_ids = tuple(tokenizer.convert_tokens_to_ids(token) for token in SLOT_TOKENS)
    make_folder(folder)
    with writing(folder), whole_files(folder) as beside:
        tokenizer.save_pretrained(str(beside))
        (beside / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        write_processor_configs(beside)
        if (start / "generation_config.json").is_file():
            shutil.copyfile(start / "generation_config.json", beside / "generation_config.json")
    return model, tokenizer


def _tokenizer(start: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(start), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises plain Exception on a broken file
        raise CheckpointError(
            f"{start} has no usable tokenizer ({type(error).__name__}); download it again."
        ) from error
    if tokenizer.chat_template is None:  # older checkpoints have it in a file that transformers ignores
        tokenizer.chat_template = legacy_template(start)
    for how in ("is_local", "local_files_only"):  # how it was read is not written
        tokenizer.init_kwargs.pop(how, None)
    return tokenizer


def _window_keys(config: dict[str, Any], keys: WindowKeys) -> dict[str, Any]:
    """The keys to write: those requested, otherwise the checkpoint's, otherwise the defaults."""

    def choose(name: str, asked: Any, default: Any) -> Any:
        own = config.get(name)
        return asked if asked is not None else default if own is None else own

    window = int(choose("trigger_window_past", keys.window, DEFAULT_KEYS.window))
    resolution = float(choose("trigger_temporal_resolution", keys.resolution, DEFAULT_KEYS.resolution))
    if window < 1 or not resolution > 0:
        raise ConfigError(
            f"A window of {window} slots of {resolution} s is not possible; use positive numbers."
        )
    return {
        "trigger_window_past": window,
        "trigger_window_future": int(config.get("trigger_window_future") or 0),
        "trigger_temporal_resolution": resolution,
        "mask_modes": list(check_modes(choose("mask_modes", keys.mask_modes, DEFAULT_KEYS.mask_modes))),
        "single_sequence": bool(
            choose("single_sequence", keys.single_sequence, DEFAULT_KEYS.single_sequence)
        ),
        "frame_max_tokens": int(
            choose("frame_max_tokens", keys.frame_max_tokens, DEFAULT_KEYS.frame_max_tokens)
        ),
    }


def write_weights(model: StrideForTraining, folder: Path, dtype: torch.dtype) -> None:
    """Write the weights next to what `prepare` wrote, replacing existing ones.

    The old ones stay until the new ones are complete. Raises CheckpointError if they cannot be written.
    """
    with writing(folder):
        written = save_weights(model, folder, dtype)
        for old in [*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")]:
            if old != written:
                old.unlink()
        file = folder / "config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        config["dtype"] = str(dtype).removeprefix("torch.")
        config["architectures"] = ["Qwen3VLForConditionalGeneration"]
        write_whole(file, json.dumps(config, indent=2) + "\n")


def is_finite(model: torch.nn.Module) -> bool:
    """Whether every parameter is a number."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


def trainable_names(model: StrideForTraining) -> Iterator[str]:
    """Names of the parameters that are trained."""
    return (name for name, parameter in model.named_parameters() if parameter.requires_grad)
