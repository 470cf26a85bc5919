"""Read files of a checkpoint, with a clear error if they are not what their names say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stride_ros.errors import CheckpointError, about_path

_POINTER = b"version https://git-lfs.github.com/spec/"
_TEXTS = {".json", ".jinja", ".txt", ".model"}
_LONGEST = 64 * 2**20  # bytes of JSON; the index of the largest published models takes a few MB


@contextmanager
def reachable() -> Iterator[None]:
    """Raise CheckpointError if the system does not even let us look whether a file or folder exists."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(about_path(error) or f"{error}; pass another directory.") from error


def refuse_pointer(file: Path) -> None:
    """Raise CheckpointError if a clone without Git LFS left a pointer in place of this file."""
    try:
        with file.open("rb") as stream:
            start = stream.read(len(_POINTER))
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error.strerror}); check its permissions.") from error
    if start == _POINTER:
        raise CheckpointError(
            f"{file} is a Git LFS pointer in place of the file itself; run `git lfs pull` in its directory "
            "or download the checkpoint again."
        )


def refuse_pointers(folder: Path) -> None:
    """Raise CheckpointError if a configuration, tokenizer or chat template file is a pointer."""
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be read ({error.strerror}); check its permissions."
        ) from error
    for file in files:
        if file.suffix in _TEXTS and file.is_file():
            refuse_pointer(file)


def read_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file of a checkpoint. CheckpointError if it contains something else."""
    refuse_pointer(file)
    try:
        if file.stat().st_size > _LONGEST:
            raise ValueError(f"it has {file.stat().st_size} bytes")
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{file} cannot be read ({_first_line(error)}); copy or download the checkpoint again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{file} cannot be read (it holds a {type(content).__name__} instead of an object); copy or "
            "download the checkpoint again."
        )
    return content


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
