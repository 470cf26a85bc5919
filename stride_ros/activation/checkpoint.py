"""Find a checkpoint, read its configuration and tokenizer, open its weights; errors name their remedy."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.activation.architecture import Architecture, parse_architecture
from stride_ros.activation.tokenizer import load_tokenizer
from stride_ros.errors import CheckpointError

if TYPE_CHECKING:
    import torch

EMBEDDED = "stride-tiny"
SLOT_TOKENS = ("<inactive>", "<active>", "<activation>")  # in the order of the labels 0, 1 and masked
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_DOWNLOADS = ("*.json", "*.jinja", "*.txt", "*.safetensors")


def find(source: str | os.PathLike[str]) -> Path:
    """The folder of a checkpoint: a local directory, `stride-tiny`, or a repo id (downloaded once)."""
    name = os.fspath(source)
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name == EMBEDDED:
        return _find_embedded()
    if path.is_file():
        raise CheckpointError(f"The checkpoint {name} is a file; pass the directory that holds config.json.")
    if _REPO_ID.fullmatch(name) and not path.parent.is_dir():
        return _download(name)
    raise CheckpointError(
        f"There is no checkpoint directory {name!r}; pass an existing directory, '{EMBEDDED}' or a "
        "Hugging Face repo id such as interlive/STRIDE-2B."
    )


def _find_embedded() -> Path:
    for root in _resource_roots():
        folder = root / "models" / EMBEDDED
        if (folder / "config.json").is_file():
            return folder
    raise CheckpointError(
        f"The embedded checkpoint '{EMBEDDED}' is not installed; rebuild and source the workspace, or pass a "
        "checkpoint directory."
    )


def _resource_roots() -> Iterator[Path]:
    """Where models/ may lie: source tree, colcon install, sourced ROS prefixes, pip environment."""
    here = Path(__file__).resolve()
    yield here.parents[2]
    for parent in here.parents:
        yield parent / "share" / "stride_ros"
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            yield Path(prefix) / "share" / "stride_ros"
    yield Path(sys.prefix) / "share" / "stride_ros"


def _download(repo: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise CheckpointError(
            "huggingface_hub is not installed; run `pip install huggingface_hub` or pass a local directory."
        ) from error
    try:
        return Path(snapshot_download(repo, allow_patterns=list(_DOWNLOADS)))
    except Exception as error:  # the library raises its own, the HTTP client's and the system's errors
        raise CheckpointError(
            f"The checkpoint {repo} cannot be fetched from Hugging Face ({type(error).__name__}); accept the "
            "terms on its model page and log in with `hf auth login` or HF_TOKEN, check the network, "
            "or pass a local directory."
        ) from error


def read_architecture(folder: Path) -> Architecture:
    """Read config.json. CheckpointError when it is missing, broken or not of a STRIDE model."""
    file = folder / "config.json"
    if not file.is_file():
        raise CheckpointError(f"{folder} has no config.json; pass the directory of a STRIDE checkpoint.")
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} cannot be read ({error}); copy or download the checkpoint again."
        ) from error
    if not isinstance(raw, dict) or raw.get("model_type") != "qwen3_vl":
        kind = raw.get("model_type") if isinstance(raw, dict) else type(raw).__name__
        raise CheckpointError(
            f"{folder} holds a {kind!r} model; use a STRIDE checkpoint, whose model_type is qwen3_vl."
        )
    if "trigger_window_past" not in raw:
        raise CheckpointError(
            f"{file} has no trigger_window_past; use a checkpoint trained for STRIDE, not a plain Qwen3-VL."
        )
    try:
        return parse_architecture(raw)
    except ValueError as error:
        raise CheckpointError(
            f"{file} is not a usable Qwen3-VL configuration ({error}); download it again."
        ) from error


def read_tokenizer(folder: Path) -> Any:
    """The checkpoint's tokenizer. CheckpointError when it lacks the slot tokens or a chat template."""
    try:
        tokenizer = load_tokenizer(folder)
    except CheckpointError:
        raise
    except Exception as error:  # tokenizers raises plain Exception on a broken file
        raise CheckpointError(
            f"{folder} has no usable tokenizer ({type(error).__name__}); download it again."
        ) from error
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in SLOT_TOKENS if token not in vocabulary]
    if missing:
        raise CheckpointError(
            f"The tokenizer in {folder} lacks {', '.join(missing)}; use a checkpoint trained for STRIDE."
        )
    return tokenizer


class WeightFiles:
    """The tensors of a checkpoint's safetensors files, by their names without the prefixes that vary.

    Names begin with `text.`, `vision.` or are `lm_head.weight`.
    """

    _PREFIXES = (
        ("text.", ("model.language_model.", "language_model.model.", "language_model.", "model.")),
        ("vision.", ("model.visual.", "visual.")),
    )

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        from safetensors import SafetensorError, safe_open

        self._folder, self._device, self._dtype = folder, device, dtype
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise CheckpointError(
                f"{folder} has no safetensors weights; use a checkpoint saved as safetensors."
            )
        self._handles: dict[str, Any] = {}
        for file in files:
            try:
                handle = safe_open(str(file), framework="pt", device="cpu")
            except (SafetensorError, OSError) as error:
                raise CheckpointError(
                    f"{file} is damaged ({error}); copy or download the checkpoint again."
                ) from error
            keys: list[str] = handle.keys()  # type: ignore[no-untyped-call]
            self._handles.update(dict.fromkeys(keys, handle))

    def _key(self, name: str) -> str | None:
        for short, prefixes in self._PREFIXES:
            if name.startswith(short):
                keys = [prefix + name[len(short) :] for prefix in prefixes]
                return next((key for key in keys if key in self._handles), None)
        return name if name in self._handles else None

    def has(self, name: str) -> bool:
        """Whether the checkpoint holds this tensor."""
        return self._key(name) is not None

    def tensor(self, name: str, *shape: int) -> torch.Tensor:
        """One tensor, on the model's device and in its dtype; CheckpointError when it is not there so."""
        key = self._key(name)
        if key is None:
            raise CheckpointError(
                f"The weights in {self._folder} lack {name}; copy or download the checkpoint again."
            )
        value: torch.Tensor = self._handles[key].get_tensor(key)
        if tuple(value.shape) != shape:
            raise CheckpointError(
                f"{key} in {self._folder} has shape {tuple(value.shape)}, but config.json asks for {shape}; "
                "use the weights and the configuration of one checkpoint."
            )
        return value.to(device=self._device, dtype=self._dtype)
