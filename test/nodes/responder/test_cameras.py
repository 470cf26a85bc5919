"""A responder for several cameras, over DDS: each event and question is about the frames of one of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")
pytest.importorskip("stride_ros.msg", reason="the package is not built: run `make test` once")
from rclpy.action import ActionClient
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from stride_ros.action import Describe
from stride_ros.msg import ActivationSpan, Commentary

from stride_ros.imaging.images import rgb_to_image
from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import COMMENTARY_QOS, FRAMES_QOS, SERVICES_QOS, SPAN_QOS
from stride_ros.nodes.responder_node import ResponderNode

SECOND = 10**9
ORIGIN = 1_700_000_000 * SECOND
NAMES = ("front", "left")


class Robot:
    """A responder in front of a scripted server, the frames of two cameras, and a client of its action."""

    def __init__(self, graph: Any, server: Any, cameras: tuple[str, ...] = NAMES) -> None:
        self.graph, self.server = graph, server
        self.said = graph.collect(Commentary, "commentary", COMMENTARY_QOS)
        parameters = {"backend": "openai", "base_url": server.url, "model": "tiny", "warm_up": False}
        more = {"remember": False, "pre_seconds": 0.0, "cameras": list(cameras)}
        self.node = graph.host(ResponderNode, {**parameters, **more})
        qos = {f"{name}_service_qos_profile": SERVICES_QOS for name in ("goal", "result", "cancel")}
        self.client = ActionClient(graph.observer, Describe, "describe", **qos)
        assert graph.transition("responder", "configure")
        assert graph.transition("responder", "activate")
        self.spans = graph.publisher(ActivationSpan, "activation/span", SPAN_QOS)
        self.frames = {name: graph.publisher(Image, f"{name}/frames", FRAMES_QOS) for name in cameras}

    def show(self, seconds: range) -> None:
        """Frames of all cameras, each camera as wide as its name is long."""
        for second in seconds:
            for name, publisher in self.frames.items():
                before = self.node._frames.rate.count
                pixels = np.zeros((32, 32 * len(name), 3), np.uint8)
                publisher.publish(rgb_to_image(pixels, Header(stamp=to_time(ORIGIN + second * SECOND))))
                self.graph.wait(lambda n=before: self.node._frames.rate.count > n, "the frame")

    def onset(self, span_id: int, camera: str, second: int) -> Commentary:
        stamp = to_time(ORIGIN + second * SECOND)
        self.spans.publish(
            ActivationSpan(
                header=Header(stamp=stamp),
                span_id=span_id,
                state=ActivationSpan.ONSET,
                query="the cup",
                start=stamp,
                end=stamp,
                onset=stamp,
                camera=camera,
            )
        )
        return self.graph.wait(
            lambda: next((c for c in self.said if c.final and c.span_id == span_id), None), "the answer"
        )

    def ask(self, **fields: Any) -> Any:
        goal = Describe.Goal(question="What is there?", **fields)
        return self.graph.send_goal(self.client, goal).end()[1]

    def widths(self) -> set[int]:
        """Of the pictures of the newest request."""
        import base64
        import io

        from PIL import Image as Picture

        content = self.server.requests[-1]["messages"][-1]["content"]
        urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
        data = [base64.b64decode(url.partition(",")[2]) for url in urls]
        return {Picture.open(io.BytesIO(picture)).width for picture in data}


def test_an_event_is_answered_from_the_frames_of_its_camera(graph: Any, chat_server: Any) -> None:
    chat_server.then("ok At the front.", "ok On the left.")
    robot = Robot(graph, chat_server)
    robot.show(range(3))
    for number, camera in enumerate(NAMES, 1):
        final = robot.onset(number, camera, 2)
        assert (final.status, final.camera) == (Commentary.OK, camera)
        assert robot.widths() == {32 * len(camera)}
    unknown = robot.onset(3, "rear", 2)
    assert unknown.status == Commentary.SKIPPED
    assert "'rear'" in unknown.error
    assert "parameter cameras" in unknown.error
    assert len(chat_server.requests) == 2


def test_a_question_names_its_camera(graph: Any, chat_server: Any) -> None:
    chat_server.then("ok A cup.")
    robot = Robot(graph, chat_server)
    robot.show(range(2))
    answer = robot.ask(camera="left")
    assert (answer.error_code, answer.commentary.camera) == (Describe.Result.NONE, "left")
    assert robot.widths() == {32 * len("left")}
    for camera, reason in (("", "several cameras; use front or left"), ("rear", "no camera 'rear'")):
        refused = robot.ask(camera=camera)
        assert refused.error_code == Describe.Result.INVALID
        assert reason in refused.error_msg


def test_the_only_named_camera_need_not_be_named(graph: Any, chat_server: Any) -> None:
    chat_server.then("ok A cup.")
    robot = Robot(graph, chat_server, ("front",))
    robot.show(range(1))
    assert robot.ask().error_code == Describe.Result.NONE
