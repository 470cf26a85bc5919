"""Read an MCAP file whose recorder was cut off: without its end, it lacks the index that readers rely on.

Format: https://mcap.dev/spec (records are an opcode, a 64-bit length and content, between two magics).
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"\x89MCAP0\r\n"
# The end of a file that has no index: data end (its checksum left out), footer, magic.
_TAIL = b"\x0f" + struct.pack("<QI", 4, 0) + b"\x02" + struct.pack("<QQQI", 20, 0, 0, 0) + _MAGIC
_HEADER = struct.Struct("<BQ")
_SUMMARY_OPCODES = (0x02, 0x0F)  # footer and data end: what follows is an index, if anything


def is_cut_off(path: Path) -> bool:
    """Whether an MCAP file begins as one but does not end as one."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return False
        file.seek(-min(len(_MAGIC), path.stat().st_size), os.SEEK_END)
        return file.read() != _MAGIC


class RepairedMcap:
    """Stands for the path of a file that is cut off: opened, it ends after its last whole record.

    Nothing is written; `rosbags` takes it in place of a path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.suffix = path.suffix
        self.kept = _end_of_whole_records(path)  # bytes

    @property
    def lost(self) -> int:
        """Bytes at the end that cannot be used."""
        return self.path.stat().st_size - self.kept

    def exists(self) -> bool:
        return True

    def is_dir(self) -> bool:
        return False

    def open(self, mode: str = "rb") -> BinaryIO:
        return io.BufferedReader(_WithTail(self.path, self.kept))

    def __str__(self) -> str:
        return str(self.path)


class _WithTail(io.RawIOBase):
    """The first bytes of a file followed by a tail."""

    def __init__(self, path: Path, kept: int) -> None:
        self._file = path.open("rb")
        self._kept, self._at = kept, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._kept + len(_TAIL)}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        if self._at < self._kept:
            self._file.seek(self._at)
            data = self._file.read(min(len(buffer), self._kept - self._at))
        else:
            data = _TAIL[self._at - self._kept :][: len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _end_of_whole_records(path: Path) -> int:
    size = path.stat().st_size
    with path.open("rb") as file:
        end = len(_MAGIC)
        while True:
            file.seek(end)
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return end
            opcode, length = _HEADER.unpack(header)
            if opcode in _SUMMARY_OPCODES or end + _HEADER.size + length > size:
                return end
            end += _HEADER.size + length
