#!/usr/bin/env python3
"""Measure the stages next to processes that keep every core busy: CPU time and missed decisions.

    python -m stride_ros.benchmark.busy_machine                                # replay, then the node
    python -m stride_ros.benchmark.busy_machine --against ../before --rounds 3 # paired with another checkout

Starts a spinning process for each core, and next to them:

- `stride-ros replay` of a bag of the synthetic world, with default settings and with OMP_NUM_THREADS=1 in
  turn. Prints the CPU seconds of each run, and the ratio of the medians;
- the activation node with a camera, with default settings. Prints how many of the due decisions
  it made, how long they took, and its CPU seconds.

With `--against`, each is also done with that checkout, alternating with this one, under the same conditions.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from stride_ros.qwen3_vl.checkpoint import EMBEDDED
from stride_ros.text import topics

ROOT = Path(__file__).resolve().parents[2]
QUERY = "Tell me when a red ball is on the table."
CHOICES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
WARM_UP = 3  # s of camera before decisions are counted


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Run this number of processes that only use CPU time."""
    loops = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def environment(root: Path, **variables: str) -> dict[str, str]:
    """This environment with the modules of a checkout, and only `variables` of the user's settings."""
    path = os.pathsep.join(part for part in (str(root), os.environ.get("PYTHONPATH", "")) if part)
    kept = {name: value for name, value in os.environ.items() if name not in CHOICES}
    return {**kept, "PYTHONPATH": path, **variables}


def replay_seconds(root: Path, bag: Path, **variables: str) -> float:
    """CPU seconds of one replay, including the start and end of the process."""
    command = [sys.executable, str(root / "scripts" / "stride-ros"), "replay", str(bag), "--query", QUERY]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment(root, **variables), check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare_replays(roots: dict[str, Path], bag: Path, rounds: int) -> None:
    """Print a row for each checkout and setting."""
    settings = {"default": {}, "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"}}
    used: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name, root in roots.items():
            for setting, variables in settings.items():
                seconds = replay_seconds(root, bag, **variables)
                used.setdefault((name, setting), []).append(seconds)
    print("| replay | CPU s, default | CPU s, OMP_NUM_THREADS=1 | ratio of medians |\n|---|---|---|---|")
    for name in roots:
        default, single = (used[name, setting] for setting in settings)
        ratio = statistics.median(default) / statistics.median(single)
        cells = [", ".join(f"{value:.1f}" for value in values) for values in (default, single)]
        print(f"| {name} | {cells[0]} | {cells[1]} | {ratio:.2f} |", flush=True)


def watch(root: Path, rate: float, decisions: int) -> str:
    """Run a checkout's node with a camera at 10 Hz; return the row of its decisions."""
    from stride_ros.benchmark.camera_load import Camera, Case, Observer, cpu_seconds

    case = Case((640, 480), 10.0)
    observer = Observer()
    camera = Camera(observer.node, case)
    values = {
        "model": EMBEDDED,
        "rate": rate,
        f"qos_overrides./{topics.IMAGE}.subscription.reliability": "reliable",
        f"qos_overrides./{topics.IMAGE}.subscription.depth": 10,
    }
    parameters = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    command = [sys.executable, str(root / "scripts" / "activation_node"), "--ros-args", *parameters]
    node = subprocess.Popen([*command, "--log-level", "error"], env=environment(root))
    try:
        observer.wait(camera.publisher.get_subscription_count, "the node")
        while not observer.decided:
            camera.play(WARM_UP)
        observer.wait(lambda: observer.values, "the node's status")
        before = cpu_seconds(node.pid)
        stamps = camera.play(decisions / rate - 0.05)  # otherwise rounding decides whether one more is due
        time.sleep(3.0)  # for decisions that are late
        seconds = cpu_seconds(node.pid) - before
        made = [stamp for stamp in observer.decided if stamps[0] <= stamp <= stamps[-1]]
        edges = [stamps[0], *made, stamps[-1]]
        steps = [(end - start) / 1e9 * rate for start, end in pairwise(edges)]
        due = len(made) + sum(max(round(step) - 1, 0) for step in steps)
        ticks = observer.values["tick (ms)"]
    finally:
        node.send_signal(signal.SIGINT)
        node.wait(30)
        observer.close()
    return f"{len(made)} of {due} | {float(ticks):.0f} | {seconds:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout to pair with")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="length of the bag (default: %(default)s)"
    )
    parser.add_argument("--spin", type=int, default=os.cpu_count(), help="busy processes (default: as cores)")
    parser.add_argument("--only", choices=("replay", "node"), help="leave the other out")
    arguments = parser.parse_args()
    roots = {"this": ROOT}
    if arguments.against:
        roots = {"before": arguments.against.resolve(), **roots}
    with tempfile.TemporaryDirectory() as folder, spinning(arguments.spin):
        if arguments.only != "node":
            bag = Path(folder, "bag")
            world = ["world", "--bag", str(bag), "--raw", "--seed", "5", "--seconds", str(arguments.seconds)]
            command = [sys.executable, str(ROOT / "scripts" / "stride-ros"), *world]
            subprocess.run(command, env=environment(ROOT), check=True, stdout=subprocess.DEVNULL)
            compare_replays(roots, bag, arguments.rounds)
        if arguments.only != "replay":
            import rclpy

            rclpy.init()
            print("\n| node | parameter rate | decisions | newest tick (ms) | CPU s |\n|---|---|---|---|---|")
            for rate in (1.0, 10.0):
                for name, root in roots.items():
                    print(f"| {name} | {rate:g} | {watch(root, rate, 20)} |", flush=True)
            rclpy.get_default_context().try_shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
