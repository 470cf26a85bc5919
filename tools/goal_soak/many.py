"""Send many goals from clients that come and go, and check that each ends once and correctly."""

from __future__ import annotations

import argparse
import functools
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from action_msgs.msg import GoalStatus, GoalStatusArray
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from stride_ros.action import WaitForEvent
from stride_ros.msg import ActivationSpan, ActivationWindow

from goal_soak.clients import QUERIES
from goal_soak.graph import DEEP_QOS, RESULT, Camera, WatchLists, camera_names, start_node, wait_until
from stride_ros.imaging.images import image_to_rgb
from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.text import topics
from stride_ros.world import World

TOOL = Path(__file__).resolve().parents[1] / "soak_goals.py"
SIZE = (160, 120)  # px, width and height of the frames
STEPS, FRAMES, CONFIDENCE = 4, 32, 0.5  # unmasking_steps, max_frames, trigger.min_confidence
# s around the beginning and the end of a goal in which an ONSET may have come before or after it.
MARGIN = 3.0
ENDED = (GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED)


class Witness:
    """Records what the node publishes, with the times of arrival (s, monotonic)."""

    def __init__(self, node: Any, names: tuple[str, ...]) -> None:
        self.spans: list[tuple[float, ActivationSpan]] = []
        self.windows: list[ActivationWindow] = []
        self.frames: dict[str, list[tuple[int, np.ndarray]]] = {name: [] for name in names}
        self.ends: dict[bytes, set[int]] = {}  # final states of goals, by goal id
        self._node = node
        node.create_subscription(ActivationSpan, topics.SPAN, self._on_span, DEEP_QOS)
        node.create_subscription(ActivationWindow, topics.WINDOW, self._on_window, DEEP_QOS)
        for name in names:
            node.create_subscription(
                Image, topics.of_camera(name, topics.FRAMES), self._frame_keeper(name), DEEP_QOS
            )
        newest = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)
        status = f"{topics.WAIT_FOR_EVENT}/_action/status"
        node.create_subscription(GoalStatusArray, status, self._on_status, newest)

    def has_frame(self, name: str, stamp: int) -> bool:
        """Whether a camera's frame with this stamp (ns) is recorded, among the newest ones."""
        return any(stamp == recorded for recorded, _ in self.frames[name][-3:])

    def _on_span(self, span: ActivationSpan) -> None:
        self.spans.append((time.monotonic(), span))

    def _on_window(self, window: ActivationWindow) -> None:
        if window.watch == "query":
            self.windows.append(window)

    def _frame_keeper(self, name: str) -> Any:
        def keep(message: Image) -> None:
            self.frames[name].append((to_nanoseconds(message.header.stamp), image_to_rgb(message)))

        return keep

    def _on_status(self, array: GoalStatusArray) -> None:
        for status in array.status_list:
            ends = self.ends.setdefault(bytes(status.goal_info.goal_id.uuid), set())
            if status.status in ENDED:
                ends.add(status.status)

    # Checks

    def fault(self, goal: dict[str, Any]) -> str:
        """The fault of a goal's end, as seen from outside, or empty."""
        if not goal["right"]:
            return "the client got an impossible result"
        if goal["code"] == RESULT.NONE:
            span_id, watch, camera, query = goal["span"]
            if not any(
                (s.span_id, s.watch, s.camera, s.query) == (span_id, watch, camera, query)
                for _, s in self.spans
            ):
                return "the span was never published"
            if query != (QUERIES[0] if goal["named"] else goal["query"]):
                return "the span is from another query"
            if goal["cameras"] and camera not in goal["cameras"]:
                return "the span is from another camera"
        if goal["code"] == RESULT.TIMEOUT and goal["named"]:
            awaited = ActivationSpan.ONSET
            if goal["until"] == WaitForEvent.Goal.OFFSET:
                awaited = ActivationSpan.OFFSET
            begin, end = goal["accepted"] + MARGIN, goal["deadline"] - MARGIN
            if any(begin < when < end and (s.watch, s.state) == ("query", awaited) for when, s in self.spans):
                return "the event came in time"
        return ""

    def compare(self, name: str) -> tuple[int, int, int, bool]:
        """Count spans, decisions and those with other labels than alone, and tell whether the spans agree."""
        own = [
            (int(s.state), to_nanoseconds(s.start), to_nanoseconds(s.end), to_nanoseconds(s.onset))
            for _, s in self.spans
            if (s.watch, s.camera) == ("query", name)
        ]
        labels = {to_nanoseconds(w.header.stamp): list(w.labels) for w in self.windows if w.camera == name}
        spans, expected = alone(self.frames[name])
        other = sum(labels.get(stamp) != value for stamp, value in expected.items())
        return len(own), len(expected), other + len(labels.keys() - expected.keys()), own == spans


def alone(frames: list[tuple[int, np.ndarray]]) -> tuple[list[tuple[int, ...]], dict[int, list[int]]]:
    """The spans (state, start, end, onset in ns) and labels by stamp of an engine with one watch."""
    from stride_ros.activation.config import ActivationConfig, TriggerConfig
    from stride_ros.activation.model import ActivationModel
    from stride_ros.activation.stamped_engine import StampedEngine
    from stride_ros.activation.watch_request import requests_for

    config = ActivationConfig(
        unmasking_steps=STEPS, max_frames=FRAMES, trigger=TriggerConfig(min_confidence=CONFIDENCE)
    )
    engine = StampedEngine(ActivationModel.load("stride-tiny"), requests_for([QUERIES[0]]), config)
    (camera,) = engine.cameras
    spans, labels = [], {}
    for stamp, image in frames:
        for decision in engine.push({camera: (image, stamp)}).decisions[camera]:
            labels[stamp] = decision.update.labels.tolist()
            spans += [
                (int(event.event.state), event.start_ns, event.end_ns, event.onset_ns)
                for event in decision.events
            ]
    return spans, labels


