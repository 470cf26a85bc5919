"""Load the tensors of a checkpoint, checking them."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import CheckpointError
from stride_ros.qwen3_vl import quantised
from stride_ros.qwen3_vl.weight_files import map_weights

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger(__name__)
# What wrappers put before a name: data-parallel training, torch.compile, adapters.
_WRAPPER = re.compile(r"^(?:module\.|_orig_mod\.|base_model\.model\.)+")
_HEAD = re.compile(r"^(?:model\.|language_model\.)*(lm_head\..+)$")
_VISION = re.compile(r"^(?:model\.)*visual\.(.+)$")
_TEXT = re.compile(r"^(?:(?:model\.)*language_model\.(?:model\.)*|(?:model\.)+)(.+)$")
_MODEL_PARTS = re.compile(r"text\.(layers|norm|embed_tokens)\.|vision\.|lm_head\.")
_BUFFER = re.compile(r"\b(inv_freq|position_ids)$")  # these follow from the configuration


def short_name(key: str) -> str:
    """A tensor's name without the prefixes that vary: `text.`, `vision.` or `lm_head.` and the rest."""
    key = _WRAPPER.sub("", key)
    if match := _HEAD.match(key):
        return match[1]
    if match := _VISION.match(key):
        return f"vision.{match[1]}"
    match = _TEXT.match(key)
    return f"text.{match[1]}" if match else key


def is_finite(value: torch.Tensor) -> bool:
    """Whether all values are finite, in one pass without a copy."""
    if not value.numel() or not value.is_floating_point():
        return True
    low, high = value.aminmax()  # NaN propagates to both
    return bool((high - low).isfinite() or (low.isfinite() and high.isfinite()))


class WeightFiles:
    """The tensors of a checkpoint's safetensors files, by their names without the prefixes that vary.

    Names begin with `text.`, `vision.` or are `lm_head.weight`. Raises CheckpointError for files that are
    missing, damaged or quantised.
    """

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        self._folder, self._device, self._dtype = folder, device, dtype
        self._map = map_weights(folder)
        quantised.refuse(folder, quantised.stored(self._map.tensors))
        self._keys: dict[str, str] = {}
        for key in self._map.tensors:
            if ".lora_" in key or ".base_layer." in key:
                raise CheckpointError(
                    f"{folder} holds an adapter that is not merged ({key}); merge it into its model and pass "
                    "the merged checkpoint."
                )
            name = short_name(key)
            if name in self._keys:
                raise CheckpointError(
                    f"{folder} holds {name} twice, as {self._keys[name]} and as {key}; save the checkpoint "
                    "with one of them."
                )
            self._keys[name] = key
        self._handles: dict[Path, Any] = {}
        self._taken: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether the checkpoint has this tensor."""
        return name in self._keys

    def tensor(self, name: str, *shape: int) -> torch.Tensor:
        """A tensor on the model's device and in its dtype; CheckpointError if it is missing or unusable."""
        key = self._keys.get(name)
        if key is None:
            raise CheckpointError(
                f"The weights in {self._folder} lack {name}; copy or download the checkpoint again."
            )
        stored = self._map.tensors[key][1]
        if stored != shape:
            raise CheckpointError(
                f"{key} in {self._folder} has shape {stored}, but config.json asks for {shape}; "
                "use the weights and the configuration of one checkpoint."
            )
        self._taken.add(name)
        value = self._read(key)
        converted = value.to(device=self._device, dtype=self._dtype)
        if not is_finite(converted):
            if is_finite(value):
                raise CheckpointError(
                    f"{key} in {self._folder} contains numbers that are too large for {self._dtype}; use "
                    "dtype bfloat16 or float32."
                )
            raise CheckpointError(
                f"{key} in {self._folder} holds NaN or infinity instead of finite numbers; use a checkpoint "
                "from before its training diverged, or download it again."
            )
        return converted

    def _read(self, key: str) -> torch.Tensor:
        from safetensors import SafetensorError, safe_open

        file = self._map.files[key]
        try:
            if file not in self._handles:
                self._handles[file] = safe_open(str(file), framework="pt", device="cpu")
            value: torch.Tensor = self._handles[file].get_tensor(key)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{file} is damaged and cannot be loaded ({error}); copy or download the checkpoint again."
            ) from error
        return value

    def check_rest(self) -> None:
        """Raise CheckpointError if the files contain a part of the model that it would ignore."""
        rest = [name for name in self._keys if name not in self._taken and not _BUFFER.search(name)]
        for name in rest:
            if _MODEL_PARTS.match(name):
                raise CheckpointError(
                    f"The weights in {self._folder} hold {self._keys[name]}, which the model of its "
                    "config.json does not have; use the weights and the configuration of one checkpoint."
                )
        if rest:
            more = ", ..." if len(rest) > 3 else ""
            _LOG.warning("Unused tensors in %s: %s%s.", self._folder, ", ".join(rest[:3]), more)
