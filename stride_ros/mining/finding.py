"""Find the recordings that paths name: bags and videos, folders of them, patterns, and lists of paths."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stride_ros.bags.files import METADATA, VIDEO_SUFFIXES, is_recording, storage_files
from stride_ros.bags.metadata import read_metadata
from stride_ros.errors import SourceError
from stride_ros.text.order import natural
from stride_ros.user_files.paths import given_path
from stride_ros.user_files.text import read_text

_LISTS = (".txt", ".list", ".lst")
_LARGEST_LIST = 64 * 2**20  # bytes
_MAGIC = "*?["


@dataclass(frozen=True)
class Recording:
    """A recording as it was given, and why it cannot be used if that is already known."""

    path: Path
    problem: str = ""

    @property
    def place(self) -> str:
        """Its location: the same for all ways to write the path."""
        return os.path.abspath(self.path)


def find_recordings(paths: Sequence[str | Path], out: Path) -> list[Recording]:
    """All recordings that `paths` name, each once, in the given order.

    A folder is searched recursively for bags and videos; a pattern such as "drives/*.mcap" stands for its
    matches; a .txt file has one path per line. An unreadable item of a list or folder is a recording with a
    problem. Raises SourceError for a path that does not exist, for a folder without recordings, and if `out`,
    the folder for the results, is inside a folder that is searched; ConfigError for a list that is not text.
    """
    found: dict[str, Recording] = {}
    for path in _expanded(paths):
        for recording in _in(path, out):
            found.setdefault(recording.place, recording)
    return list(found.values())


def _expanded(paths: Sequence[str | Path]) -> Iterator[Path]:
    for given in paths:
        path = given_path(given)
        if path.exists() or not any(letter in str(path) for letter in _MAGIC):
            yield path
            continue
        matches = sorted(glob.glob(str(path), recursive=True), key=natural)
        if not matches:
            raise SourceError(f"Nothing matches {path}; check the pattern.")
        yield from map(Path, matches)


def _searched(folder: Path, out: Path) -> Iterator[Recording]:
    """The recordings in a folder that was named."""
    if _inside(out, folder):
        raise SourceError(
            f"The results would be written to {out}, inside {folder}, which is searched for recordings; "
            "choose a folder outside it."
        )
    yield from _walk(folder, set())


def _inside(out: Path, folder: Path) -> bool:
    inner, outer = Path(os.path.realpath(out)), Path(os.path.realpath(folder))
    return inner == outer or outer in inner.parents


def _in(path: Path, out: Path) -> Iterator[Recording]:
    if path.is_dir():
        try:
            os.listdir(path)
        except OSError as error:
            raise SourceError(
                f"The folder {path} cannot be read ({error.strerror}); change its permissions."
            ) from error
        found = list(_searched(path, out))
        if not found:
            raise SourceError(f"The folder {path} contains no recordings; give one with bags or videos.")
        yield from found
    elif not path.exists():
        raise SourceError(f"There is no recording {path}; give a bag, a video, a folder of them or a list.")
    elif path.suffix.lower() in _LISTS:
        yield from _listed(path, out)
    else:
        yield _file(path)


def _file(path: Path) -> Recording:
    return Recording(path.parent if path.name == METADATA else path)


def _walk(folder: Path, seen: set[str]) -> Iterator[Recording]:
    """The recordings in a folder and its subfolders; links are followed, each folder once.

    A folder may be a recording and have others in it, as videos or in subfolders.
    """
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        recording = _as_one(folder)
        entries = sorted(folder.iterdir(), key=lambda entry: natural(entry.name))
    except OSError as error:
        yield Recording(folder, f"{folder} cannot be read ({error.strerror}); change its permissions.")
        return
    if recording is not None:
        yield recording
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, seen)
        elif entry.suffix.lower() in VIDEO_SUFFIXES or (
            recording is None and entry.name != METADATA and is_recording(entry)
        ):
            yield Recording(entry)


def _as_one(folder: Path) -> Recording | None:
    """The recording that the files of a folder make up, if they do: with metadata.yaml, or by their names."""
    files, metadata = storage_files(folder), folder / METADATA
    if files:
        named = all(file.name.startswith(f"{folder.name}_") for file in files)
        return Recording(folder) if named or metadata.is_file() else None
    missing = read_metadata(metadata).files if metadata.is_file() else ()
    if not missing:
        return None
    return Recording(
        folder,
        f"{folder} has none of the files that its metadata.yaml lists, such as {missing[0]}; copy them there,"
        " or remove metadata.yaml.",
    )


def _listed(file: Path, out: Path) -> Iterator[Recording]:
    """The paths of a list, as `find` or `ls` writes it: relative to here, or to the list's folder."""
    lines = read_text(file, _LARGEST_LIST).splitlines()
    paths = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not paths:
        raise SourceError(f"{file} lists no recordings; write one path per line.")
    for text in paths:
        path = Path(text) if Path(text).exists() else file.parent / text
        if not path.exists():
            yield Recording(Path(text), f"There is no recording {text}; correct the list {file}.")
        elif path.is_dir():
            found = list(_searched(path, out))
            problem = f"The folder {path} contains no recordings; correct the list {file}."
            yield from found or [Recording(path, problem)]
        else:
            yield _file(path)
