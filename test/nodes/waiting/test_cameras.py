"""`wait_for_event` on several cameras: which events count, and what a jump of one clock ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("stride_ros.msg", reason="the package is not built: run `make test` once")
from builtin_interfaces.msg import Duration
from rclpy.action import ActionClient
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from stride_ros.action import WaitForEvent
from stride_ros.msg import ActivationSpan, ActivationWindow, WatchSpec

from stride_ros.imaging.images import rgb_to_image
from stride_ros.nodes.activation_node import ActivationNode
from stride_ros.nodes.messages import to_nanoseconds, to_time
from stride_ros.nodes.qos import SERVICES_QOS, SPAN_QOS, WINDOW_QOS

SECOND = 10**9
ORIGIN = 1_700_000_000 * SECOND
RELIABLE = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
RESULT, FEEDBACK = WaitForEvent.Result, WaitForEvent.Feedback
QUERY = "Say when it happens."
CHECKPOINT_PARAMETERS = {
    "device": "cpu",
    "unmasking_steps": 4,
    "trigger.min_confidence": 0.0,
    "query": QUERY,
    "cameras": ["front", "left"],
}


class Robot:
    """A node with two cameras, which see the same, and a client of its action.

    Spans of the query on a camera: an ONSET at its frame 6, from 0, and the OFFSET at 7.
    """

    def __init__(self, graph: Any, checkpoint: str) -> None:
        self.graph = graph
        self.spans = graph.collect(ActivationSpan, "activation/span", SPAN_QOS)
        self.windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
        self.node = graph.host(ActivationNode, {**CHECKPOINT_PARAMETERS, "model": checkpoint})
        qos = {f"{name}_service_qos_profile": SERVICES_QOS for name in ("goal", "result", "cancel")}
        self.client = ActionClient(graph.observer, WaitForEvent, "wait_for_event", **qos)
        assert graph.transition("activation", "configure")
        assert graph.transition("activation", "activate")
        self.cameras = {name: graph.publisher(Image, f"{name}/image", RELIABLE) for name in ("front", "left")}
        self.sent = dict.fromkeys(self.cameras, 0)

    def goal(self, *cameras: str, **fields: Any) -> Any:
        fields.setdefault("watch", WatchSpec(query=QUERY, cameras=list(cameras)))
        return self.graph.send_goal(self.client, WaitForEvent.Goal(**fields))

    def show(self, camera: str, back: int = 0) -> int:
        """Publish the camera's next frame, of `back` s before its time; its stamp (ns)."""
        stamp = ORIGIN + (self.sent[camera] - back) * SECOND
        pixels = np.full((48, 64, 3), (37 * self.sent[camera]) % 256, np.uint8)
        self.cameras[camera].publish(rgb_to_image(pixels, Header(stamp=to_time(stamp))))
        self.sent[camera] += 1
        return stamp

    def play(self, count: int, camera: str) -> None:
        """Show the next frames of a camera, each when all watches have decided on the one before."""
        for _ in range(count):
            stamp = self.show(camera)
            self.graph.wait(
                lambda t=stamp: self.decided(camera, t) and self.node._worker.is_idle,
                "the decisions",
            )

    def decided(self, camera: str, stamp: int) -> int:
        stamps = [to_nanoseconds(w.header.stamp) for w in self.windows if w.camera == camera]
        return stamps.count(stamp)


@pytest.fixture
def robot(graph: Any) -> Robot:
    from .conftest import CHECKPOINT

    return Robot(graph, CHECKPOINT)


def test_an_event_on_any_camera_ends_a_goal_for_all(robot: Robot) -> None:
    goal = robot.goal()
    robot.play(3, "front")
    robot.play(7, "left")
    _, result = goal.end()
    assert (result.error_code, result.span.camera) == (RESULT.NONE, "left")
    told = {feedback.camera for feedback in goal.feedback}
    assert told == {"front", "left"}


def test_a_goal_for_one_camera_does_not_see_the_other(robot: Robot) -> None:
    robot.play(2, "front")
    robot.play(2, "left")
    goal = robot.goal("left")
    robot.graph.wait(lambda: len(robot.node._watches.entries()) == 2, "the watch of the goal")
    robot.play(9, "front")
    assert any(span.camera == "front" for span in robot.spans)
    robot.play(12, "left")
    _, result = goal.end()
    assert (result.error_code, result.span.camera) == (RESULT.NONE, "left")
    assert {feedback.camera for feedback in goal.feedback} == {"left"}
    robot.graph.wait(lambda: len(robot.node._watches.entries()) == 1, "the watch to go with the goal")


def test_a_clock_that_jumps_ends_the_goals_of_its_camera(robot: Robot) -> None:
    robot.play(2, "front")
    robot.play(2, "left")
    both, front = robot.goal(), robot.goal("front")
    robot.graph.wait(lambda: len(robot.node._watches.entries()) == 2, "the watch of the goal")
    robot.show("left", back=100)
    robot.show("left", back=100)  # it takes two to tell
    assert both.end()[1].error_code == RESULT.CLOCK_JUMP
    robot.play(12, "front")
    _, result = front.end()
    assert (result.error_code, result.span.camera) == (RESULT.NONE, "front")


def test_another_clock_of_one_camera_does_not_hide_what_another_saw(robot: Robot) -> None:
    robot.play(8, "front")
    stamp = robot.show("left", back=-3600)
    robot.graph.wait(lambda: robot.decided("left", stamp), "the decision")
    goal = robot.goal(watch=WatchSpec(id="query", look_back=Duration(sec=60)), accept_open=False)
    _, result = goal.end()
    assert (result.error_code, result.span.camera) == (RESULT.NONE, "front")


def test_a_goal_for_a_camera_that_is_not_there_is_refused(robot: Robot) -> None:
    _, result = robot.goal("rear").end()
    assert result.error_code == RESULT.REFUSED
    assert "no camera 'rear'; use front or left" in result.error_msg
