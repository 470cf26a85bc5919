"""Random requests to the services and the action of the activation node; STRIDE_FUZZ=20 sends more.

Each is answered, whatever it asks for, with a reason where it is refused, and nothing of it stays behind.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from rclpy.action import ActionClient
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from stride_ros.action import WaitForEvent
from stride_ros.msg import ActivationWindow, Watches, WatchSpec
from stride_ros.srv import AddWatch, RemoveWatch

from stride_ros.imaging.images import rgb_to_image
from stride_ros.nodes.activation_node import ActivationNode
from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import SERVICES_QOS, WATCHES_QOS, WINDOW_QOS
from stride_ros.text import topics

REQUESTS = 300 * int(os.environ.get("STRIDE_FUZZ", "1"))
ORIGIN, SECOND = 1_700_000_000 * 10**9, 10**9  # ns
RELIABLE = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
PARAMETERS = {
    "model": str(Path(__file__).parents[1] / "golden" / "checkpoint_single"),
    "device": "cpu",
    "unmasking_steps": 4,
    "trigger.min_confidence": 0.0,
    "query": "Say when it happens.",
}
RESULT = WaitForEvent.Result
ENDS = {
    GoalStatus.STATUS_SUCCEEDED: {RESULT.NONE},
    GoalStatus.STATUS_CANCELED: {RESULT.CANCELED},
    GoalStatus.STATUS_ABORTED: {RESULT.TIMEOUT, RESULT.REFUSED, RESULT.WATCH_REMOVED},
}
OPEN = 20  # goals that wait at once


class Requests:
    """What is asked of a node: mostly close to what is valid."""

    def __init__(self, rng: random.Random, cameras: list[str]) -> None:
        self._rng, self._cameras = rng, cameras

    def one_of(self, usual: Any, *unusual: Any) -> Any:
        return usual if self._rng.random() < 0.85 else self._rng.choice(unusual)

    def duration(self, *usual: int) -> Duration:
        seconds = self.one_of(self._rng.choice(usual), 1, 600, -1, 2**31 - 1, -(2**31))
        return Duration(sec=seconds, nanosec=self.one_of(0, 1, 2**32 - 1))

    def spec(self) -> WatchSpec:
        one_of, some = self.one_of, self._rng.sample(self._cameras, self._rng.randint(0, len(self._cameras)))
        id = f"id_{self._rng.randrange(8)}"
        return WatchSpec(
            id=one_of(id, "", "query", "query_3", "x" * 65, "\x1b[2J", "ünï", "a/b", "\0"),
            query=one_of(
                f"Tell me when {self._rng.randrange(3)} come.", "", " ", "x" * 3000, "<active>", "\0", "🤖"
            ),
            cameras=one_of(some, ["roof"], [""], ["front"] * 100),
            min_active_seconds=one_of(-1.0, 0.0, 3.0, 1e30, float("nan"), float("inf"), float("-inf")),
            min_confidence=one_of(-1.0, 0.0, 1.0, 1.5, float("nan"), float("inf")),
            look_back=self.duration(0),
            lifetime=self.duration(0),
            respond=self._rng.random() < 0.5,
            owner=one_of("", "me", "x" * 10_000, "\x1b[2J"),
        )

    def goal(self) -> WaitForEvent.Goal:
        return WaitForEvent.Goal(
            watch=self.spec(),
            until=self.one_of(self._rng.randrange(2), 2, 255),
            accept_open=self._rng.random() < 0.5,
            timeout=self.duration(0, 1, 600),
            want_commentary=self._rng.random() < 0.2,
        )


class Robot:
    """A node, its cameras, and clients of its services and its action."""

    def __init__(self, graph: Any, cameras: list[str]) -> None:
        self.graph = graph
        self.windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
        self.watches = graph.collect(Watches, "watches", WATCHES_QOS)
        values = {**PARAMETERS, **({"cameras": cameras} if cameras else {})}
        self.node = graph.host(ActivationNode, values)
        assert graph.transition("activation", "configure")
        assert graph.transition("activation", "activate")
        self.names = cameras or [""]
        self._cameras = [
            graph.publisher(Image, topics.of_camera(name, "image"), RELIABLE) for name in self.names
        ]
        self._sent = 0
        qos = {f"{name}_service_qos_profile": SERVICES_QOS for name in ("goal", "result", "cancel")}
        self.action = ActionClient(graph.observer, WaitForEvent, "wait_for_event", **qos)
        parts = ["", *(f"{name}/" for name in cameras)]
        kinds = {AddWatch: ["add_watch"], RemoveWatch: ["remove_watch"]}
        kinds |= {SetBool: [f"{part}enable" for part in parts], Trigger: [f"{part}reset" for part in parts]}
        self.clients = {
            kind: [graph.observer.create_client(kind, f"/activation/{name}") for name in names]
            for kind, names in kinds.items()
        }
        for clients in self.clients.values():
            assert all(client.wait_for_service(60.0) for client in clients)

    def ask(self, request: Any, kind: Any, number: int = 0) -> Any:
        future = self.clients[kind][number].call_async(request)
        return self.graph.wait(lambda: future.done() and future.result(), "the answer")

    def show(self) -> None:
        """Publish a frame of each camera."""
        image = np.full((48, 64, 3), (37 * self._sent) % 256, np.uint8)
        message = rgb_to_image(image, Header(stamp=to_time(ORIGIN + self._sent * SECOND)))
        for camera in self._cameras:
            camera.publish(message)
        self._sent += 1

    def listed(self, ids: list[str]) -> bool:
        return bool(self.watches) and [watch.spec.id for watch in self.watches[-1].watches] == ids


@pytest.mark.parametrize("cameras", [[], ["front", "left", "rear"]], ids=["one camera", "three cameras"])
def test_every_request_is_answered_and_nothing_stays_behind(
    graph: Any, cameras: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(7)
    robot, requests = Robot(graph, cameras), Requests(rng, cameras)
    ids: set[str] = set()
    outcomes, ends = Counter[int](), Counter[int]()
    goals: list[Any] = []

    def end(goal: Any) -> None:
        status, result = goal.end()
        assert result.error_code in ENDS[status], result
        assert bool(result.error_msg) == (result.error_code != RESULT.NONE)
        assert result.error_msg.isprintable()
        ends[result.error_code] += 1

    for number in range(REQUESTS):
        kind = rng.choices([AddWatch, RemoveWatch, SetBool, Trigger, WaitForEvent], [50, 15, 5, 5, 25])[0]
        if kind is WaitForEvent:
            goals.append(graph.send_goal(robot.action, requests.goal()))
            if len(goals) > OPEN or rng.random() < 0.3:
                goal = goals.pop(rng.randrange(len(goals)))
                goal.cancel()
                end(goal)
        elif kind in (SetBool, Trigger):
            part = rng.randrange(len(robot.clients[kind]))
            request = SetBool.Request(data=rng.random() < 0.7) if kind is SetBool else Trigger.Request()
            assert robot.ask(request, kind, part).success
        else:
            spec = requests.spec()
            request = RemoveWatch.Request(id=spec.id)
            if kind is AddWatch:
                request = AddWatch.Request(spec=spec, replace=rng.random() < 0.3)
            response = robot.ask(request, kind)
            assert response.success == (response.error_code == 0) == (not response.error_msg)
            assert len(response.error_msg) <= 1000
            assert response.error_msg.isprintable()
            outcomes[response.error_code] += 1
            if response.success and kind is AddWatch:
                ids.add(response.id)
        if number % 20 == 0:
            robot.show()
    for goal in goals:
        goal.cancel()
        end(goal)
    assert outcomes[0] > REQUESTS / 10
    assert ends.keys() >= {RESULT.CANCELED, RESULT.REFUSED}
    for id in ids:
        robot.ask(RemoveWatch.Request(id=id), RemoveWatch)
    robot.ask(SetBool.Request(data=True), SetBool)
    graph.wait(lambda: robot.listed(["query"]), "the list as before")
    for message in robot.watches:
        for watch in message.watches:
            assert watch.expires.sec == 0 or watch.since.sec <= watch.expires.sec
    graph.wait(lambda: robot.node._worker.is_idle, "the end of the work")
    count = len(robot.windows)
    robot.show()
    graph.wait(lambda: len(robot.windows) >= count + len(robot.names), "the decisions")
    assert {(w.watch, w.camera) for w in robot.windows[count:]} == {("query", n) for n in robot.names}
    output = capfd.readouterr()
    assert "Traceback" not in output.out + output.err
    with capfd.disabled():
        print(f"\n{REQUESTS} requests: watches by error {dict(outcomes)}, goals by error {dict(ends)}")
