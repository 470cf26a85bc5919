"""A process that runs the modules of any checkout and takes turns with others."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stride_ros.benchmark.busy_machine import environment

# `python FILE` would put this folder, with its module names, before the standard library.
_START = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"


class Worker:
    """A process with one thread that waits between its turns.

    root: that of the checkout; script: a script of this checkout, which answers each line of its input with a
    line of JSON, in which `package` is the location of its modules.
    """

    def __init__(self, root: Path, script: Path, options: Sequence[str]) -> None:
        self._root = root.resolve()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(script), *options],
            env=environment(root, OMP_NUM_THREADS="1"),
            cwd=tempfile.gettempdir(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, turn: str) -> dict[str, Any]:
        """Return the worker's answer to a line. SystemExit if it has ended, or uses other modules."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(turn, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SystemExit("A worker process has ended; see its output above.")
        answer: dict[str, Any] = json.loads(line)
        if not Path(answer["package"]).resolve().is_relative_to(self._root):
            raise SystemExit(f"{answer['package']} was imported instead of {self._root}.")
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
