"""The readers of this process, which a writer lets go of files that were deleted."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol
from weakref import WeakSet


class Reader(Protocol):
    """A reader, which opens its log again after `release`. `lock` is held while it reads."""

    path: Path
    lock: threading.Lock

    def release(self) -> None:
        """Close the file."""


READERS: WeakSet[Reader] = WeakSet()


@contextmanager
def readers_released(path: Path) -> Iterator[None]:
    """Keep this process's readers of a log from having it open.

    All connections of a process to a file share SQLite's index of the write-ahead log. As long as one of them
    is open, a new one would use that of a deleted file, which other processes do not see.
    """
    place = os.path.abspath(path)
    with ExitStack() as stack:
        for reader in list(READERS):
            if os.path.abspath(reader.path) == place:
                stack.enter_context(reader.lock)
                reader.release()
        yield
