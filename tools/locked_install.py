#!/usr/bin/env python3
"""`locked_install.py --lock LOCK [as for pip install]`: install only the files that a lock names.

pip needs hashes for all requirements or for none, and does not allow ranges with them. Therefore the
requirements are resolved first, with the lock's versions as constraints, and the resulting list is installed
with the lock's hashes. Installed packages are kept, wherever they came from. A build of PyTorch for a CPU or
GPU (such as 2.13.0+cpu) is a different file from the package index's, which the lock names; it is installed
by version.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

BUILDS = {"torch"}  # packages with other builds in other indexes, by their local version
OLDEST_PIP = 22, 2  # that can report what it would install


@dataclass
class Lock:
    """`versions`: lines for pip without hashes; `hashes`: those of each file, by name and version."""

    versions: list[str] = field(default_factory=list)
    hashes: dict[tuple[str, str], list[str]] = field(default_factory=dict)


class NotInTheLock(Exception):
    """The lock lacks something that would be installed; the message has the remedy."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> Lock:
    """Read a file written by `uv pip compile`, with or without hashes."""
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


def resolved(report: str, lock: Lock) -> tuple[list[str], list[str]]:
    """What pip would install by its report: lines with hashes, and builds that are not in the lock."""
    lines, builds = [], []
    for item in json.loads(report)["install"]:
        name, version = canonical(item["metadata"]["name"]), item["metadata"]["version"]
        if name in BUILDS and "+" in version:
            builds.append(f"{name}=={version}")
        elif hashes := lock.hashes.get((name, version)):
            lines.append(" ".join([f"{name}=={version}", *(f"--hash={each}" for each in hashes)]))
        else:
            raise NotInTheLock(
                f"the lock has no hashes for {name} {version}: run `make lock` and review the changes."
            )
    return lines, builds


def locked_install(path: Path, arguments: list[str]) -> int:
    """Install what `arguments` request from pip; return pip's exit status. Raises NotInTheLock."""
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
        lines, builds = resolved(report.read_text(), lock)
        files.write_text("\n".join([*lines, ""]))
        steps = [builds] if builds else []
        steps += [["--require-hashes", "-r", str(files)]] if lines else []
        statuses = (subprocess.run([*command, "--no-deps", *step]).returncode for step in steps)
        return next((status for status in statuses if status), 0)


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
