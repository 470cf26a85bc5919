"""The standard streams of a process: open even if none were given; losing stderr does not end a run."""

from __future__ import annotations

import io
import os
import sys
from typing import Any


def prepare_streams() -> None:
    """Make stdout and stderr usable, whatever the process was started with.

    Cron jobs and daemons may close them, and Python then has None in their place. Their numbers are given to
    the null device: otherwise the next file that is opened, such as a database, would get one, and native
    code that prints would write into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            _open_null(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            null = open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            setattr(sys, name, null)
    if _is_own(sys.stderr):
        sys.stderr.flush()
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Lenient(2, "w", closefd=False)),
            encoding=sys.stderr.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )


def _open_null(number: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number, usually this one
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    os.set_inheritable(number, True)


def _is_own(stream: object) -> bool:
    """Whether this is the stderr that Python has opened; a test or an embedding program may have its own."""
    if type(stream) is not io.TextIOWrapper:
        return False
    raw = getattr(stream.buffer, "raw", stream.buffer)  # there is no buffer with PYTHONUNBUFFERED
    return type(raw) is io.FileIO and raw.fileno() == 2


class _Lenient(io.FileIO):
    """A file whose writing never fails: what the reader of messages cannot get must not end the work."""

    def write(self, data: Any) -> int:
        try:
            written = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written
