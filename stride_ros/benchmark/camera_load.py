#!/usr/bin/env python3
"""Measure the load of a fast camera on the activation node, over DDS: CPU share, images, decisions.

    python -m stride_ros.benchmark.camera_load                            # all cases below
    python -m stride_ros.benchmark.camera_load --size 3840x2160 --rate 60 --camera best_effort
    python -m stride_ros.benchmark.camera_load --size 640x480 --rate 30 --node best_effort

The camera repeatedly publishes one serialised picture with new stamps, so that its own cost is that of the
middleware. The node subscribes with its own QoS, or with `--node`. Prints a table: the rate that the camera
reached, the rate that the node received, both shares of one core (from /proc), and the number of decisions
made and missed, by their stamps: one per second is due.
"""

from __future__ import annotations

import argparse
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from stride_ros.imaging.images import rgb_to_compressed, rgb_to_image
from stride_ros.msg import ActivationWindow
from stride_ros.nodes.executor_thread import ExecutorThread
from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.nodes.qos import CAMERA_QOS, DIAGNOSTICS_QOS, WINDOW_QOS
from stride_ros.qwen3_vl.checkpoint import EMBEDDED
from stride_ros.text import topics

ROOT = Path(__file__).resolve().parents[2]
SECOND = 10**9  # ns
MATCH_TIMEOUT = 120.0  # s; for a node that loads its model on a busy machine


@dataclass(frozen=True)
class Case:
    """One camera. `size`: (width, height) px; `rate`: images per second.

    `camera`: the QoS it offers; `node`: what the node requests by qos_overrides, "" for its default.
    """

    size: tuple[int, int]
    rate: float
    transport: str = "raw"
    camera: str = "reliable"
    node: str = ""

    @property
    def topic(self) -> str:
        return topics.IMAGE if self.transport == "raw" else topics.compressed(topics.IMAGE)

    def __str__(self) -> str:
        size = f"{self.size[0]}x{self.size[1]} at {self.rate:g} Hz, {self.transport}"
        return f"{size}, {self.camera}; node {self.node or 'by itself'}"


CASES = [
    Case((640, 480), 30.0, node="best_effort"),
    Case((640, 480), 30.0),
    Case((1920, 1080), 10.0, node="best_effort"),
    Case((1920, 1080), 10.0),
    Case((640, 480), 60.0),
    Case((3840, 2160), 60.0),
    Case((3840, 2160), 60.0, transport="compressed"),
]


class Observer:
    """Listens to nodes in a separate thread."""

    def __init__(self, *windows: str) -> None:
        """`windows`: the topics of their decisions, by default that of a node without a namespace."""
        self.node = rclpy.create_node("camera_load")
        self.decided: list[int] = []  # stamps (ns)
        self.windows: list[ActivationWindow] = []
        self.values: dict[str, str] = {}  # values of the newest status
        for topic in windows or (topics.WINDOW,):
            self.node.create_subscription(ActivationWindow, topic, self._on_window, WINDOW_QOS)
        self.node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_status, DIAGNOSTICS_QOS)
        self._thread = ExecutorThread(self.node)

    def close(self) -> None:
        self._thread.close(5.0)
        self.node.destroy_node()

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition; raises SystemExit after a timeout."""
        deadline = time.monotonic() + MATCH_TIMEOUT
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"Timed out after {MATCH_TIMEOUT:.0f} s waiting for {what}.")
            time.sleep(0.05)

    def _on_window(self, window: ActivationWindow) -> None:
        self.decided.append(to_nanoseconds(window.header.stamp))
        self.windows.append(window)

    def _on_status(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if status.name == "activation: status":
                self.values = {value.key: value.value for value in status.values}


class Camera:
    """Publishes serialised pictures with the stamps of a camera with an exact rate."""

    def __init__(
        self, node: rclpy.node.Node, case: Case, name: str = "", scenes: Sequence[np.ndarray] = ()
    ) -> None:
        """`name`: that of one of several cameras. `scenes`: (H, W, 3) uint8 RGB, each shown for a second."""
        width, height = case.size
        if not scenes:
            y, x = np.mgrid[:height, :width]
            scene = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1)
            scenes = [scene.astype(np.uint8)]
        header = Header(frame_id=name or "camera")
        if case.transport == "raw":
            kind, convert = Image, rgb_to_image
        else:
            kind, convert = CompressedImage, rgb_to_compressed
        data = [serialize_message(convert(scene, header)) for scene in scenes]
        # CDR: 4 bytes of encapsulation, the second of which gives the byte order, then header.stamp.
        self._parts = [(message[:4], message[12:]) for message in data]
        self._stamp = struct.Struct("<iI" if data[0][1] & 1 else ">iI")
        self.megabytes = len(data[0]) / 1e6
        qos = QoSProfile(depth=CAMERA_QOS.depth, reliability=QoSReliabilityPolicy[case.camera.upper()])
        self.publisher = node.create_publisher(kind, topics.of_camera(name, case.topic), qos)
        self._period = 1.0 / case.rate
        self._shown = 0  # images

    def play(self, seconds: float) -> list[int]:
        """Publish for this long; return the stamps (ns) of all images."""
        stamps: list[int] = []
        due = started = time.monotonic()
        while due < started + seconds:
            time.sleep(max(due - time.monotonic(), 0.0))
            stamps.append(time.time_ns())
            head, tail = self._parts[int(self._shown * self._period) % len(self._parts)]
            self.publisher.publish(head + self._stamp.pack(*divmod(stamps[-1], SECOND)) + tail)
            self._shown += 1
            # A camera that cannot keep up skips images and does not catch up.
            due = max(due + self._period, time.monotonic())
        return stamps


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used on all cores together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime


def activation_node(case: Case, model: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Start the node as a separate process that watches the case's camera."""
    parameters = {
        "model": model,
        "device": "cpu",
        "image_transport": case.transport,
    }
    if case.node:
        parameters[f"qos_overrides./{case.topic}.subscription.reliability"] = case.node
    return node_process(parameters)


