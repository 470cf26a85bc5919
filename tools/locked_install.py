#!/usr/bin/env python3
"""`locked_install.py --lock LOCK [as for pip install]` installs the files that a lock names, and no others.

pip takes hashes for all requirements or for none, and then no ranges. Therefore what is to be installed is
resolved first, with the lock's versions as constraints, and the resulting list is installed with the lock's
hashes. What is installed already stays, wherever it came from: PyTorch's build for a CPU or GPU, which comes
from PyTorch's own index before, has other hashes than the one of the package index, which the lock names.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

OLDEST_PIP = 22, 2  # that can say what it would install


@dataclass
class Lock:
    """`versions`: lines for pip without hashes; `hashes`: those of each file, by name and version."""

    versions: list[str] = field(default_factory=list)
    hashes: dict[tuple[str, str], list[str]] = field(default_factory=dict)


class NotInTheLock(Exception):
    """The lock does not hold what would be installed; the message says what to do."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> Lock:
    """A file as `uv pip compile` writes it, with or without hashes."""
    lock = Lock()
    for line in path.read_text().replace("\\\n", " ").splitlines():
        pin, *hashes = re.split(r"\s+--hash=", line.partition("#")[0].strip())
        if not pin:
            continue
        lock.versions.append(pin)
        exact = re.match(r"([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", pin)
        if exact and hashes:
            lock.hashes[canonical(exact[1]), exact[2]] = hashes
    return lock


def resolved(report: str, lock: Lock) -> list[str]:
    """Lines for pip with hashes, for what its report says that it would install."""
    lines = []
    for item in json.loads(report)["install"]:
        name, version = item["metadata"]["name"], item["metadata"]["version"]
        hashes = lock.hashes.get((canonical(name), version))
        if hashes is None:
            raise NotInTheLock(
                f"the lock has no hashes of {name} {version}: run `make lock` and look at what changes."
            )
        lines.append(" ".join([f"{name}=={version}", *(f"--hash={each}" for each in hashes)]))
    return lines


def locked_install(path: Path, arguments: list[str]) -> int:
    """Install what `arguments` ask pip for; the exit status of pip. Raises NotInTheLock."""
    import pip

    lock = read_lock(path)
    command = [sys.executable, "-m", "pip", "install"]
    with tempfile.TemporaryDirectory(prefix="lock-") as folder:
        versions, files, report = (
            Path(folder, name) for name in ("versions.txt", "files.txt", "report.json")
        )
        versions.write_text("\n".join([*lock.versions, ""]))
        asked = [*arguments, "-c", str(versions)]
        if not lock.hashes or tuple(map(int, pip.__version__.split(".")[:2])) < OLDEST_PIP:
            return subprocess.run([*command, *asked]).returncode
        dry = [*command, "--quiet", "--dry-run", "--report", str(report), *asked]
        if status := subprocess.run(dry).returncode:
            return status
        if not (lines := resolved(report.read_text(), lock)):
            return 0
        files.write_text("\n".join([*lines, ""]))
        return subprocess.run([*command, "--no-deps", "--require-hashes", "-r", str(files)]).returncode


def main() -> int:
    if len(sys.argv) < 4 or sys.argv[1] != "--lock":
        print(f"usage: {sys.argv[0]} --lock LOCK [as for pip install]", file=sys.stderr)
        return 2
    try:
        return locked_install(Path(sys.argv[2]), sys.argv[3:])
    except NotInTheLock as error:
        print(f"locked_install: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
