"""Find the storage files of a recording, and open them by their content."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import TemporaryDirectory

from stride_ros.bags import mcap_file, ros1_file, sqlite_file
from stride_ros.bags.compression import kind_of, unpack_file
from stride_ros.bags.metadata import Metadata, read_metadata
from stride_ros.bags.storage import Storage, StorageError
from stride_ros.errors import SourceError
from stride_ros.text.order import natural
from stride_ros.text.wording import counted

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm")  # of videos, which may be given in place of a bag
SUFFIXES = (".mcap", ".db3", ".bag")
_PACKED = (".zstd", ".zst", ".lz4")
_UNFINISHED = ".active"  # ROS 1's name for a bag that is being written
METADATA = "metadata.yaml"
_ARCHIVES = {
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"PK\3\4": "a zip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
}
_MOST_LAYERS = 3  # layers of compression: the recorder's, and others added for transfer


def is_recording(path: Path) -> bool:
    """Whether a path looks like a recording: a folder with storage files, such a file or metadata.yaml."""
    if path.is_dir():
        return (path / METADATA).is_file() or bool(storage_files(path))
    return path.name == METADATA or _stem(path) is not None


def storage_files(folder: Path) -> list[Path]:
    """The storage files of a folder, _2 before _10; one that exists both compressed and plain counts once."""
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir(), key=lambda file: (len(file.name), file.name)):
        name = _plain_name(file)
        if name is not None and file.is_file():
            files.setdefault(name, file)
    return sorted(files.values(), key=lambda file: natural(_plain_name(file) or ""))


def open_recording(path: Path, stack: ExitStack) -> tuple[list[Storage], list[str]]:
    """Open all files of a recording, to be closed by `stack`; return them and notes on what is odd.

    Raises SourceError if none can be read.
    """
    if path.name == METADATA:
        path = path.parent
    metadata: Metadata | None = None
    notes: list[str] = []
    if path.is_dir():
        metadata = read_metadata(path / METADATA) if (path / METADATA).exists() else None
        files = _chosen(path, metadata, notes)
    elif path.is_file():
        files = [path]
    else:
        raise SourceError(f"{path} is neither a file nor a folder; give a recording.")
    storages: list[Storage] = []
    failed: list[str] = []
    for file in files:
        try:
            storage = _open(file, stack, notes)
        except (StorageError, OSError) as error:
            failed.append(f"{file.name} cannot be read ({_reason(error)})")
            continue
        stack.callback(storage.close)
        storages.append(storage)
        if len(files) > 1:
            storage.rest()
    if not storages:
        if path.is_file():
            raise SourceError(f"{path}{failed[0].removeprefix(path.name)}; check that it is a recording.")
        raise SourceError(f"{path} cannot be read: {'; '.join(failed)}; check that it is a recording.")
    notes += [f"{text}; it was left out." for text in failed]
    if metadata is not None and not failed and not metadata.problem:
        notes += _differences(metadata, storages)
    return storages, notes


def _chosen(folder: Path, metadata: Metadata | None, notes: list[str]) -> list[Path]:
    """The files of the recording in a folder: those in metadata.yaml, and splits that it does not list."""
    present = storage_files(folder)
    if not present:
        below = sorted(sub.name for sub in folder.iterdir() if sub.is_dir() and storage_files(sub))
        if below:
            raise SourceError(
                f"{folder} contains no recording itself, but {counted(len(below), 'folder')} with one; give "
                f"one of them, such as {folder / below[0]}, or watch all of them with `stride-ros mine`."
            )
        raise SourceError(
            f"{folder} contains no recording; give a folder with .mcap or .db3 files, or a .bag file."
        )
    if metadata is None:
        if not any(file.suffix in (".bag", _UNFINISHED) for file in present):
            notes.append("metadata.yaml is missing; the storage files were read directly.")
        return present
    if metadata.problem:
        notes.append(f"metadata.yaml {metadata.problem}; the storage files were read directly.")
    there = {_plain_name(file): file for file in present}
    known, missing = [], []
    for path in metadata.files:
        # Recorders write paths of their machine, and file names here may contain the path separator of
        # Windows.
        names = (PurePosixPath(path).name, PureWindowsPath(path).name)
        found = next((there[plain] for plain in map(_plain, names) if plain in there), None)
        if found is None:
            missing.append(names[1])
        else:
            known.append(found)
    if missing:
        notes.append(
            f"metadata.yaml lists {_list(missing)}, which {'is' if len(missing) == 1 else 'are'} missing."
        )
    if not known:
        return present
    bases = {_base(file) for file in known}
    splits = [file for file in present if file not in known and _base(file) in bases]
    others = [file for file in present if file not in known and file not in splits]
    if splits:
        notes.append(f"metadata.yaml does not list {_list([file.name for file in splits])}; it was read too.")
    if others:
        notes.append(
            f"{_list([file.name for file in others])} is not in metadata.yaml and was left out; give its"
            " own path to read it."
        )
    return [file for file in present if file in known or file in splits]


def _open(file: Path, stack: ExitStack, notes: list[str], layers: int = 0) -> Storage:
    with file.open("rb") as opened:
        head = opened.read(16)
    if not head:
        raise StorageError("it is empty")
    kind = kind_of(head)
    if kind:
        if layers == _MOST_LAYERS:
            raise StorageError(f"it is compressed more than {_MOST_LAYERS} times")
        folder = stack.enter_context(TemporaryDirectory(prefix="stride_ros_"))
        unpacked = Path(folder) / (_plain_name(file) or file.name)
        try:
            reason = unpack_file(file, unpacked, kind)
        except BaseException:
            unpacked.unlink(missing_ok=True)  # the next file may need the space
            raise
        if reason and not unpacked.stat().st_size:
            raise StorageError(reason)
        if reason:
            notes.append(f"{file.name} is damaged ({reason}); what comes before the damage was used.")
        return _open(unpacked, stack, notes, layers + 1)
    if head.startswith(mcap_file.MAGIC):
        return mcap_file.McapFile(file)
    if head.startswith(sqlite_file.MAGIC):
        return sqlite_file.SqliteFile(file)
    if head.startswith(ros1_file.MAGIC):
        return ros1_file.Ros1File(file)
    if archive := next((name for magic, name in _ARCHIVES.items() if head.startswith(magic)), None):
        raise StorageError(f"it is {archive}; unpack it first")
    raise StorageError("it is not an MCAP file, a rosbag2 database or a ROS 1 bag")


def _differences(metadata: Metadata, storages: Sequence[Storage]) -> list[str]:
    count = sum(channel.count for storage in storages for channel in storage.channels)
    spans = []
    for storage in storages:
        if (span := storage.span()) is not None:
            spans.append(span)
        if len(storages) > 1:
            storage.rest()
    start, end = min((span[0] for span in spans), default=0), max((span[1] for span in spans), default=0)
    found = metadata.differences(count, start, end - start)
    return [f"metadata.yaml differs from the files ({', '.join(found)}); they were read."] if found else []


def _stem(file: Path) -> str | None:
    """The name of a storage file without its suffixes; None for other files."""
    name = file.name
    for ending in (*_PACKED, _UNFINISHED):
        name = name.removesuffix(ending)
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), None)


def _plain_name(file: Path) -> str | None:
    """The name of a storage file without compression suffix; None for other files."""
    return None if _stem(file) is None else _plain(file.name)


def _plain(name: str) -> str:
    for ending in _PACKED:
        name = name.removesuffix(ending)
    return name


def _base(file: Path) -> tuple[str, str]:
    """What the splits of a recording have in common: the name without its number, and the kind."""
    plain = Path(_plain(file.name))
    return re.sub(r"_\d+$", "", plain.stem), plain.suffix


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip().rstrip(".")
    return text.splitlines()[0] if text else type(error).__name__
