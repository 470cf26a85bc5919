#!/usr/bin/env python3
"""Run all commands in README.md, CONTRIBUTING.md and docs/ once, in order, and print failures.

python tools/run_documented_commands.py                  in a new folder that looks like the repository
python tools/run_documented_commands.py --list           only say what would run, and why the rest would not
python tools/run_documented_commands.py --only replay    those with this pattern in the command or place

Commands that need a GPU, a network, a robot, ros2 or a long time are skipped, with the reason. The options of
skipped `stride-ros` commands are checked anyway. Exit code 1 if a command failed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stride_ros.cli import build_parser  # noqa: E402

FENCE = re.compile(r"^```(bash|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?<=\n\n)(?:    \S.*\n)+")
PROGRAMS = r"(?:stride-ros|python3?|accelerate|colcon|rosdep|rosdoc2|ros2|STRIDE_\w+=)"
# The first pattern that a command matches gives the reason why it is not run.
SKIPPED = {
    r"^(sudo|git clone|docker) |python3 -m venv": "changes the machine, or needs a network",
    r"^(rosdep|colcon|rosdoc2|rviz2|ros2) |^python src/": "needs a ROS distribution that is sourced",
    r"^ray ": "needs Ray and a cluster",
    r"^export ": "only prepares the following command, which is not run",
    r"^examples/|examples/speak": "runs until it is stopped; test/nodes/examples runs it",
    r"^make (setup|lint|test)|pytest": "CI runs it, or a part of what CI runs",
    r"VIDEO|FOLDER|\[--|PREDICTIONS| \.\.\.|\.\./before": "is a form to fill in, or needs files of your own",
    r"^(?!.*doctor).*(interlive|Qwen)/": "needs weights from the network",
    r"~/\.ros/": "needs the log of a robot",
    r"lobby\.spans\.yaml": "shows labels that are not met",
    r"--preset 2b|test_cuda": "needs a GPU",
    r"stride-ros (train|benchmark)|drive_bag|stride_ros\.(benchmark|training)|quality": "takes long",
}
ALSO_RIGHT = {r"stride-ros doctor$": 1}  # exit codes: the models may not fit into this machine
PREPARED = (  # files that the pages assume; drives/lobby and my_robot.yaml are the reader's own
    "stride-ros world --video video.mp4 --seed 5 --seconds 12",
    "stride-ros world --bag drives/lobby --seed 5 --seconds 12",
    "stride-ros replay drives/lobby --query 'Tell me when a hand is in view.' --events events.db",
    "sed s,interlive/STRIDE-2B,stride-tiny, config/stride.yaml > my_robot.yaml",
)


@dataclass(frozen=True)
class Command:
    """One command with its location; a line that ends in a backslash continues."""

    place: str
    text: str

    @property
    def reason(self) -> str:
        """Why it is not run, or empty."""
        return next((why for pattern, why in SKIPPED.items() if re.search(pattern, self.text)), "")

    def succeeds(self, code: int) -> bool:
        """Whether this exit code is correct."""
        return code == 0 or any(code == one and re.search(at, self.text) for at, one in ALSO_RIGHT.items())

    @property
    def arguments(self) -> list[str] | None:
        """The arguments of a `stride-ros` command that is not a template."""
        words = shlex.split(self.text, comments=True)
        if not words or Path(words[0]).name != "stride-ros" or re.search(r"\[--| \.\.\.", self.text):
            return None
        return words[1:]


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> Iterator[Command]:
    """The commands of a page, in order, from bash and console fences and indented blocks."""
    text = page.read_text()
    found = []
    for fence in FENCE.finditer(text):
        body = fence.group(2)
        if fence.group(1) == "console":  # commands and their output
            body = "".join(line[2:] if line.startswith("$ ") else "\n" for line in body.splitlines(True))
        found.append((fence.start(2), body))
    outside = re.sub(
        r"^```.*?^```", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.DOTALL | re.MULTILINE
    )
    for block in INDENTED.finditer(outside):
        if re.match(rf"    {PROGRAMS}", block.group()):
            found.append((block.start(), re.sub(r"^    ", "", block.group(), flags=re.MULTILINE)))
    for start, body in sorted(found):
        line = text.count("\n", 0, start) + 1
        for part in re.split(r"(?<!\\)\n", body):
            command = re.sub(r"\\\n\s*", "", part).strip()
            if command and not command.startswith("#"):
                yield Command(f"{page.relative_to(ROOT)}:{line}", re.sub(r"\s+# .*$", "", command))
            line += part.count("\n") + 1


def wrong_options(arguments: Sequence[str]) -> str:
    """The error of the command line about unknown options, in one line, or empty."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            _, unknown = build_parser().parse_known_args(arguments)
    except SystemExit as end:
        return "" if end.code in (0, None) else " ".join(said.getvalue().split())
    return f"unknown: {' '.join(unknown)}" if unknown else ""


def prepare(folder: Path) -> None:
    """Make a folder look like the repository: links to its entries, but results stay outside."""
    for entry in ROOT.iterdir():
        if entry.name not in (".git", "my_bag", "replay_report", "spans.yaml", "stride_demo", "my_model"):
            (folder / entry.name).symlink_to(entry)


def run(text: str, folder: Path, seconds: float) -> tuple[int, str]:
    """Run a command; return its exit code and the end of its output; 124 for a timeout."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    started = subprocess.Popen(
        ["bash", "-c", text],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = started.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, 9)
        said, _ = started.communicate()
        return 124, f"{said[-500:]}\nended after {seconds:.0f} s"
    return started.returncode, said[-1500:]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="run nothing")
    parser.add_argument(
        "--only", default="", metavar="REGEX", help="only those whose location or text contains this"
    )
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for each command (default 600)")
    options = parser.parse_args(argv)
    chosen = [
        command
        for page in pages()
        for command in commands(page)
        if re.search(options.only, f"{command.place} {command.text}")
    ]
    failed = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not options.list:
            prepare(folder)
            for text in PREPARED:
                (folder / "drives").mkdir(exist_ok=True)
                code, said = run(text, folder, options.timeout)
                if code:
                    print(f"cannot be prepared: {text}\n{said}")
                    return 1
        for command in chosen:
            wrong = wrong_options(command.arguments) if command.arguments is not None else ""
            if wrong:
                failed.append(command)
                print(f"WRONG    {command.place}  {command.text}\n{wrong}", flush=True)
            elif options.list or command.reason:
                print(f"{'skipped' if command.reason else 'runs':8} {command.place}  {command.text}", end="")
                print(f"   ({command.reason})" if command.reason else "", flush=True)
            else:
                began = time.monotonic()
                code, said = run(command.text, folder, options.timeout)
                right = command.succeeds(code)
                print(f"{'ran' if right else 'FAILED':8} {command.place}  {command.text}", end="")
                print(f"   ({time.monotonic() - began:.0f} s)", flush=True)
                if not right:
                    failed.append(command)
                    print(f"exit code {code}\n{said}", flush=True)
    skipped = sum(bool(command.reason) for command in chosen)
    print(f"{len(chosen)} commands: {skipped} skipped, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
