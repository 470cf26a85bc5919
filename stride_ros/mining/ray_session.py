"""The processes and files of Ray on this machine, which end with the command however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stride_ros.errors import ConfigError

LONGEST = 107 - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")  # bytes: AF_UNIX
_GRACE = 5.0  # s for killed processes to be gone


def make_folder() -> str:
    """A new folder for Ray's files. ConfigError if there is no place for it."""
    wanted = os.environ.get("RAY_TMPDIR")
    for base in (wanted, None, "/tmp", "/var/tmp", "/dev/shm"):
        if base == "":
            continue
        with suppress(OSError):
            folder = tempfile.mkdtemp(prefix="ray-", dir=base)
            if len(os.fsencode(folder)) <= LONGEST:
                return folder
            os.rmdir(folder)
    raise ConfigError(
        "Ray needs a folder for temporary files that can be written and has a short path; name one in "
        "RAY_TMPDIR, or mine without Ray, with --no-ray."
    )


def end_session(leader: int, folder: str) -> None:
    """End every process in the session of `leader` but this one, and remove `folder`.

    A process that is starting has not joined Ray yet, but is in its session from the beginning. The leader
    must not have been waited for, so that nothing else can have its number.
    """
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline and (members := list(_members(leader))):
        for member in members:
            with suppress(OSError):
                os.kill(member, signal.SIGKILL)
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


def _members(session: int) -> Iterator[int]:
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        with suppress(OSError):
            state, _, _, its_session = (path / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state not in "ZX":
                yield int(path.name)
