"""Read what benchmark runs store: JSON, lines of JSON, and databases of Python's `shelve`.

A `shelve` contains pickles, which can run code when they are read. This reader returns only plain values:
dicts, lists, texts, numbers, and NumPy's scalars.
"""

from __future__ import annotations

import dbm
import io
import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError, SourceError, StrideError
from stride_ros.text.wording import counted
from stride_ros.user_files.json_file import LARGEST, parse_json, read_json
from stride_ros.user_files.text import read_text

METADATA = "_metadata"  # the key in a database for the settings of the run
SHELVE_SUFFIXES = (".db", ".dir", ".dat", ".bak", ".pag")
_KEY, _VALUE = "_key", "_value"
_SQLITE = "SQLite"
_ENTRIES = 200_000
_ENTRY = 2**20  # bytes


def result_files(path: str | Path) -> list[Path]:
    """The file itself, or the .json and .jsonl files of a folder, by name. Raises SourceError."""
    path = Path(path)
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix in (".json", ".jsonl"))
    if not found:
        raise SourceError(f"{path} has no .json or .jsonl file; give the folder or file with the results.")
    return found


def read_objects(path: str | Path) -> tuple[list[Any], list[str]]:
    """The items of a JSON list, or of a file with one JSON value per line, and notes on skipped lines.

    Raises SourceError, and ConfigError if it is neither.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        return _read_lines(path)
    value, _ = read_json(path)
    if not isinstance(value, list):
        raise ConfigError(f"{path} is not a JSON list; give the file that the run wrote.")
    return value, []


def read_database(path: str | Path) -> tuple[dict[str, Any], list[str]] | None:
    """Entries by key of a database in JSON lines or `shelve`, and notes; None for other files.

    `path` may be the name without its suffix. Raises SourceError and ConfigError.
    """
    path = Path(path)
    lines = path.with_name(path.name + ".jsonl")
    if path.suffix == ".jsonl" or (not path.exists() and lines.exists()):
        return _database_of_lines(path if path.suffix == ".jsonl" else lines)
    if path.suffix == ".json":
        return None
    stem = path.with_suffix("") if path.suffix in SHELVE_SUFFIXES else path
    for name in (path, stem):  # some kinds of dbm add suffixes to the given name
        kind = _kind(name)
        if kind:
            return _shelve(name, kind)
    if not path.exists():
        raise SourceError(f"{path} cannot be read (No such file or directory); check the name.")
    raise ConfigError(f"{path} is not a database that Python can open; give the file that the run wrote.")


def _read_lines(path: Path) -> tuple[list[Any], list[str]]:
    found: list[Any] = []
    notes: list[str] = []
    for number, line in enumerate(read_text(path, LARGEST).split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(parse_json(line, str(path), number))
        except ConfigError as error:
            notes.append(str(error).removesuffix("; correct it.") + "; the line is left out.")
    return found, notes


def _database_of_lines(path: Path) -> tuple[dict[str, Any], list[str]] | None:
    objects, notes = _read_lines(path)
    if any(isinstance(item, dict) and "task" in item for item in objects):
        return None  # samples with their answers, one per line
    entries: dict[str, Any] = {}
    odd = doubles = 0
    for item in objects:
        if isinstance(item, dict) and METADATA in item:
            continue
        if not isinstance(item, dict) or not isinstance(item.get(_KEY), str) or _VALUE not in item:
            odd += 1
            continue
        doubles += item[_KEY] in entries
        entries[item[_KEY]] = item[_VALUE]
    if not entries:
        raise ConfigError(f"{path} has no line with {_KEY} and {_VALUE}; give the file that the run wrote.")
    if odd:
        number = counted(odd, "line")
        notes.append(f"{path} has {number} without {_KEY} and {_VALUE}, left out here.")
    if doubles:
        notes.append(f"{path} has {counted(doubles, 'prediction')} twice; the last of each counts.")
    return entries, notes


def _kind(path: Path) -> str | None:
    """What kind of database a `shelve` is, if it is one."""
    with suppress(OSError), path.open("rb") as file:
        if file.read(16) == b"SQLite format 3\0":
            return _SQLITE
    return dbm.whichdb(str(path))


def _stored(path: Path, kind: str) -> Iterator[tuple[bytes | str, bytes]]:
    if kind == _SQLITE:  # dbm of Python 3.13 leaves files next to it, and earlier ones cannot read it
        still = "&immutable=1" if not path.with_name(path.name + "-wal").exists() else ""
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{still}", uri=True)) as opened:
            yield from opened.execute("SELECT key, value FROM Dict")
        return
    with dbm.open(str(path), "r") as database:
        for key in database.keys():  # noqa: SIM118 - not all kinds can be iterated over
            yield key, database[key]


def _shelve(path: Path, kind: str) -> tuple[dict[str, Any], list[str]]:
    entries: dict[str, Any] = {}
    bad = 0
    try:
        for number, (key, data) in enumerate(_stored(path, kind)):
            if number >= _ENTRIES:
                raise ConfigError(f"{path} has more than {_ENTRIES:,} entries; give the right file.")
            try:
                name = key if isinstance(key, str) else key.decode("utf-8")
                if name != METADATA:
                    entries[name] = _unpickled(data)
            except (UnicodeDecodeError, _NotPlain):
                bad += 1
    except StrideError:
        raise
    except ImportError as error:
        raise SourceError(
            f"{path} is a database of {kind}, which this Python does not support; convert it to JSON lines."
        ) from error
    except Exception as error:  # each kind of dbm has its own, and a damaged file raises almost anything
        raise SourceError(f"{path} cannot be read as a database of {kind} ({error}); check it.") from error
    if not entries:
        raise ConfigError(f"{path} has no predictions; give the database that the run wrote.")
    odd = f"{counted(bad, 'entry', 'entries')} of other kinds than numbers, texts, lists and objects"
    return entries, [f"{path} has {odd}, left out here."] if bad else []


class _NotPlain(Exception):
    pass


class _Plain(pickle.Unpickler):
    """Unpickles only values that need no module, and NumPy's scalars."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "scalar":
            return _number
        if (module, name) == ("numpy", "dtype"):
            return _DtypeName
        raise _NotPlain(f"{module}.{name}")


class _DtypeName:
    """Stands in for numpy.dtype, which is created from its name and then given a state."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name = name
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]


def _number(dtype: Any, data: Any) -> Any:
    import numpy as np

    if not isinstance(dtype, _DtypeName) or not isinstance(data, bytes):
        raise _NotPlain("no number")
    try:
        kind = np.dtype(dtype.name)
    except TypeError as error:
        raise _NotPlain(str(dtype.name)) from error
    if kind.kind not in "fiub" or kind.itemsize != len(data):
        raise _NotPlain(str(dtype.name))
    return np.frombuffer(data, kind.newbyteorder(">" if dtype.order == ">" else "<"))[0].item()


def _unpickled(data: bytes) -> Any:
    if len(data) > _ENTRY:
        raise _NotPlain("too large")
    try:
        return _Plain(io.BytesIO(data)).load()
    except _NotPlain:
        raise
    except Exception as error:  # a damaged pickle can raise almost anything
        raise _NotPlain(str(error)) from error


def each_file(files: list[Path]) -> Iterator[tuple[Path, Any, str]]:
    """Each JSON file with its value, or with None and a sentence on why it is left out."""
    for file in files:
        try:
            yield file, read_json(file)[0], ""
        except StrideError as error:
            yield file, None, str(error)
