"""Which onsets were answered, remembered beyond the life of a process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

Key = tuple[int, int]  # time of publication in ns, span id


class KnownOnsets:
    """The keys of the last `size` onsets, kept in a text file when `path` is given; safe to share.

    Spans are kept by their publisher for late subscribers, so a responder that is started again receives old
    onsets once more; this tells those that were answered from those that were not. A file that cannot
    be read counts as empty, a damaged line as none; `problem` says why one cannot be written.
    """

    def __init__(self, path: Path | None = None, size: int = 1000) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._keys: deque[Key] = deque(maxlen=size)
        self.problem = ""
        if path is not None:
            with contextlib.suppress(OSError):
                self._keys.extend(_keys_in(path.read_bytes()))
            self._write()
        self._lines = len(self._keys)

    def __contains__(self, key: Key) -> bool:
        with self._lock:
            return key in self._keys

    def has_span(self, span_id: int) -> bool:
        """Whether there is a key of this span, whenever it was published."""
        with self._lock:
            return any(known == span_id for _, known in self._keys)

    def add(self, key: Key) -> None:
        """Remember an onset."""
        with self._lock:
            self._add(key)

    def _add(self, key: Key) -> None:
        self._keys.append(key)
        if self._path is None or self.problem:
            return
        self._lines += 1
        if self._lines > 2 * (self._keys.maxlen or 0):
            self._write()
            self._lines = len(self._keys)
            return
        try:
            with self._path.open("a", encoding="ascii") as file:
                file.write(f"{key[0]} {key[1]}\n")
        except OSError as error:
            self.problem = str(error)

    def _write(self) -> None:
        if self._path is None:
            return
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text("".join(f"{published} {span_id}\n" for published, span_id in self._keys))
            new.replace(self._path)
        except OSError as error:
            self.problem = str(error)


def _keys_in(content: bytes) -> Iterator[Key]:
    """The keys in a file. A line that is none, such as one torn by a power cut, costs only itself."""
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            published, span_id = (int(number) for number in line.split())
            yield published, span_id
