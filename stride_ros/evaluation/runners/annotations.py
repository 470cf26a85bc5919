"""Find and read the benchmarks' annotation files, and find their videos."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.user_files.json_file import read_json


def found(root: Path, given: Path | None, names: Sequence[str]) -> Path:
    """The path of the annotations: the given one, or the first of `names` in `root`. Raises SourceError."""
    if not root.is_dir():
        raise SourceError(f"{root} is not a folder; set --root to the folder of the benchmark's data.")
    if given is not None:
        if not given.exists():
            raise SourceError(f"{given} does not exist; set --annotations to the benchmark's file.")
        return given
    for name in names:
        if (root / name).exists():
            return root / name
    raise SourceError(f"{root} has no {' or '.join(names)}; set --annotations to the annotations.")


def read_list(path: Path) -> list[Any]:
    """The items of an annotation file. Raises SourceError and ConfigError."""
    value, _ = read_json(path)
    if not isinstance(value, list):
        raise ConfigError(f"{path} is not a list of annotations; give the benchmark's own file.")
    return value


def digest(*paths: Path) -> str:
    """A digest that distinguishes annotation files with the same name."""
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def under(root: Path, name: str) -> Path:
    """The path of a video from its name in the annotations; ConfigError if it leads out of the folder."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ConfigError(f"The video {name!r} is not below --root; correct the annotations.")
    return root / path


def part_of(items: Sequence[Any], part: tuple[int, int]) -> Sequence[Any]:
    """The `part[0]`-th of `part[1]` contiguous parts, counted from 1; the first ones get the remainder."""
    number, parts = part
    size, over = divmod(len(items), parts)
    start = size * (number - 1) + min(number - 1, over)
    return items[start : start + size + (number <= over)]
