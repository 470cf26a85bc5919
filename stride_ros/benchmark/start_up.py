#!/usr/bin/env python3
"""Measure the start: CPU time, and time from the start of a process to its first decision.

    python -m stride_ros.benchmark.start_up                                  # node, replay and imports
    python -m stride_ros.benchmark.start_up --against ../before --rounds 5   # paired with another checkout

The node is `activation_node` with stride-tiny and a camera at 10 Hz that publishes from the beginning; its
CPU time is read from /proc when the first ActivationWindow arrives. The replay is `stride-ros replay` of one
second of the synthetic world, including the end of the process. Prints minimum and median of the rounds,
since other work on the machine only adds to both.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import rclpy

from stride_ros.benchmark.busy_machine import QUERY, ROOT, environment, replay_seconds
from stride_ros.benchmark.camera_load import Camera, Case, Observer, cpu_seconds
from stride_ros.qwen3_vl.checkpoint import EMBEDDED
from stride_ros.text import topics

Figures = tuple[float, float]  # CPU s, s


def start_node(root: Path) -> Figures:
    """Measure from the start of the node's process to its first decision."""
    observer = Observer()
    camera = Camera(observer.node, Case((640, 480), 10.0))
    values = {
        "model": EMBEDDED,
        "query": QUERY,
        f"qos_overrides./{topics.IMAGE}.subscription.reliability": "reliable",
    }
    parameters = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    command = [sys.executable, str(root / "scripts" / "activation_node"), "--ros-args", *parameters]
    begun = time.monotonic()
    node = subprocess.Popen([*command, "--log-level", "error"], env=environment(root))
    try:
        while not observer.decided:
            if node.poll() is not None or time.monotonic() > begun + 300:
                raise SystemExit("start_up: the node made no decision.")
            camera.play(0.1)
        return cpu_seconds(node.pid), time.monotonic() - begun
    finally:
        node.send_signal(signal.SIGINT)
        node.wait(30)
        observer.close()


def start_replay(root: Path, bag: Path) -> Figures:
    """Measure one replay of a very short bag."""
    begun = time.monotonic()
    return replay_seconds(root, bag), time.monotonic() - begun


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout to pair with")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (default: %(default)s)")
    arguments = parser.parse_args()
    roots = {"this": ROOT}
    if arguments.against:
        roots = {"before": arguments.against.resolve(), **roots}
    figures: dict[tuple[str, str], list[Figures]] = {}
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder, "bag")
        world = ["world", "--bag", str(bag), "--raw", "--seed", "5", "--seconds", "1"]
        command = [sys.executable, str(ROOT / "scripts" / "stride-ros"), *world]
        subprocess.run(command, env=environment(ROOT), check=True, stdout=subprocess.DEVNULL)
        measures: dict[str, Callable[[Path], Figures]] = {
            "node, to its first decision": start_node,
            "replay of one second": lambda root: start_replay(root, bag),
        }
        for _ in range(arguments.rounds):
            for what, measure in measures.items():
                for name, root in roots.items():
                    figures.setdefault((what, name), []).append(measure(root))
    rclpy.get_default_context().try_shutdown()
    print(f"| {arguments.rounds} starts each | | CPU s, least | median | s, least | median |")
    print("|---|---|---|---|---|---|")
    for (what, name), rows in figures.items():
        columns = zip(*rows, strict=True)
        cells = [f"{take(column):.1f}" for column in columns for take in (min, statistics.median)]
        print(f"| {what} | {name} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
