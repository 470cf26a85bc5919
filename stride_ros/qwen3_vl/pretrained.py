"""Load a checkpoint with transformers so that its weights are exactly those in its files.

The library fills missing tensors with random numbers, prefers a single file to an index, and loads FP8
weights without their scales; here each of these is checked first, or refused.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

from stride_ros.errors import CheckpointError
from stride_ros.qwen3_vl import quantised
from stride_ros.qwen3_vl.files import read_object, refuse_pointers
from stride_ros.qwen3_vl.weight_files import INDEX, SINGLE, WeightMap, map_weights
from stride_ros.qwen3_vl.weights import is_finite
from stride_ros.text.foreign import visible

_LOG = logging.getLogger(__name__)
_LAYER = re.compile(r"\.(layers|blocks|deepstack_merger_list)\.\d+\.")
_REPORT = logging.getLogger("transformers.modeling_utils")
_SECTIONS = ("text_config", "vision_config", "llm_config")
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "vocab_size",
    "head_dim",
    "num_attention_heads",
    "num_heads",
    "num_key_value_heads",
)
_DEPTHS = ("num_hidden_layers", "num_layers", "depth")
_LARGEST, _DEEPEST = 2**31 - 1, 1000
_PART = 5  # maximum number of names in a sentence


def check_files(folder: Path, *, may_be_quantised: bool = False) -> WeightMap:
    """Find the weights. CheckpointError, before any are read, for what cannot be loaded as intended."""
    refuse_pointers(folder)
    raw = read_object(folder / "config.json")
    weights = map_weights(folder)
    declared, found = quantised.configured(raw), quantised.stored(weights.tensors)
    if not may_be_quantised or not declared:  # without the settings, scales would be ignored
        quantised.refuse(folder, declared or found)
    if raw.get("transformers_weights"):
        raise CheckpointError(
            f"{folder / 'config.json'} names its own file of weights (transformers_weights), which is not "
            f"supported; name the file {SINGLE} and remove that key."
        )
    _refuse_fetched_code(raw, folder / "config.json")
    for section in (raw, *(raw.get(name) for name in _SECTIONS)):
        if isinstance(section, Mapping):
            _check_sizes(section, folder / "config.json", weights)
    return weights


def _refuse_fetched_code(config: Mapping[str, Any], file: Path) -> None:
    """Raise CheckpointError if a configuration names kernels from a repository, which are programs."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            _refuse_fetched_code(value, file)
        elif key.endswith("_implementation") and isinstance(value, str) and "/" in value:
            raise CheckpointError(
                f"{file} names {key} {visible(value, 80)!r}, which would be a program to download and run; "
                "remove that key."
            )


def load_pretrained(
    model_class: Any,
    folder: Path,
    weights: WeightMap,
    *,
    quantisation: bool = False,
    whole: bool = False,
    **options: Any,
) -> Any:
    """Load a model with `model_class.from_pretrained`, only from the files that `weights` names.

    quantisation: the weights are or become quantised, so their shapes differ from the model's; whole: layers
    that the model would ignore are an error. Raises CheckpointError for tensors that are missing, of another
    shape or not finite, and transformers' exceptions for the rest.
    """
    with _chosen_files(folder, weights) as place, _without_report():
        model, report = model_class.from_pretrained(
            str(place),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=not quantisation,  # so that they can be named
            **options,
        )
    model.name_or_path = model.config._name_or_path = str(folder)
    if wrong := sorted(report["mismatched_keys"], key=str):
        name, stored, expected = wrong[0]
        raise CheckpointError(
            f"{name} in {folder} has shape {tuple(stored)}, but config.json asks for {tuple(expected)}; use "
            "the weights and the configuration of one checkpoint."
        )
    if missing := sorted(report["missing_keys"]):
        more = f" and {len(missing) - _PART} more" if len(missing) > _PART else ""
        raise CheckpointError(
            f"The weights in {folder} lack {', '.join(missing[:_PART])}{more}; copy or download the "
            "checkpoint again."
        )
    if unused := sorted(report["unexpected_keys"]):
        left_out = (name for name in unused if _LAYER.search(name) and "inv_freq" not in name)
        layer = next(left_out, None)
        if whole and layer is not None:
            raise CheckpointError(
                f"The weights in {folder} hold {layer}, which the model of its config.json does not "
                "have; use the weights and the configuration of one checkpoint."
            )
        _LOG.warning("Unused tensors in %s: %s.", folder, ", ".join(unused[:_PART]))
    for name, value in model.named_parameters():
        if value.device.type != "meta" and not is_finite(value.detach()):
            short = str(value.dtype).removeprefix("torch.")
            remedy = "use dtype bfloat16 or float32, or " if short == "float16" else ""
            raise CheckpointError(
                f"{name} in {folder} holds NaN or infinity instead of finite numbers (as {short}); {remedy}"
                "use a checkpoint from before its training diverged, or download it again."
            )
    return model


def _check_sizes(section: Mapping[str, Any], file: Path, weights: WeightMap) -> None:
    """Refuse sizes that no model has: the library would allocate memory for them before reading files."""
    for names, most in ((_SIZES, _LARGEST), (_DEPTHS, _DEEPEST)):
        for name in names:
            value = section.get(name)
            if value is None or isinstance(value, list):
                continue
            if type(value) is not int or not 0 <= value <= most:
                raise CheckpointError(
                    f"{file} is not usable ({name} is {str(value)[:40]!r}, not a whole number up to {most}); "
                    "download it again."
                )
    stored = 2 * sum(prod(shape) for _, shape in weights.tensors.values()) * 8  # packed: 8 per word
    vocabulary, hidden = section.get("vocab_size") or 0, section.get("hidden_size") or 0
    depth = max([section.get(name) or 0 for name in _DEPTHS], default=0)
    if max(vocabulary, depth) * hidden > stored:
        raise CheckpointError(
            f"{file} describes a far larger model than the weights next to it (hidden_size {hidden}, "
            f"vocab_size {vocabulary}); use the weights and the configuration of one checkpoint."
        )


@contextmanager
def _chosen_files(folder: Path, weights: WeightMap) -> Iterator[Path]:
    """A directory where transformers finds the chosen weights: `folder`, or links to its files."""
    single, index = (folder / SINGLE).is_file(), (folder / INDEX).is_file()
    used = set(weights.files.values())
    plain = used == {folder / SINGLE} and not index if single else index and not weights.overlap
    if plain and not (folder / "adapter_config.json").is_file():
        yield folder
        return
    if weights.overlap:
        raise CheckpointError(
            f"{folder} holds {weights.overlap} twice, and the index names only one of them; save "
            "the checkpoint again."
        )
    with tempfile.TemporaryDirectory(prefix="stride_ros-") as name:
        place = Path(name)
        for file in folder.iterdir():
            about_weights = file.name.endswith((".safetensors", ".safetensors.index.json"))
            if file.is_file() and not about_weights and file.name != "adapter_config.json":
                (place / file.name).symlink_to(file.resolve())
        for file in used:
            link = place / file.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
        names = {tensor: str(file.relative_to(folder)) for tensor, file in weights.files.items()}
        if used != {folder / SINGLE}:
            (place / SINGLE).unlink(missing_ok=True)
            (place / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}), encoding="utf-8")
        yield place


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep the library's table of missing tensors out of the log, since an error with them follows."""

    def keep(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    _REPORT.addFilter(keep)
    try:
        yield
    finally:
        _REPORT.removeFilter(keep)
