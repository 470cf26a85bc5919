"""Whether an open log still has its name: others may delete, move or replace its file meanwhile."""

from __future__ import annotations

import ctypes
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stride_ros.events.database import EventLogError, files_beside

_File = tuple[int, int]  # device and number of a file, which it keeps when it is moved


@dataclass(frozen=True)
class Identity:
    """The files that a log consisted of when it was opened."""

    path: Path
    file: _File | None
    beside: tuple[_File | None, ...]  # SQLite's files next to it

    @classmethod
    def of(cls, path: Path) -> Identity:
        """The files that have the names of a log now."""
        return cls(path, _file(path), tuple(map(_file, files_beside(path))))

    @property
    def holds(self) -> bool:
        """Whether the file, and those next to it if there were any, still have their names."""
        if self.file is None or _file(self.path) != self.file:
            return False
        pairs = zip(files_beside(self.path), self.beside, strict=True)
        return all(ours is None or _file(name) == ours for name, ours in pairs)

    def close(self, connection: sqlite3.Connection) -> None:
        """Close the writer's connection; a file that was moved is then complete where it is now."""
        if self.holds:
            connection.close()
            return
        with suppress(sqlite3.Error):
            connection.rollback()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        names = files_beside(self.path)
        if any(_file(name) not in (ours, None) for name, ours in zip(names, self.beside, strict=True)):
            # They belong to another writer's log, and SQLite would remove them by name.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
            return
        with suppress(sqlite3.Error):
            connection.close()
        # SQLite leaves them if there are readers, and would take them for part of a new file of that name.
        for name in names:
            with suppress(OSError):
                name.unlink(missing_ok=True)


def moved(path: Path) -> EventLogError:
    """The error for a log that was taken away from its writer."""
    return EventLogError(
        f"{path}, or a file that belongs to it, was deleted, moved or replaced while it was being written, "
        "and what was found since then is not in it; repeat this command."
    )


def _file(path: Path) -> _File | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
