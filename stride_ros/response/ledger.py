"""A persistent text file of lines: an incomplete line does not affect others, and links are not followed."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

_LONGEST = 16 << 20  # maximum bytes read, from the end; anything earlier is too old to matter
_NEW = ".new"
_LEFT_BEHIND = 60.0  # s after which such a file is no longer being written


class Ledger:
    """Lines of text without control characters at `path`.

    Each call raises OSError for a file that cannot be used; its `strerror` says why.

    Appended lines survive any end of the process, but not a power failure. The folder is created as needed.
    Only regular files are opened, so that a FIFO cannot block, and not through another user's link to a
    folder. A file with a second name (a hard link) can only be replaced: appending to it would change the
    other file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[str]:
        """Read the lines, oldest first; none without a file. An incomplete line at the end is skipped."""
        try:
            file = self._open(os.O_RDONLY)
        except FileNotFoundError:
            return []
        with os.fdopen(file, "rb") as stream:
            start = max(0, os.fstat(file).st_size - _LONGEST)
            stream.seek(start)
            content = stream.read(_LONGEST)
        lines = content.split(b"\n")[1 if start else 0 : -1]
        return [line.decode("utf-8", "replace") for line in lines]

    def append(self, line: str) -> None:
        """Add a line."""
        data = f"{line}\n".encode()
        file = self._open(os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            if os.fstat(file).st_nlink > 1:
                raise OSError(0, "it has a second name (a hard link)")
            if os.write(file, data) < len(data):
                raise OSError(0, "no space is left on the device")
        finally:
            os.close(file)

    def replace(self, lines: Iterable[str]) -> None:
        """Replace all lines; a concurrent reader sees either the old or the new ones."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._check_folder()
        with contextlib.suppress(FileNotFoundError):
            os.close(self._open(os.O_RDONLY))  # a file that is not ours stays
        self._remove_leftovers()
        file, name = tempfile.mkstemp(_NEW, f"{self.path.name}.", self.path.parent)
        try:
            with os.fdopen(file, "w", encoding="utf-8") as stream:
                stream.writelines(f"{line}\n" for line in lines)
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _remove_leftovers(self) -> None:
        """Remove files left by processes that were killed during `replace`."""
        for path in self.path.parent.glob(f"{glob.escape(self.path.name)}.*{_NEW}"):
            with contextlib.suppress(OSError):
                if path.lstat().st_mtime < time.time() - _LEFT_BEHIND:
                    path.unlink()

    def _check_folder(self) -> None:
        folder = self.path.parent.lstat()
        if stat.S_ISLNK(folder.st_mode) and folder.st_uid not in (0, os.geteuid()):
            raise OSError(0, "its folder is another user's symbolic link")

    def _open(self, flags: int) -> int:
        self._check_folder()
        file = os.open(self.path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(0, "it is not a regular file")
        return file
