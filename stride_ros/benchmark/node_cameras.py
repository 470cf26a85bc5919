#!/usr/bin/env python3
"""Compare one activation node for several cameras with a node for each, over DDS: CPU time and memory.

    python -m stride_ros.benchmark.node_cameras                        # 4 cameras, 640x480 at 10 Hz
    python -m stride_ros.benchmark.node_cameras --cameras 2 --seconds 30

Each camera shows its own synthetic world, one scene per second, as raw images sent reliably. The labels of
every decision are compared with those of a session on the recorded `frames` of that camera. Prints a table:
CPU seconds of the nodes' processes while the cameras play (from /proc), their resident memory at the end,
with shared pages counted in equal parts (PSS) and in full for each process (RSS), the decisions made of those
due (one per second and camera), the median tick, and how many decisions had other labels. Exit code 1 if any
had.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import rclpy
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from stride_ros.activation.model import ActivationModel
from stride_ros.activation.session import ActivationSession
from stride_ros.benchmark.camera_load import SECOND, Camera, Case, Observer, cpu_seconds, node_process, size
from stride_ros.imaging.images import image_to_rgb
from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.qwen3_vl.checkpoint import EMBEDDED
from stride_ros.text import topics
from stride_ros.world import World

NAMES = ("front", "left", "rear", "right", "up", "down", "arm", "dock")
QUERY = "Tell me when a hand is in view."
SCENES = 30  # pictures of each camera, which it repeats
WARM_UP = 5.0  # s; the first decisions and images cost more
COLUMNS = (
    "setup",
    "CPU time (s)",
    "share of one core",
    "PSS (MB)",
    "RSS (MB)",
    "decisions",
    "median tick (ms)",
    "decisions that differ",
)


class Recorder(Observer):
    """Records the frames that were decided on and the decisions."""

    def __init__(self, names: Sequence[str], windows: Sequence[str]) -> None:
        super().__init__(*windows)
        self.frames: dict[str, list[Image]] = {name: [] for name in names}
        qos = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
        self._topics = [*windows, *(topics.of_camera(name, topics.FRAMES) for name in names)]
        for name in names:
            topic = topics.of_camera(name, topics.FRAMES)
            self.node.create_subscription(Image, topic, self.frames[name].append, qos)

    @property
    def hears_all(self) -> bool:
        """Whether all publishers of frames and decisions have been discovered."""
        return all(self.node.count_publishers(topic) for topic in self._topics)

    @property
    def has_decisions(self) -> bool:
        """Whether frames of each camera and the decision on every frame were received."""
        heard = sum(len(frames) for frames in self.frames.values())
        return all(self.frames.values()) and len(self.windows) >= heard

    def start_over(self, namespaces: Sequence[str]) -> None:
        """Clear all frames in the nodes and here, while no camera plays.

        Discovery of topics and subscribers is gradual: some of the first frames are received without their
        decision, or not at all. From here on everything is received, from the streams' beginning.
        """
        names = [f"{namespace.rstrip('/')}/activation/reset" for namespace in namespaces]
        clients = {name: self.node.create_client(Trigger, name) for name in names}
        is_quiet = False
        while not is_quiet:
            self.windows.clear()
            for frames in self.frames.values():
                frames.clear()
            for name, client in clients.items():
                self.wait(client.service_is_ready, name)
                answer = client.call_async(Trigger.Request())
                self.wait(answer.done, f"the answer of {name}")
            time.sleep(1.0)  # an image in transit may have started a stream, so repeat
            is_quiet = not any(self.frames.values()) and not self.windows


def memory(pid: int) -> tuple[float, float]:
    """PSS and RSS of a process, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    values = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
    return values["Pss"] * 1024 / 1e6, values["Rss"] * 1024 / 1e6


def play(cameras: Sequence[Camera], seconds: float) -> None:
    """Let all cameras publish for this long, each in its own thread."""
    threads = [threading.Thread(target=camera.play, args=(seconds,)) for camera in cameras]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def settle(observer: Recorder) -> None:
    """Wait up to 10 s for the decisions on all frames, some of which may not have been received."""
    patience = time.monotonic() + 10.0
    while not observer.has_decisions and time.monotonic() < patience:
        time.sleep(0.1)


