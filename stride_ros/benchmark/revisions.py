#!/usr/bin/env python3
"""Compare cameras and queries in one engine with sessions, another checkout, and separate processes.

    python -m stride_ros.benchmark.revisions --cameras 1 2 4 8
    python -m stride_ros.benchmark.revisions ../before --cameras 1 2 4 8 --rounds 8
    python -m stride_ros.benchmark.revisions ../before --queries 1 2 4 8 16

Each way is a process (`separate`: one for each camera); all of them are started first and filled with
context, then take turns of a few ticks, so that other work on the machine affects all of them. All see the
same frames of synthetic worlds and have one thread. CPU time is that of the processes, without drawing
frames; memory is what they take at the end: resident, and proportional, which counts shared memory once.
Ratios are those of the medians, with the minimum and maximum over rounds. Exits with 1 if decisions differ.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from stride_ros.benchmark.busy_machine import ROOT
from stride_ros.benchmark.measure import QUERIES
from stride_ros.benchmark.worker import Worker
from stride_ros.qwen3_vl.checkpoint import EMBEDDED

_WORKER = Path(__file__).with_name("revision_worker.py")


@dataclass
class Way:
    """One way to serve all cameras, and the CPU and wall ms per tick of all cameras in its turns."""

    workers: list[Worker]
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    labels: list[list[int]] = field(default_factory=list)
    memory: tuple[int, int, int] = (0, 0, 0)

    def turn(self, ticks: int, counted: bool) -> None:
        """Run this number of ticks."""
        answers = [worker.run(str(ticks)) for worker in self.workers]
        for row in zip(*(answer["labels"] for answer in answers), strict=True):
            self.labels.append([label for of_worker in row for label in of_worker])
        if counted:
            self.cpu.append(sum(answer["cpu_ms"] for answer in answers))
            self.wall.append(sum(answer["wall_ms"] for answer in answers))
        resident, proportional, state = (
            sum(answer[name] for answer in answers) for name in ("resident", "proportional", "state")
        )
        self.memory = (resident, proportional, state)


def compare(
    roots: dict[str, Path], model: str, cameras: int, queries: Sequence[str], options: argparse.Namespace
) -> int:
    """Print a row for each way; return how many decisions differ from the batched ones."""
    with ExitStack() as stack:

        def started(root: Path, which: range, batched: bool) -> Worker:
            given = ["--model", model, "--cameras", str(len(which)), "--first", str(which.start)]
            given += [word for query in queries for word in ("--query", query)]
            worker = Worker(root, _WORKER, [*given, *(["--batched"] if batched else [])])
            stack.callback(worker.close)
            return worker

        ways = {"batched": Way([started(ROOT, range(cameras), True)])}
        for name, root in roots.items():
            ways[name] = Way([started(root, range(cameras), False)])
        if options.separate:
            each = [started(ROOT, range(index, index + 1), True) for index in range(cameras)]
            ways["separate processes"] = Way(each)
        for way in ways.values():
            way.turn(options.fill, counted=False)
        for number in range(options.rounds):
            for way in list(ways.values())[:: 1 if number % 2 == 0 else -1]:
                way.turn(options.ticks, counted=True)
    batched = ways["batched"]
    wrong = 0
    for name, way in ways.items():
        ratios = [other / one for one, other in zip(batched.cpu, way.cpu, strict=True)]
        ratio = statistics.median(way.cpu) / statistics.median(batched.cpu)
        pairs = zip(batched.labels, way.labels, strict=True)
        differ = sum(a != b for one, other in pairs for a, b in zip(one, other, strict=True))
        wrong += differ
        memory = " | ".join(f"{value / 2**20:.0f}" for value in way.memory)
        print(
            f"| {cameras} | {len(queries)} | {name} | {statistics.median(way.cpu):.1f} "
            f"| {statistics.median(way.wall):.1f} | {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
            f"| {memory} | {differ} of {sum(map(len, way.labels))} |",
            flush=True,
        )
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", nargs="?", type=Path, metavar="CHECKOUT", help="of another revision")
    parser.add_argument("--model", default=EMBEDDED, help="directory or stride-tiny (default)")
    parser.add_argument("--cameras", type=int, nargs="+", default=[1], help="(default: 1)")
    parser.add_argument("--queries", type=int, nargs="+", default=[1], help="of each camera (default: 1)")
    parser.add_argument("--fill", type=int, default=140, help="ticks before (default: %(default)s)")
    parser.add_argument("--ticks", type=int, default=16, help="of a turn, even (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each (default: %(default)s)")
    parser.add_argument(
        "--no-separate", dest="separate", action="store_false", help="no process for each camera"
    )
    options = parser.parse_args()
    least = {"fill": 1, "ticks": 1, "rounds": 1}
    for name, low in least.items():
        if getattr(options, name) < low:
            parser.error(f"--{name} is {getattr(options, name)}; use at least {low}")
    if min(options.cameras) < 1 or not 1 <= min(options.queries) <= max(options.queries) <= len(QUERIES):
        parser.error(f"use at least 1 camera, and 1 to {len(QUERIES)} queries")
    if options.before and not (options.before / "stride_ros").is_dir():
        parser.error(f"{options.before} is not a checkout of this package; it has no folder stride_ros")
    roots = {"sessions": ROOT}
    if options.before:
        roots["sessions before"] = options.before.resolve()
    # The worker runs in another directory, so paths must be absolute.
    model = str(Path(options.model).resolve()) if Path(options.model).is_dir() else options.model
    print(
        "| cameras | queries | | CPU ms | wall ms | CPU by batched "
        "| resident MiB | proportional MiB | state MiB | labels that differ |"
    )
    print("|---" * 10 + "|")
    wrong = 0
    for cameras in options.cameras:
        for queries in options.queries:
            wrong += compare(roots, model, cameras, QUERIES[:queries], options)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"\nA tick of all cameras; medians of {options.rounds} turns of {options.ticks} ticks. Load: {load}."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
