"""Find a checkpoint, read its configuration and tokenizer; errors name their remedy."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stride_ros.errors import CheckpointError
from stride_ros.process.share import share_folders
from stride_ros.qwen3_vl import quantised
from stride_ros.qwen3_vl.architecture import Architecture, check_architecture, parse_architecture
from stride_ros.qwen3_vl.download import download
from stride_ros.qwen3_vl.files import reachable, read_object, refuse_pointers
from stride_ros.qwen3_vl.tokenizer import load_tokenizer, panics_told

EMBEDDED = "stride-tiny"
BEYOND_EMBEDDED = (
    f"{EMBEDDED} only knows the synthetic world: on footage of anything else its answers are no better than "
    "chance. Give a STRIDE checkpoint with --model, or teach it your events with `stride-ros train`."
)
SLOT_TOKENS = ("<inactive>", "<active>", "<activation>")  # in the order of the labels 0, 1 and masked
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def find(source: str | os.PathLike[str], example: str = "interlive/STRIDE-2B") -> Path:
    """The folder of a checkpoint: a local directory, `stride-tiny`, or a repo id (downloaded once).

    `example` is the repo id that errors name. Raises CheckpointError.
    """
    name = os.fspath(source)
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:  # ~ with the name of no user
        raise CheckpointError(f"The checkpoint {name} cannot be found ({error}); pass its path.") from error
    with reachable():
        if name == EMBEDDED and not (path / "config.json").is_file():
            return _find_embedded()
        if name and path.is_dir():
            return path
        if name and path.exists():
            raise CheckpointError(
                f"The checkpoint {name} is not a directory; pass the directory that holds config.json."
            )
    if _REPO_ID.fullmatch(name):
        return download(name)
    raise CheckpointError(
        f"There is no checkpoint directory {name!r}; pass an existing directory, '{EMBEDDED}' or a "
        f"Hugging Face repo id such as {example}."
    )


def _find_embedded() -> Path:
    for root in share_folders():
        folder = root / "models" / EMBEDDED
        if (folder / "config.json").is_file():
            return folder
    raise CheckpointError(
        f"The embedded checkpoint '{EMBEDDED}' is not installed; rebuild and source the workspace, or pass a "
        "checkpoint directory."
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The content of config.json. CheckpointError if it is missing, broken or not of a Qwen3-VL model."""
    raw = read_object(config_file(folder))
    if raw.get("model_type") != "qwen3_vl":
        raise CheckpointError(
            f"{folder} holds a {raw.get('model_type')!r} model; use a Qwen3-VL checkpoint, whose model_type "
            "is qwen3_vl."
        )
    quantised.refuse(folder, quantised.configured(raw))
    return raw


def config_file(folder: Path) -> Path:
    """The config.json of a checkpoint. CheckpointError if there is none."""
    file = folder / "config.json"
    with reachable():
        if file.is_file():
            return file
        # Hugging Face's cache has a folder for a repository, with a checkpoint for each revision in it.
        revisions = [found.parent for found in folder.glob("snapshots/*/config.json")]
        revisions += [found.parent for found in folder.glob("*/config.json") if folder.name == "snapshots"]
    if revisions:
        raise CheckpointError(
            f"{folder} is a folder of the Hugging Face cache; pass that of a revision, like {revisions[0]}."
        )
    raise CheckpointError(f"{folder} has no config.json; pass the directory of a checkpoint.")


def read_architecture(folder: Path) -> Architecture:
    """Read config.json. CheckpointError if it is missing, broken, impossible or not of a STRIDE model."""
    raw = read_config(folder)
    if "trigger_window_past" not in raw:
        raise CheckpointError(
            f"{folder / 'config.json'} has no trigger_window_past; use a checkpoint trained for STRIDE, not "
            "a plain Qwen3-VL."
        )
    return usable_architecture(raw, folder / "config.json")


def usable_architecture(raw: Mapping[str, Any], file: Path) -> Architecture:
    """Parse the content of `file`; CheckpointError names what is wrong."""
    try:
        architecture = parse_architecture(raw)
        check_architecture(architecture)
    except ValueError as error:
        raise CheckpointError(
            f"{file} is not a usable Qwen3-VL configuration ({error}); download it again."
        ) from error
    return architecture


def check_rows(tokenizer: Any, rows: int, folder: Path) -> None:
    """Raise CheckpointError if the tokenizer has a token without a row in the embedding."""
    token, last = max(tokenizer.get_vocab().items(), key=lambda item: item[1], default=("", -1))
    if last >= rows:
        raise CheckpointError(
            f"The tokenizer in {folder} has tokens up to {last} ({token!r}), but vocab_size in config.json "
            f"gives the embedding {rows} rows; use the tokenizer and the weights of one checkpoint."
        )


def read_tokenizer(folder: Path) -> Any:
    """Load the checkpoint's tokenizer. CheckpointError if it lacks the slot tokens or a chat template."""
    refuse_pointers(folder)
    try:
        with panics_told():
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