class Clients:
    """Processes of `run_client`, whose output is read as it comes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.goals: list[dict[str, Any]] = []
        self.answers = Counter[str]()  # number of results by how often they came
        self.killed = 0
        self._options, self._rng = options, random.Random(options.seed)
        self._running: list[subprocess.Popen[str]] = []

    def start(self, seconds: float) -> None:
        """Start all of them."""
        self._running = [self._start(seconds) for _ in range(self._options.clients)]

    def kill_one(self, seconds: float) -> None:
        """Kill one, and replace it."""
        victim = self._rng.randrange(len(self._running))
        self._running[victim].kill()
        self._running[victim].wait()
        self.killed += 1
        self._running[victim] = self._start(seconds)

    def finish(self) -> None:
        """Wait until all have ended by themselves."""
        for client in self._running:
            client.wait(120)
        wait_until(lambda: self.answers.total() >= 0, 1.0)

    def end(self) -> None:
        """Kill those that are still running."""
        for client in self._running:
            client.kill()

    def _start(self, seconds: float) -> subprocess.Popen[str]:
        options = self._options
        command = [sys.executable, str(TOOL), "client", "--seconds", f"{seconds:.1f}"]
        command += ["--goals", str(options.goals // options.clients), "--cameras", str(options.cameras)]
        command += ["--seed", str(self._rng.randrange(2**31))]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, args=(client,), daemon=True).start()
        return client

    def _read(self, client: subprocess.Popen[str]) -> None:
        assert client.stdout is not None
        for line in client.stdout:
            if not line.endswith("\n"):
                continue  # it was killed while writing
            entry = json.loads(line)
            if "answers" in entry:
                self.answers.update(entry["answers"])
            else:
                self.goals.append(entry)


def run_many(options: argparse.Namespace, folder: Path, node: Any) -> bool:
    """Run many goals on random cameras, with cancels, timeouts and killed clients."""
    names, cameras_given = camera_names(options.cameras)
    parameters = {"unmasking_steps": STEPS, "max_frames": FRAMES, "trigger.min_confidence": CONFIDENCE}
    process = start_node(
        "activation_node",
        folder / "node.log",
        options.nice,
        model="stride-tiny",
        device="cpu",
        query=QUERIES[0],
        max_watches=1000,
        **parameters,
        **cameras_given,
    )
    rng = random.Random(options.seed)
    watches, witness, clients = WatchLists(node), Witness(node, names), Clients(options)
    cameras = []
    for number, name in enumerate(names):
        world = World(options.seed + number, 3600.0, SIZE)
        picture = lambda shown, world=world: world.frame(shown % 3600.0)  # noqa: E731
        is_recorded = functools.partial(witness.has_frame, name)
        cameras.append(Camera(node, name, picture, 0.1, is_recorded))
    end = time.monotonic() + options.seconds
    try:
        if not watches.become(["query"], 120):
            raise SystemExit((folder / "node.log").read_text())
        for camera in cameras:
            camera.start()
        clients.start(options.seconds)
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, rng.uniform(2.0, 10.0)))
            if end - time.monotonic() > 30:
                clients.kill_one(end - time.monotonic())
            shown = "+".join(str(camera.shown) for camera in cameras)
            ended = len(clients.goals)
            print(f"{ended} goals ended, {clients.killed} clients killed, {shown} frames", flush=True)
        clients.finish()
        as_before = watches.become(["query"], 60)  # goals of killed clients time out
        for camera in cameras:
            camera.stop()
        wait_until(lambda: all(len(witness.frames[c.name]) >= c.shown for c in cameras), 10)
        time.sleep(1.0)  # for messages in transit
    finally:
        clients.end()
        process.kill()
    return report(options, names, clients, witness, watches, folder / "node.log") and as_before


def report(
    options: argparse.Namespace,
    names: tuple[str, ...],
    clients: Clients,
    witness: Witness,
    watches: WatchLists,
    log: Path,
) -> bool:
    """Print all results, and return whether they are correct."""
    titles = {0: "succeeded", RESULT.TIMEOUT: "timed out", RESULT.CANCELED: "canceled"}
    outcomes = Counter(titles.get(goal["code"], f"error {goal['code']}") for goal in clients.goals)
    wrong = [(fault, goal) for goal in clients.goals if (fault := witness.fault(goal))]
    print(f"seed {options.seed}; goals with a result: {len(clients.goals)}, {dict(outcomes)}")
    print(f"clients killed: {clients.killed}; most watches at once: {watches.longest}")
    print(f"wrong outcomes: {len(wrong)} {wrong[:5]}")
    print(f"how often a result came: {dict(clients.answers)}")
    ends = Counter(len(ends) for ends in witness.ends.values())
    print(f"goals seen at the node, also of killed clients, by how many ends they had: {dict(ends)}")
    late = [goal["late"] for goal in clients.goals if goal["code"] == RESULT.TIMEOUT] or [0.0]
    print(f"timeouts came late by {np.median(late):.2f} s in the median, {max(late):.2f} s at most")
    print(f"watches at the end: {watches.newest}")
    same = True
    for name in names:
        spans, decisions, other, equal = witness.compare(name)
        same = same and equal
        title = name or "the camera"
        print(
            f"{title}: {len(witness.frames[name])} frames, {decisions} decisions, {other} with other labels "
            f"than alone; {spans} span messages of the parameters' watch, as alone: {equal}"
        )
    tracebacks = log.read_text().count("Traceback")
    print(f"tracebacks of the node: {tracebacks}")
    once = set(clients.answers) <= {"1"} and set(ends) == {1}
    return bool(clients.goals) and not wrong and once and same and not tracebacks
