"""Find the safetensors files with a checkpoint's weights, and read their headers, without torch.

An index decides; without one it is model.safetensors, then the only set of shards, then the only file. Other
weights in the folder (an older training, another format) are named in the log and never read.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from stride_ros.errors import CheckpointError
from stride_ros.qwen3_vl.files import read_object, refuse_pointer
from stride_ros.text.foreign import visible

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_LOG = logging.getLogger(__name__)
_AGAIN = "copy or download the checkpoint again"
_SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)\.safetensors")
_OTHERS = ("*.safetensors", "pytorch_model*.bin", "*.gguf")
_LONGEST_HEADER = 100_000_000  # bytes, as in the library

Tensors = dict[str, tuple[str, tuple[int, ...]]]  # dtype and shape by name


@dataclass(frozen=True)
class WeightMap:
    """The weights of a checkpoint: the file of each tensor, and each tensor's dtype and shape.

    unread: names of other weight files in the folder; overlap: a tensor that is also in a file that the index
    does not name for it, or "".
    """

    folder: Path
    files: Mapping[str, Path]
    tensors: Tensors
    unread: tuple[str, ...]
    overlap: str


def map_weights(folder: Path) -> WeightMap:
    """Find the weights of a checkpoint. CheckpointError if files are missing, damaged or ambiguous."""
    index = _find_index(folder)
    named = _indexed(folder, index) if index else {}
    chosen = sorted(set(named.values())) if index else _unindexed(folder)
    files: dict[str, Path] = {}
    tensors: Tensors = {}
    overlap = ""
    for file in chosen:
        held = read_header(file)
        wanted = [name for name, place in named.items() if place == file] if index else list(held)
        lacking = next((name for name in wanted if name not in held), None)
        if lacking is not None:
            raise CheckpointError(f"{file} lacks {lacking}, which {index} says it holds; {_AGAIN}.")
        twice = next((name for name in wanted if name in files), None)
        if twice is not None:
            raise CheckpointError(
                f"{files[twice]} and {file} both hold {twice}; keep the files of one checkpoint only."
            )
        overlap = next((name for name in held if named.get(name, file) != file), overlap)
        files.update(dict.fromkeys(wanted, file))
        tensors.update((name, held[name]) for name in wanted)
    beside = {file for pattern in _OTHERS for file in folder.glob(pattern)} - set(chosen)
    unread = tuple(sorted(file.name for file in beside))
    if unread:
        read = ", ".join(file.name for file in chosen[:3]) + (", ..." if len(chosen) > 3 else "")
        _LOG.warning("Weights in %s are those of %s; not read: %s.", folder, read, ", ".join(unread))
    return WeightMap(folder, files, tensors, unread, overlap)


def _find_index(folder: Path) -> Path | None:
    """The index with the usual name, or with another name if nothing else determines the weights."""
    if (folder / INDEX).is_file():
        return folder / INDEX
    others = sorted(file for file in folder.glob("*.safetensors.index.json") if file.is_file())
    return others[0] if len(others) == 1 and not (folder / SINGLE).is_file() else None


def _indexed(folder: Path, index: Path) -> dict[str, Path]:
    """The file of each tensor according to the index."""
    content = read_object(index).get("weight_map")
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{index} has no weight_map, so it names no file of weights; {_AGAIN}.")
    files: dict[object, Path] = {}
    for value in content.values():
        if isinstance(value, str) and value in files:
            continue
        path = PurePath(value) if isinstance(value, str) else PurePath("/")
        if path.is_absolute() or ".." in path.parts or path.suffix != ".safetensors":
            raise CheckpointError(
                f"{index} names {value!r}, which is not a safetensors file in the same folder; {_AGAIN}."
            )
        if not os.path.isfile(folder / path):  # pathlib raises for names that are too long
            raise CheckpointError(
                f"{folder} lacks {visible(value, 200)}, which {index.name} names; {_AGAIN}."
            )
        files[value] = folder / path
    return {name: files[value] for name, value in content.items()}


def _unindexed(folder: Path) -> list[Path]:
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    found = [file for file in sorted(folder.glob("*.safetensors")) if file.is_file()]
    files = [file for file in found if not file.name.startswith("adapter_")]
    if found and not files:
        raise CheckpointError(
            f"{folder} holds an adapter ({found[0].name}) and no model; merge the adapter into the model it "
            "was trained on and pass the merged checkpoint."
        )
    if not files:
        raise CheckpointError(
            f"{folder} has no safetensors weights, and only safetensors are read; download the checkpoint "
            "completely or convert it."
        )
    sets: dict[tuple[str, int], list[Path]] = {}
    for file in files:
        if match := _SHARD.fullmatch(file.name):
            sets.setdefault((match[1], int(match[3])), []).append(file)
    if len(sets) == 1:
        ((stem, count), shards) = next(iter(sets.items()))
        if len(shards) != count:
            raise CheckpointError(
                f"{folder} holds {len(shards)} of the {count} files {stem}-*.safetensors; {_AGAIN}."
            )
        return shards
    if len(files) > 1:
        raise CheckpointError(
            f"{folder} has no {SINGLE} or index to say which of {', '.join(f.name for f in files[:5])} are "
            "its weights; keep the files of one checkpoint only, with their index."
        )
    return files


def read_header(file: Path) -> Tensors:
    """Read dtypes and shapes in a safetensors file. CheckpointError if it is cut off or something else."""
    refuse_pointer(file)
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 + length or size < 8:
                kind = "it is cut off" if length <= _LONGEST_HEADER else "it is not a safetensors file"
                raise ValueError(f"{kind}, {size} bytes long")
            if length > _LONGEST_HEADER:
                raise ValueError("it is not a safetensors file")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        tensors = {
            str(name): (str(entry["dtype"]), tuple(int(n) for n in entry["shape"]))
            for name, entry in header.items()
        }
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
        if size < end:
            raise ValueError(f"it is cut off, with {size} of {end} bytes")
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged and cannot be loaded ({error}); {_AGAIN}.") from error
    return tensors
