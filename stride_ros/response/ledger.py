"""A text file of lines that outlives its process: a torn line costs only itself, no link is followed."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

_LONGEST = 16 << 20  # bytes that are read of it; what is before them is too old to matter
_NEW = ".new"
_LEFT_BEHIND = 60.0  # s after which nobody writes to such a file any more


class Ledger:
    """Lines of text without control characters at `path`. Each call raises OSError for a file that cannot
    be used: its `strerror` says why.

    What was appended survives the end of the process, however it comes, though not a power cut. The folder is
    made as needed. Nothing but a regular file is opened, so that a FIFO holds nobody up, and nothing through
    another user's link to a folder. A file with another name, too, can only be replaced: what is appended to
    it would change the other one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[str]:
        """The lines, oldest first; none where there is no file. What is left of a line at the end is none."""
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
                raise OSError(0, "it has another name, too")
            if os.write(file, data) < len(data):
                raise OSError(0, "no space is left on the device")
        finally:
            os.close(file)

    def replace(self, lines: Iterable[str]) -> None:
        """Put these lines in place of all: whoever reads meanwhile sees either the old or the new ones."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._check_folder()
        with contextlib.suppress(FileNotFoundError):
            os.close(self._open(os.O_RDONLY))  # what is not a file of ours stays
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
        """Remove what processes left that were killed in the middle of `replace`."""
        for path in self.path.parent.glob(f"{glob.escape(self.path.name)}.*{_NEW}"):
            with contextlib.suppress(OSError):
                if path.lstat().st_mtime < time.time() - _LEFT_BEHIND:
                    path.unlink()

    def _check_folder(self) -> None:
        folder = self.path.parent.lstat()
        if stat.S_ISLNK(folder.st_mode) and folder.st_uid not in (0, os.geteuid()):
            raise OSError(0, "its folder is a link of another user")

    def _open(self, flags: int) -> int:
        self._check_folder()
        file = os.open(self.path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(0, "it is not a regular file")
        return file
