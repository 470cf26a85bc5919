"""Read a file as text: UTF-8 of limited size, without characters that do not occur in text files."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from stride_ros.errors import ConfigError, SourceError

_PIPES = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")  # paths that a shell passes for <(command) and -
_MARKS = (  # byte order marks, longest first
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_UTF8_MARK = b"\xef\xbb\xbf"
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")


def read_text(path: str | Path, largest: int, name: str = "") -> str:
    """The text of a file of up to `largest` bytes, without a byte order mark.

    `name` is the name of the file in messages (default: its path). Raises SourceError for a file that cannot
    be read, ConfigError for one that is too large, not UTF-8, or not text.
    """
    name = name or str(path)
    data = read_bytes(path, largest, name)
    refuse_encoding(data, name)
    return decoded(data, name)


def read_bytes(path: str | Path, largest: int, name: str) -> bytes:
    """The bytes of a file of up to `largest` bytes. Raises SourceError and ConfigError."""
    with open_bytes(path, name) as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ConfigError(f"{name} is larger than {largest / 2**20:g} MiB; give the right file, or split it.")
    return data


@contextmanager
def open_bytes(path: str | Path, name: str) -> Iterator[BinaryIO]:
    """Open a regular file or a shell's pipe for reading; reading a FIFO without a writer would block.

    Raises SourceError if it cannot be opened, or read within the context.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) and not str(path).startswith(_PIPES):
            kind = "a directory" if os.path.isdir(path) else "not a regular file"
            raise SourceError(f"{name} is {kind}; give the path of a file.")
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        what = "its permissions" if isinstance(error, PermissionError) else "the name"
        raise SourceError(f"{name} cannot be read ({error.strerror}); check {what}.") from error


def refuse_encoding(head: bytes, name: str) -> None:
    """Raise ConfigError if a file begins like UTF-16, UTF-32 or something that is not text."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            raise ConfigError(f"{name} is {encoding} and not UTF-8; save it as UTF-8.")
    zeros = head[:1000].count(0)
    if zeros:  # UTF-16 without a byte order mark: every second byte of plain text is 0
        even, odd = head[:1000:2].count(0), head[1:1000:2].count(0)
        if len(head) > 3 and 3 * zeros >= len(head[:1000]) and min(even, odd) * 4 < max(even, odd):
            raise ConfigError(f"{name} is UTF-16 and not UTF-8; save it as UTF-8.")
        line = head.count(b"\n", 0, head.index(0)) + 1
        raise ConfigError(f"{name} is not a text file (a zero byte in line {line}); give the right file.")


def decoded(data: bytes, name: str, first: int = 1) -> str:
    """The text of `data`, whose first line is line `first` of the file. Raises ConfigError."""
    try:
        text = data.removeprefix(_UTF8_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + first
        byte = error.object[error.start]
        raise ConfigError(
            f"{name} is not UTF-8: line {line} holds the byte 0x{byte:02x} ({_encoding_of(data)});"
            " save it as UTF-8."
        ) from error
    return text


def refuse_unprintable(text: str, name: str) -> None:
    """Raise ConfigError for a character that YAML does not allow."""
    found = _UNPRINTABLE.search(text)
    if found is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise ConfigError(
            f"{name} holds the control character U+{ord(found[0]):04X} in line {line}; remove it."
        )


def _encoding_of(data: bytes) -> str:
    """The likely encoding of a text that is not UTF-8.

    Windows-1252 has letters where Latin-1 has control characters.
    """
    windows = any(0x80 <= byte < 0xA0 for byte in data)
    return "perhaps Windows-1252" if windows else "perhaps Latin-1"