def other_labels(model: ActivationModel, frames: Sequence[Image], labels: dict[int, list[int]]) -> int:
    """Number of decisions whose labels differ, by stamp, from those of a session on these frames."""
    session = ActivationSession(model, QUERY)
    expected: dict[int, list[int]] = {}
    for frame in frames:
        stamp = to_nanoseconds(frame.header.stamp)
        time_s = (stamp - to_nanoseconds(frames[0].header.stamp)) / SECOND
        if update := session.push(image_to_rgb(frame), time_s):
            expected[stamp] = update.labels.tolist()
    stamps = expected.keys() | labels.keys()
    return sum(expected.get(stamp) != labels.get(stamp) for stamp in stamps)


def measure(names: Sequence[str], case: Case, model: str, seconds: float, together: bool) -> tuple[str, int]:
    """Measure a setup; return its row and the number of decisions with other labels than alone."""
    parameters = {"model": model, "device": "cpu", "query": QUERY}
    if together:
        nodes = [({**parameters, "cameras": f"[{', '.join(names)}]"}, "/")]
        windows = [topics.WINDOW]
    else:
        nodes = [(parameters, f"/{name}") for name in names]
        windows = [topics.of_camera(name, topics.WINDOW) for name in names]
    observer = Recorder(names, windows)
    cameras = []
    for number, name in enumerate(names):
        world = World(number + 1, float(SCENES), case.size)
        scenes = [world.frame(float(second)) for second in range(SCENES)]
        cameras.append(Camera(observer.node, case, name, scenes))
    with ExitStack() as stack:
        pids = [stack.enter_context(node_process(*arguments)).pid for arguments in nodes]
        observer.wait(
            lambda: observer.hears_all and all(c.publisher.get_subscription_count() for c in cameras),
            "the nodes",
        )
        play(cameras, WARM_UP)
        observer.wait(lambda: all(observer.frames.values()) and observer.windows, "the first decisions")
        settle(observer)
        observer.start_over([namespace for _, namespace in nodes])
        begin, before = time.time_ns(), sum(cpu_seconds(pid) for pid in pids)
        play(cameras, seconds)
        used, took = sum(cpu_seconds(pid) for pid in pids) - before, (time.time_ns() - begin) / SECOND
        sizes = [memory(pid) for pid in pids]
        settle(observer)
    observer.close()
    measured = [w for w in observer.windows if to_nanoseconds(w.header.stamp) >= begin]
    ticks = [1000 * window.inference_time for window in measured]
    loaded = ActivationModel.load(model, "cpu", "auto")
    wrong = 0
    for name in names:
        own = [w for w in observer.windows if not together or w.camera == name]
        stamps = {to_nanoseconds(frame.header.stamp) for frame in observer.frames[name]}
        labels = {stamp: list(w.labels) for w in own if (stamp := to_nanoseconds(w.header.stamp)) in stamps}
        wrong += other_labels(loaded, observer.frames[name], labels)
    due = round(took) * len(names)
    cells = (
        f"one node, {len(names)} cameras" if together else f"{len(names)} nodes, a camera each",
        f"{used:.1f}",
        f"{100 * used / took:.0f} %",
        f"{sum(pss for pss, _ in sizes):.0f}",
        f"{sum(rss for _, rss in sizes):.0f}",
        f"{len(measured)} of {due}",
        f"{np.median(ticks):.0f}",
        f"{wrong} of {len(observer.windows)}",
    )
    return f"| {' | '.join(cells)} |", wrong


def main() -> int:
    """Measure both setups, one after the other; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cameras", type=int, default=4, choices=range(1, len(NAMES) + 1), metavar="N")
    parser.add_argument("--size", type=size, default=(640, 480), help="WIDTHxHEIGHT (default: 640x480)")
    parser.add_argument("--rate", type=float, default=10.0, help="images per second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each setup (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="of both setups (default: %(default)s)")
    parser.add_argument("--model", default=EMBEDDED, help="checkpoint (default: %(default)s)")
    arguments = parser.parse_args()
    case, names = Case(arguments.size, arguments.rate), NAMES[: arguments.cameras]
    rclpy.init()
    print(f"{len(names)} cameras, {case}, for {arguments.seconds:g} s; {os.cpu_count()} cores, load average")
    print(f"{os.getloadavg()[0]:.0f} at the beginning.\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    wrong = 0
    for _ in range(arguments.rounds):
        for together in (True, False):
            row, other = measure(names, case, arguments.model, arguments.seconds, together)
            wrong += other
            print(row, flush=True)
    rclpy.get_default_context().try_shutdown()
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
