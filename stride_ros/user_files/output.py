"""Write files of commands so that they are either complete under their name or absent."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

from stride_ros.errors import ConfigError, SourceError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SPECIAL = ("/dev/", "/proc/")  # names of devices and of what is open already, which must not be replaced
_BESIDE = re.compile(r"\..{0,50}\.[0-9a-f]{16}(\.[^.]*)?")  # see `unfinished_name`
_BAG_FILES = (".mcap", ".db3", ".yaml")  # suffixes of what a rosbag2 folder consists of
_OPEN = re.compile(r"/dev/std(out|err)|(?:/dev/fd|/proc/self/fd)/(\d+)")


def refuse_same_files(
    outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | Sequence[Path] | None]
) -> None:
    """Raise ConfigError if a command would write two outputs to one file, or an output onto an input.

    Keys are options as the user knows them (`--json`), or words such as "the recording"; None is an option
    that was not given, and an input may be several files. Pipes and devices may be named repeatedly.
    """
    written = [(name, path) for name, path in outputs.items() if path is not None and _is_replaced(path)]
    for (one, path), (other, second) in combinations(written, 2):
        if _is_same(path, second):
            raise ConfigError(f"{one} and {other} both name {path}; use different files.")
    for name, path in written:
        for source, read in _pairs(inputs):
            if (same := _is_same(path, read)) or _is_part(path, read):
                relation = "is" if same else "belongs to"
                what = f"{source} reads" if source.startswith("-") else f"{relation} {source}"
                raise ConfigError(f"{name} names {path}, which {what}; write to another file.")


def _pairs(inputs: Mapping[str, Path | Sequence[Path] | None]) -> Iterator[tuple[str, Path]]:
    for name, given in inputs.items():
        for path in [given] if isinstance(given, Path) else given or ():
            yield name, path


def _is_replaced(path: Path) -> bool:
    """Whether writing to this path replaces what was there, unlike a pipe or device."""
    ordinary = not os.path.exists(path) or os.path.isfile(path) or os.path.isdir(path)
    return ordinary and not str(path).startswith(_SPECIAL)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them does not exist yet
        return os.path.realpath(one) == os.path.realpath(other)


def _is_part(path: Path, folder: Path) -> bool:
    """Whether this is a file that a recorded bag consists of."""
    if not os.path.isfile(path) or not os.path.isfile(folder / "metadata.yaml"):
        return False
    target = Path(os.path.realpath(path))
    return target.suffix in _BAG_FILES and _is_same(target.parent, folder)


def is_stdout(path: object) -> bool:
    """Whether a file is written to standard output, which must then have nothing else."""
    match = _OPEN.fullmatch(str(path)) if isinstance(path, Path) else None
    return match is not None and (match[1] == "out" or match[2] == "1")


def write_whole(path: str | Path, data: str | bytes) -> None:
    """Write a file atomically: an existing file stays until the new one is complete.

    Text is written as UTF-8; characters that are not valid text, as in a file name such as "\\udce4", stay
    escaped. Pipes and devices are written to directly. Raises SourceError.
    """
    with whole_file(path) as beside:
        beside.write_bytes(data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary file with the same suffix, which replaces `path` at the end of the block.

    After an error in the block it is removed. Raises SourceError if either cannot be written.
    """
    try:
        special = _is_special(path)
        target = Path(path) if special else Path(os.path.realpath(path))
        beside = _new_file(Path(tempfile.gettempdir()) if special else target.parent, target)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield beside
        if special:
            _send(beside, target)
        else:
            _put(beside, target)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        beside.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder that nobody else writes to. SourceError."""
    try:
        for path in folder.iterdir():
            if _BESIDE.fullmatch(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, unless they exist. Raises SourceError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(path: str | Path, error: OSError) -> SourceError:
    """The sentence for an error of the operating system."""
    room = "free some space there, or " if error.errno in FULL else ""
    return SourceError(f"{path} cannot be written ({error.strerror or error}); {room}choose another place.")


def _is_special(path: str | Path) -> bool:
    """Whether this is a pipe or a device. OSError for a directory."""
    if str(path).startswith(_SPECIAL):
        return True
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return not stat.S_ISREG(mode)


def unfinished_name(target: Path) -> str:
    """A name beside `target` that nobody foresees, and that `remove_unfinished` knows."""
    return f".{target.stem[:50]}.{secrets.token_hex(8)}{target.suffix}"


def _new_file(folder: Path, target: Path) -> Path:
    """Create an empty file with an unpredictable name, and the permissions of `target` or of new files."""
    path = folder / unfinished_name(target)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
    return path


def _put(beside: Path, target: Path) -> None:
    if target.exists():
        beside.chmod(stat.S_IMODE(target.stat().st_mode))
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(beside, target)


def _send(source: Path, target: Path) -> None:
    """Copy to a pipe or device; a pipe without a reader is an error instead of an endless wait."""
    if match := _OPEN.fullmatch(str(target)):
        # Opening it by this name would start at the beginning of a file to which output is redirected.
        descriptor = os.dup({"out": 1, "err": 2}.get(match[1]) or int(match[2]))
    else:
        descriptor = os.open(target, os.O_WRONLY | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "wb") as file:
        file.write(source.read_bytes())
