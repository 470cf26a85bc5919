"""Text of others acts nowhere: not in a log, a reason, /diagnostics or the answer of a service or action."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")
pytest.importorskip("stride_ros.msg", reason="the package is not built: run `make test` once")
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Log
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String
from stride_ros.action import Describe, WaitForEvent
from stride_ros.msg import ActivationSpan, Commentary, WatchSpec
from stride_ros.srv import AddWatch, RemoveWatch

from stride_ros.nodes.activation_node import ActivationNode
from stride_ros.nodes.qos import COMMENTARY_QOS, DIAGNOSTICS_QOS, FRAMES_QOS, SERVICES_QOS, SPAN_QOS
from stride_ros.nodes.responder_node import ResponderNode

CHECKPOINT = str(Path(__file__).parents[1] / "golden" / "checkpoint_single")
ACTS = "e\x1b[2J\x1b]0;own\x07\n[FATAL] FORGED\r\u202eabc\u2066\u200b\ufeff\u2028\x85\x9b31m<b>$x$"


class Room:
    """Hears all that nodes tell, and asks them."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.logs = graph.collect(Log, "/rosout", 1000)
        self.statuses = graph.collect(DiagnosticArray, "/diagnostics", DIAGNOSTICS_QOS)

    def texts(self, node: str) -> list[str]:
        """What a node has told in its log and on /diagnostics."""
        told = [log.msg for log in list(self.logs) if log.name == node]
        for array in list(self.statuses):
            for status in array.status:
                if node in status.name:
                    told += [status.name, status.message, status.hardware_id]
                    told += [text for value in status.values for text in (value.key, value.value)]
        return told

    def check(self, node: str, heard: Callable[[list[str]], bool]) -> None:
        """Wait until something that tells of these names was `heard`; none of it acts."""
        self.graph.wait(lambda: heard(self.texts(node)), "what is told")
        for text in self.texts(node):
            assert text.isprintable(), text

    def set(self, node: str, **values: Any) -> list[str]:
        """Set parameters; the reasons of those that were refused."""
        messages = [
            ParameterMessage(name=name, value=Parameter(name, value=value).to_parameter_msg().value)
            for name, value in values.items()
        ]
        answer = self.graph.call(SetParameters, f"/{node}/set_parameters", parameters=messages)
        return [result.reason for result in answer.results if not result.successful]

    def goal(self, kind: Any, name: str, goal: Any) -> Any:
        """The result of a goal."""
        qos = {f"{part}_service_qos_profile": SERVICES_QOS for part in ("goal", "result", "cancel")}
        return self.graph.send_goal(ActionClient(self.graph.observer, kind, name, **qos), goal).end()[1]


@pytest.fixture
def room(graph: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Room:
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    return Room(graph)


def test_nobodys_text_acts_through_the_activation_node(room: Room) -> None:
    graph = room.graph
    values = {"model": CHECKPOINT, "device": "cpu", "query": f"Say {ACTS}", "wait_for_responder": 0.0}
    graph.host(ActivationNode, values)
    refused = room.set("activation", model=ACTS, device=ACTS, query=ACTS * 100)
    assert not graph.transition("activation", "configure")
    assert not room.set("activation", model=CHECKPOINT, device="cpu")
    assert graph.transition("activation", "configure")
    assert graph.transition("activation", "activate")
    images = graph.publisher(Image, "image", FRAMES_QOS)
    queries = graph.publisher(String, "query")
    refused += room.set("activation", query=f"Tell {ACTS}", **{"trigger.min_confidence": 0.1})
    for encoding in (ACTS, "rgb8", "bgr8; " + ACTS):
        picture = Image(header=Header(frame_id=ACTS), height=2, width=2, step=6, encoding=encoding)
        picture.header.stamp.sec = 1_700_000_000
        picture.data = bytes(12)
        images.publish(picture)
    queries.publish(String(data=f"New {ACTS}"))
    queries.publish(String(data=ACTS * 100))
    for spec in (WatchSpec(id=ACTS, query="a"), WatchSpec(id="a", query=ACTS), WatchSpec(query=ACTS * 100)):
        refused.append(graph.call(AddWatch, "/activation/add_watch", watch=spec).error_msg)
    for id in (ACTS, "a" + ACTS):
        refused.append(graph.call(RemoveWatch, "/activation/remove_watch", id=id).error_msg)
    for watch in (WatchSpec(id=ACTS), WatchSpec(query=ACTS * 100)):
        refused.append(room.goal(WaitForEvent, "wait_for_event", WaitForEvent.Goal(watch=watch)).error_msg)
    assert sum(map(bool, refused)) >= 6
    assert all(text.isprintable() and len(text) <= 1000 for text in refused), refused
    room.check("activation", lambda texts: any("New query" in text and "FORGED" in text for text in texts))


def test_nobodys_text_acts_through_the_responder(room: Room, chat_server: Any) -> None:
    graph = room.graph
    said = graph.collect(Commentary, "commentary", COMMENTARY_QOS)
    graph.host(ResponderNode, {"backend": "openai", "base_url": chat_server.url, "model": f"m{ACTS}"})
    refused = room.set("responder", busy_policy=ACTS, respond_on=ACTS)
    assert graph.transition("responder", "configure")
    assert graph.transition("responder", "activate")
    frames = graph.publisher(Image, "frames", FRAMES_QOS)
    spans = graph.publisher(ActivationSpan, "activation/span", SPAN_QOS)
    header = Header(frame_id=ACTS)
    frames.publish(Image(header=header, height=2, width=2, step=6, encoding=ACTS, data=bytes(12)))
    chat_server.then("404", f"ok {ACTS}")
    for number, name in enumerate((ACTS, "b" * 2000 + ACTS), 1):
        header = Header(frame_id=name)
        header.stamp.sec = 1_700_000_000
        spans.publish(ActivationSpan(header=header, span_id=number, query=name, watch=name, camera=name))
    spans.publish(ActivationSpan(span_id=9, state=77, query=ACTS))
    refused.append(room.goal(Describe, "describe", Describe.Goal(question=ACTS, camera=ACTS)).error_msg)
    graph.wait(lambda: sum(message.final for message in list(said)) == 2, "the finals")
    reasons = [message.error for message in list(said) if message.final]
    assert all(text and text.isprintable() and len(text) <= 1000 for text in [*refused, *reasons])
    room.check("responder", lambda texts: any("Skipped a frame" in text for text in texts))


@pytest.mark.parametrize("kind", ["jpeg", ACTS, "h264; " + ACTS])
def test_the_format_of_a_compressed_image_does_not_act(room: Room, kind: str) -> None:
    graph = room.graph
    node = graph.host(ActivationNode, {"model": CHECKPOINT, "device": "cpu", "image_transport": "compressed"})
    assert graph.transition("activation", "configure")
    assert graph.transition("activation", "activate")
    images = graph.publisher(CompressedImage, "image/compressed", FRAMES_QOS)
    picture = CompressedImage(format=kind, data=ACTS.encode())
    picture.header.frame_id = ACTS
    graph.send(images, picture, lambda: "could not" in node.last_error or node.last_error, "the image")
    room.check("activation", lambda texts: any("image" in text.lower() for text in texts))
