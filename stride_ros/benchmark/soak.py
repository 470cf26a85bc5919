#!/usr/bin/env python3
"""Run the real activation node for simulated hours at full speed, and check memory, ticks and ids.

    python -m stride_ros.benchmark.soak --hours 24 --model stride-tiny

Images with stamps one second apart go to the node over DDS, each after the decision on the previous one. Exit
code 1 if a tick is missing, a span breaks its life cycle, or memory grows.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time

import numpy as np

os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import rclpy
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from stride_ros.imaging.images import rgb_to_image
from stride_ros.msg import ActivationSpan, ActivationWindow
from stride_ros.nodes.activation_node import ActivationNode
from stride_ros.nodes.diagnostics import process_memory
from stride_ros.nodes.executor_thread import ExecutorThread
from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import SPAN_QOS, WINDOW_QOS
from stride_ros.qwen3_vl.checkpoint import EMBEDDED
from stride_ros.text import topics

SECOND = 10**9
ORIGIN = 1_700_000_000 * SECOND
WARM_UP = 600  # ticks until caches are full, from which growth counts
GROWTH = 50e6  # bytes
ENDED = (ActivationSpan.OFFSET, ActivationSpan.RETRACTED)


class Checks:
    """Counts ticks and follows every span."""

    def __init__(self, node: rclpy.node.Node) -> None:
        self.ticks = 0
        self.problems: list[str] = []
        self.spans = 0
        self._open: set[int] = set()
        self._decided = threading.Event()
        node.create_subscription(ActivationWindow, topics.WINDOW, self._on_window, WINDOW_QOS)
        node.create_subscription(ActivationSpan, topics.SPAN, self._on_span, SPAN_QOS)

    def wait(self) -> bool:
        decided = self._decided.wait(60)
        self._decided.clear()
        return decided

    def _on_window(self, window: ActivationWindow) -> None:
        expected = to_time(ORIGIN + self.ticks * SECOND)
        if window.header.stamp != expected:
            self.problems.append(f"tick {self.ticks} has stamp {window.header.stamp.sec}")
        self.ticks += 1
        self._decided.set()

    def _on_span(self, span: ActivationSpan) -> None:
        if span.state == ActivationSpan.ONSET:
            self.spans += 1
            if span.span_id != self.spans:
                self.problems.append(f"onset {self.spans} has id {span.span_id}")
            self._open.add(span.span_id)
        elif span.span_id not in self._open:
            self.problems.append(f"span {span.span_id} goes on but is not open")
        if span.state in ENDED:
            self._open.discard(span.span_id)


def soak(ticks: int, model: str, steps: int) -> int:
    """Run for this many simulated seconds; return the exit code."""
    rclpy.init()
    overrides = {
        "model": model,
        "device": "cpu",
        "query": "Tell me when it happens.",
        "unmasking_steps": steps,
        "trigger.min_confidence": 0.0,
        "autostart": False,
        f"qos_overrides./{topics.IMAGE}.subscription.reliability": "reliable",
    }
    node = ActivationNode(parameter_overrides=[Parameter(k, value=v) for k, v in overrides.items()])
    observer = rclpy.create_node("observer")
    checks = Checks(observer)
    camera = observer.create_publisher(Image, topics.IMAGE, QoSProfile(depth=10))
    thread = ExecutorThread(node, observer)
    if not node.autostart():
        return 1
    while camera.get_subscription_count() == 0:
        time.sleep(0.01)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
    begun, base = time.monotonic(), 0
    for tick in range(ticks):
        picture = np.roll(picture, int(rng.integers(1, 40)), axis=1) // 2 + int(rng.integers(0, 128))
        header = Header(stamp=to_time(ORIGIN + tick * SECOND), frame_id="camera")
        camera.publish(rgb_to_image(picture.astype(np.uint8), header))
        if not checks.wait():
            checks.problems.append(f"no decision at tick {tick}")
            break
        if tick == min(WARM_UP, ticks // 2):
            base = process_memory()
        if tick % 3600 == 3599 or tick == ticks - 1:
            growth = process_memory() - base
            print(
                f"{(tick + 1) / 3600:5.1f} h simulated in {time.monotonic() - begun:6.0f} s: {checks.ticks} "
                f"ticks, {checks.spans} spans, memory {process_memory() / 1e6:.0f} MB ({growth / 1e6:+.1f})",
                flush=True,
            )
    if process_memory() - base > GROWTH:
        checks.problems.append(f"memory grew by {(process_memory() - base) / 1e6:.0f} MB")
    if checks.ticks != ticks:
        checks.problems.append(f"{ticks - checks.ticks} ticks are missing")
    thread.close()
    node.destroy_node()
    observer.destroy_node()
    rclpy.get_default_context().try_shutdown()
    for problem in checks.problems[:20]:
        print(problem, file=sys.stderr)
    return 1 if checks.problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0, help="simulated time (default: %(default)s)")
    parser.add_argument("--model", default=EMBEDDED, help="checkpoint (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=2, help="unmasking steps (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: %(default)s)")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    return soak(round(arguments.hours * 3600), arguments.model, arguments.steps)


if __name__ == "__main__":
    raise SystemExit(main())
