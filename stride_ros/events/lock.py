"""One writer for each log: a lock that ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from stride_ros.events.database import EventLogError


class WriterLock:
    """A lock, held from construction until `release`. EventLogError while another program holds it."""

    def __init__(self, log: Path) -> None:
        # On a separate file: closing any handle of the database would end SQLite's locks in this process.
        self._path = path = log.with_name(log.name + "-writer")
        try:
            # Users who cannot read the log must not be able to hold its lock either.
            mode = stat.S_IMODE(log.stat().st_mode) if log.exists() else 0o644
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        except OSError as error:
            raise EventLogError(
                f"{log} cannot be written ({error.strerror}); choose a writable place."
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._file, 20).decode(errors="replace").strip()
            os.close(self._file)
            raise EventLogError(
                f"{log} is being written by another program{f' (process {holder})' if holder else ''}; "
                "stop that program, or choose another file."
            ) from error
        with suppress(OSError):  # on a full disk, the holder's number is missing
            os.ftruncate(self._file, 0)
            os.write(self._file, str(os.getpid()).encode())

    @property
    def holds(self) -> bool:
        """Whether others find this lock: if its file was deleted, they would take a new one."""
        try:
            return self._file >= 0 and os.path.samestat(os.fstat(self._file), self._path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Release the lock."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
