"""Digests of the content of files; a file that has not changed since it was read is not read again."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

from stride_ros.bags.files import METADATA, storage_files
from stride_ros.errors import SourceError

_PART = 1 << 22  # bytes

Seen = tuple[int, int, int, str]  # size, modification time (ns), inode, digest


class Contents:
    """Digests of files. `seen`: those of earlier runs, by path; `fresh`: those read since.

    Thread-safe.
    """

    def __init__(self, seen: dict[str, Seen] | None = None) -> None:
        self._seen = seen or {}
        self._lock = threading.Lock()
        self._fresh: dict[str, Seen] = {}

    def take_fresh(self) -> dict[str, Seen]:
        """Return what was read since the last call."""
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        return fresh

    def of_recording(self, path: Path) -> str:
        """The digest of all files of a recording; SourceError if one cannot be read."""
        try:
            files = [path]
            if path.is_dir():
                metadata = path / METADATA
                files = [*([metadata] if metadata.is_file() else []), *storage_files(path)]
            return self.of(files)
        except OSError as error:
            raise SourceError(f"{path} cannot be read ({error.strerror}); check the file.") from error

    def of(self, files: Iterable[Path]) -> str:
        """The digest of these files in their order. Raises OSError, and SourceError for a pipe or device."""
        whole = hashlib.sha256()
        for file in files:
            whole.update(self._of_file(file).encode())
        return whole.hexdigest()

    def _of_file(self, file: Path) -> str:
        place = os.path.abspath(file)
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for a writer, perhaps for ever
            raise SourceError(f"{file} is not a regular file; remove it.")
        state = (status.st_size, status.st_mtime_ns, status.st_ino)
        known = self._seen.get(place)
        if known is not None and tuple(known[:3]) == state:
            return known[3]
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            while part := opened.read(_PART):
                digest.update(part)
        found = (*state, digest.hexdigest())
        with self._lock:
            self._seen[place] = self._fresh[place] = found
        return found[3]


def model_files(folder: Path) -> list[Path]:
    """The files of a model that its results depend on, in order."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".jinja"))