@contextmanager
def node_process(parameters: Mapping[str, object], namespace: str = "/") -> Iterator[subprocess.Popen[bytes]]:
    """Start the activation node with these parameters as a separate process."""
    arguments = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    arguments += ["-r", f"__ns:={namespace}"]
    command = [sys.executable, str(ROOT / "scripts" / "activation_node"), "--ros-args", *arguments]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    node = subprocess.Popen([*command, "--log-level", "error"], env=environment)
    try:
        yield node
    finally:
        node.send_signal(signal.SIGINT)
        node.wait(30)


def measure(case: Case, model: str, seconds: float) -> str:
    """Measure a case; return its row."""
    observer = Observer()
    camera = Camera(observer.node, case)
    with activation_node(case, model) as node:
        observer.wait(lambda: camera.publisher.get_subscription_count() and observer.values, "the node")
        camera.play(3.0)  # the first decision and the first images cost more
        observer.decided.clear()
        before = {pid: cpu_seconds(pid) for pid in (node.pid, os.getpid())}
        begun = time.monotonic()
        stamps = camera.play(seconds)
        took = time.monotonic() - begun
        node_share, own_share = ((cpu_seconds(pid) - used) / took for pid, used in before.items())
        last = observer.values
        observer.wait(lambda: observer.values is not last, "the node's status")
        values = observer.values
    observer.close()
    made = [stamp for stamp in observer.decided if stamps[0] <= stamp <= stamps[-1]]
    steps = np.diff([stamps[0], *made, stamps[-1]]) / SECOND
    missed = int(sum(max(round(step) - 1, 0) for step in steps))
    cells = (
        str(case),
        f"{camera.megabytes:.1f}",
        f"{len(stamps) / took:.1f}",
        values["input (Hz)"],
        f"{100 * node_share:.0f} %",
        f"{100 * own_share:.0f} %",
        f"{len(made)}, {missed} missed",
        values.get("tick (ms)", "-"),
        values["process memory (MB)"],
    )
    return f"| {' | '.join(cells)} |"


COLUMNS = (
    "camera",
    "image (MB)",
    "published (Hz)",
    "received (Hz)",
    "node, share of one core",
    "camera, share of one core",
    "decisions",
    "tick (ms)",
    "node memory (MB)",
)


def size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=size, help="WIDTHxHEIGHT of one camera instead of all cases")
    parser.add_argument(
        "--rate", type=float, default=60.0, help="its images per second (default: %(default)s)"
    )
    parser.add_argument("--transport", choices=("raw", "compressed"), default="raw")
    choices = ("best_effort", "reliable")
    parser.add_argument("--camera", choices=choices, default="reliable", help="QoS that it offers")
    parser.add_argument(
        "--node", choices=choices, default="", help="QoS that the node requests, if not the same"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="for each case (default: %(default)s)")
    parser.add_argument("--model", default=EMBEDDED, help="checkpoint (default: %(default)s)")
    arguments = parser.parse_args()
    cases = CASES
    if arguments.size:
        cases = [Case(arguments.size, arguments.rate, arguments.transport, arguments.camera, arguments.node)]
    rclpy.init()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for case in cases:
        print(measure(case, arguments.model, arguments.seconds), flush=True)
    rclpy.get_default_context().try_shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
