#!/usr/bin/env python3
"""Write requirements-lock-<distro>.txt: the versions and hashes that CI installs, for Python 3.10 to 3.14.

Locked versions are kept if the ranges allow them. Arguments are passed on to `uv pip compile`: --upgrade for
the newest versions, -P torch==2.13.0 for one package.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DISTROS = ("jazzy", "kilted")


def lock(distro: str, arguments: list[str]) -> int:
    """Resolve the requirements for one ROS 2 distribution; return the exit status of uv."""
    files = ["requirements.txt", "requirements-dev.txt", f"requirements-ros-{distro}.txt"]
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet"]
    command += ["--universal", "--python-version", "3.10", "--no-annotate", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock"]
    command += ["--output-file", f"requirements-lock-{distro}.txt", *arguments, *files]
    return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    raise SystemExit(max(lock(distro, sys.argv[1:]) for distro in DISTROS))
