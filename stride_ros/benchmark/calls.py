#!/usr/bin/env python3
"""Compare operator calls and CPU time of a tick, fresh and steady, with another checkout.

    python -m stride_ros.benchmark.calls
    python -m stride_ros.benchmark.calls ../before --rounds 20
    python -m stride_ros.benchmark.calls ../before --models stride-tiny --by-name

A fresh tick denoises every slot, a steady one only what the baseline pass does not confirm. Calls are counted
by PyTorch's profiler, including calls made by operators. Each checkout is a process with one thread; all of a
row are started first and filled with the same context, then take turns of a few ticks, so that other work on
the machine affects both. CPU time is that of the process, without drawing frames. Ratios are of this checkout
to the row's: medians over the turns, with lower and upper quartiles. Exits with 1 if labels differ.
"""

from __future__ import annotations

import argparse
import os
import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from stride_ros.benchmark.busy_machine import ROOT
from stride_ros.benchmark.presets import PRESETS
from stride_ros.benchmark.worker import Worker
from stride_ros.qwen3_vl.checkpoint import EMBEDDED

_WORKER = Path(__file__).with_name("calls_worker.py")
_COUNTED = 16  # ticks in which calls are counted: even, since every second frame completes a pair


def compare(roots: dict[str, Path], model: str, fresh: bool, options: argparse.Namespace) -> bool:
    """Print a row for each checkout; return whether the labels are equal."""
    given = ["--model", model, "--window", str(options.window), "--frames", str(options.frames)]
    cpu: dict[str, list[float]] = {name: [] for name in roots}
    labels: dict[str, list[int]] = {name: [] for name in roots}
    with ExitStack() as stack:
        workers = {
            name: Worker(root, _WORKER, [*given, *(["--fresh"] if fresh else [])])
            for name, root in roots.items()
        }
        for worker in workers.values():
            stack.callback(worker.close)
        counted = {name: worker.run(f"{_COUNTED} calls") for name, worker in workers.items()}
        for number in range(options.rounds):
            for name in list(roots)[:: 1 if number % 2 == 0 else -1]:
                answer = workers[name].run(str(options.ticks))
                cpu[name].append(answer["cpu_ms"])
                labels[name] += answer["labels"]
    this = list(roots)[-1]
    for name in roots:
        calls = {of: sum(counted[of]["calls"].values()) for of in (name, this)}
        turns = [one / other for one, other in zip(cpu[this], cpu[name], strict=True)]
        low, middle, high = np.percentile(turns, (25, 50, 75))
        print(
            f"| {model} | {'fresh' if fresh else 'steady'} | {name} | {counted[name]['passes']:.1f} "
            f"| {calls[name]:,.0f} | {calls[this] / calls[name]:.2f} | {statistics.median(cpu[name]):.1f} "
            f"| {middle:.2f} ({low:.2f} to {high:.2f}) |",
            flush=True,
        )
    if options.by_name:
        _print_names({name: answer["calls"] for name, answer in counted.items()})
    return all(found == labels[this] for found in labels.values())


def _print_names(calls: dict[str, dict[str, Any]]) -> None:
    """Print the operators of each checkout, sorted by the number of calls in the last one."""
    *_, this = calls.values()
    names = sorted({name for found in calls.values() for name in found}, key=lambda name: -this.get(name, 0))
    for name in names:
        print(f"{name:<56}" + "".join(f"{found.get(name, 0):>10.1f}" for found in calls.values()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", nargs="?", type=Path, metavar="CHECKOUT", help="of another revision")
    parser.add_argument(
        "--models", nargs="+", default=[EMBEDDED, "small"], help="presets, directories or stride-tiny"
    )
    parser.add_argument("--window", type=int, default=32, help="slots of a preset (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=128, help="in context (default: %(default)s)")
    parser.add_argument("--ticks", type=int, default=8, help="of a turn, even (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each (default: %(default)s)")
    parser.add_argument("--by-name", action="store_true", help="list the operators, too")
    options = parser.parse_args()
    for name, low in {"window": 1, "frames": 8, "ticks": 1, "rounds": 1}.items():
        if getattr(options, name) < low:
            parser.error(f"--{name} is {getattr(options, name)}; use at least {low}")
    if options.before and not (options.before / "stride_ros").is_dir():
        parser.error(f"{options.before} is not a checkout of this package; it has no folder stride_ros")
    roots = {"before": options.before.resolve()} if options.before else {}
    roots["this"] = ROOT
    print("| model | tick | | passes | calls | this by it | CPU ms | this by it |\n" + "|---" * 8 + "|")
    equal = True
    for model in options.models:
        # The worker runs in another directory, so paths must be absolute.
        found = str(Path(model).resolve()) if model not in PRESETS and Path(model).is_dir() else model
        for fresh in (True, False):
            equal &= compare(roots, found, fresh, options)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{options.rounds} turns of {options.ticks} ticks. Load: {load}.")
    print(f"Labels equal: {'yes' if equal else 'NO'}.")
    return 0 if equal else 1


if __name__ == "__main__":
    raise SystemExit(main())
