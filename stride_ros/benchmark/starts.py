#!/usr/bin/env python3
"""Start the graph repeatedly, the camera last, and check whether every onset gets its sentence, and when.

    python -m stride_ros.benchmark.starts                       # `compose`, twenty times
    python -m stride_ros.benchmark.starts --how launch          # `ros2 launch stride_ros demo.launch.py`
    python -m stride_ros.benchmark.starts --how demo --spin 2   # `stride-ros demo` beside two busy processes

The camera shows a world in which something happens within the first seconds. A start is good if there were
onsets, and as many sentences as onsets. Prints a line for each start: the onsets, the sentences, the text of
other finals, and the time from the first frame to the first event, by their stamps. Exit code: 0 if every
start was good, otherwise 1. Choose a free domain with ROS_DOMAIN_ID.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import rclpy
from rclpy.executors import SingleThreadedExecutor

from stride_ros.benchmark.busy_machine import spinning
from stride_ros.nodes.run_listener import Listener
from stride_ros.qwen3_vl.checkpoint import EMBEDDED
from stride_ros.runs.difference import read_run
from stride_ros.runs.record import OPEN
from stride_ros.text import topics

QUERY = "Tell me when a red cone is on the table."
SECONDS = 10.0  # of camera
LIMIT = 300.0  # s for one start
NAMESPACE = f"/{topics.NAMESPACE}"
PARAMETERS = f"""
/**/camera: {{ros__parameters: {{source: world, seed: 0, seconds: {SECONDS}, wait_for_subscriber: true}}}}
/**/activation: {{ros__parameters: {{query: "{QUERY}", model: {EMBEDDED}, device: cpu}}}}
/**/responder: {{ros__parameters: {{model: {EMBEDDED}, device: cpu}}}}
"""


class Processes:
    """The processes of one start, which are ended with their sessions, however the start ends."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        self._environment = {**os.environ, "ROS_HOME": str(folder), "ROS_LOG_DIR": str(folder)}
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> None:
        with self._log.open("ab") as log:
            self._running.append(
                subprocess.Popen(
                    command,
                    env=self._environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def start_node(self, module: str, *arguments: str) -> None:
        remap = ["--ros-args", "-r", f"__ns:={NAMESPACE}", "--params-file", str(self._log.parent / "p.yaml")]
        self.start(sys.executable, "-m", f"stride_ros.nodes.{module}", *arguments, *remap)

    @property
    def last_line(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return lines[-1] if lines else "nothing in their log"

    def stop(self) -> None:
        """Send Ctrl-C, to the newest first."""
        for process in reversed(self._running):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def heard(how: str, folder: Path) -> Any:
    """Start the graph by `how`, listen until all spans are over, and return the record as JSON values."""
    (folder / "p.yaml").write_text(PARAMETERS)
    processes = Processes(folder)
    rclpy.init(args=["--ros-args", "--log-level", "error"])
    listener = Listener({QUERY: []}, lambda *_: None, namespace=NAMESPACE)
    executor = SingleThreadedExecutor()
    executor.add_node(listener)

    def wait(done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT
        while not done():
            if time.monotonic() > deadline:
                print(f"  gave up after {LIMIT:.0f} s; the nodes said: {processes.last_line}", flush=True)
                return
            executor.spin_once(timeout_sec=0.05)

    def over() -> bool:
        spans = listener.result("starts").queries[0].spans
        return bool(spans) and all(s.said is not None and s.state != OPEN for s in spans)

    try:
        if how == "launch":
            given = [f"params_file:={folder / 'p.yaml'}", f"query:={QUERY}", "show:=false"]
            processes.start("ros2", "launch", "stride_ros", "demo.launch.py", *given)
        else:
            processes.start_node("compose", "--nodes", "activation,responder")
            image = topics.under(NAMESPACE, topics.IMAGE)
            wait(lambda: listener.count_subscribers(image) > 0)
            processes.start_node("camera_node")
        wait(over)
        return json.loads(listener.result("starts").to_json(latencies=False))
    finally:
        processes.stop()
        executor.shutdown(timeout_sec=0)
        listener.destroy_node()
        rclpy.try_shutdown()


def demonstrated(folder: Path) -> Any:
    """Return the record that one `stride-ros demo` writes."""
    out = folder / "demo"
    command = [
        sys.executable,
        "-m",
        "stride_ros",
        "demo",
        "--no-report",
        "--seconds",
        "20",
        "--out",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    if done.returncode:
        print(f"  exit status {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}", flush=True)
    file = out / "events.json"
    return read_run(file) if file.exists() else {"queries": []}


def tried(how: str, number: int) -> bool:
    """Start once, print what was received, and return whether the start was good."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stride_starts_", ignore_cleanup_errors=True) as folder:
        run = demonstrated(Path(folder)) if how == "demo" else heard(how, Path(folder))
    spans = [span for query in run["queries"] for span in query["spans"]]
    said = [span["commentary"] for span in spans if span["commentary"] is not None]
    sentences = [one for one in said if one["status"] == "ok" and one["text"].strip()]
    others = [one["error"] or one["status"] for one in said if one not in sentences]
    first = f"{spans[0]['start']:.1f} s" if spans else "none"
    print(
        f"{how} {number}: onsets {len(spans)}, sentences {len(sentences)}, other finals {others}, "
        f"first event {first}, took {time.monotonic() - begun:.0f} s",
        flush=True,
    )
    return 0 < len(spans) == len(sentences)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--how", choices=("compose", "launch", "demo"), default="compose")
    parser.add_argument("--count", type=int, default=20, help="number of starts (default: 20)")
    parser.add_argument("--spin", type=int, default=0, help="processes that only burn CPU time beside them")
    arguments = parser.parse_args()
    if arguments.how == "launch" and shutil.which("ros2") is None:
        raise SystemExit("starts: there is no `ros2` command here; source a ROS 2 distribution first.")
    with spinning(arguments.spin):
        good = sum(tried(arguments.how, number) for number in range(1, arguments.count + 1))
    print(f"{arguments.how}: {good} of {arguments.count} starts with a sentence for each onset")
    return 0 if good == arguments.count else 1


if __name__ == "__main__":
    raise SystemExit(main())
