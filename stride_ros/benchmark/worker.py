"""A process that runs the modules of a checkout, whichever, and takes turns with others."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stride_ros.benchmark.busy_machine import environment

# A path given to `python FILE` would put this folder, with its modules' names, before the standard library's.
_START = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"


class Worker:
    """A process with one thread that waits between its turns.

    root: of the checkout; script: of this one, which answers each line of its input with a line of JSON, in
    which `package` is where its modules are from.
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
        """What the worker answers to a line. SystemExit if it has ended, or has modules of another root."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(turn, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SystemExit("A process has ended; what it says above is why.")
        answer: dict[str, Any] = json.loads(line)
        if not Path(answer["package"]).resolve().is_relative_to(self._root):
            raise SystemExit(f"{answer['package']} was imported instead of {self._root}.")
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
