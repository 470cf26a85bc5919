#!/usr/bin/env python3
"""Write requirements-lock-<distro>.txt: exact versions and hashes for Python 3.10 to 3.14 that CI installs.

What a lock says already stays where the ranges allow it. Arguments are passed on to `uv pip compile`:
--upgrade for the newest of all, -P torch==2.13.0 for one package.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DISTROS = ("jazzy", "kilted")


def lock(distro: str, arguments: list[str]) -> int:
    """Resolve the requirements of one ROS 2 distribution; the exit status of uv."""
    files = ["requirements.txt", "requirements-dev.txt", f"requirements-ros-{distro}.txt"]
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet"]
    command += ["--universal", "--python-version", "3.10", "--no-annotate", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock"]
    command += ["--output-file", f"requirements-lock-{distro}.txt", *arguments, *files]
    return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    raise SystemExit(max(lock(distro, sys.argv[1:]) for distro in DISTROS))
