"""Whatever starts first: the activation node waits for its responder, and each event gets its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
from rcl_interfaces.msg import Log
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from stride_ros.msg import ActivationSpan, ActivationWindow, Commentary

from stride_ros.imaging.images import rgb_to_image
from stride_ros.nodes.activation_node import ActivationNode
from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import COMMENTARY_QOS, FRAMES_QOS, SPAN_QOS, WINDOW_QOS

ORIGIN = 1_700_000_000 * 10**9  # ns
CHECKPOINT = str(Path(__file__).parents[1] / "golden" / "checkpoint_single")
PARAMETERS = {"model": CHECKPOINT, "device": "cpu", "unmasking_steps": 2, "trigger.min_confidence": 0.0}


def start(graph: Any, **parameters: Any) -> Any:
    node = graph.host(ActivationNode, {**PARAMETERS, **parameters})
    assert graph.transition("activation", "configure")
    assert graph.transition("activation", "activate")
    return node


def watches(graph: Any) -> bool:
    return graph.observer.count_subscribers("/image") > 0


def state(node: Any) -> str:
    from stride_ros.nodes.diagnostics import Status

    status = Status()
    node._fill_status(status)
    return status.values["state"]


def listen(graph: Any, *topics: str) -> list[Any]:
    """Subscribe as a responder does; give `commentary` a publisher where it is among the topics."""
    made = []
    if "span" in topics:
        made.append(
            graph.observer.create_subscription(ActivationSpan, "activation/span", lambda _: None, SPAN_QOS)
        )
    if "frames" in topics:
        made.append(graph.observer.create_subscription(Image, "frames", lambda _: None, FRAMES_QOS))
    if "commentary" in topics:
        made.append(graph.observer.create_publisher(Commentary, "commentary", COMMENTARY_QOS))
    return made


def test_it_watches_as_soon_as_a_responder_listens(graph: Any) -> None:
    node = start(graph, wait_for_responder=3600.0)
    listen(graph, "span", "frames")  # a recorder, say: not what speaks
    graph.wait(lambda: node.count_subscribers("/frames") == 1, "the recorder to be known")
    assert graph.call(Trigger, "activation/reset").success
    assert graph.call(SetBool, "activation/enable", data=False).success
    assert graph.call(SetBool, "activation/enable", data=True).success
    assert not watches(graph)
    assert state(node) == "waiting for the responder"
    listen(graph, "commentary")
    graph.wait(lambda: watches(graph), "the subscription to the images")
    graph.wait(lambda: state(node) == "active", "the state to say so")


def test_after_the_limit_it_watches_without_one_and_says_so(graph: Any) -> None:
    logs = graph.collect(Log, "/rosout", QoSProfile(depth=100))
    start(graph, wait_for_responder=0.5)
    graph.wait(lambda: watches(graph), "the subscription to the images")
    graph.wait(lambda: [m for m in logs if "set wait_for_responder to 0" in m.msg], "the warning")


def test_by_itself_it_waits_for_nobody(graph: Any) -> None:
    node = start(graph)
    assert state(node) == "active"


def test_deactivated_while_it_waits_it_waits_anew(graph: Any) -> None:
    node = start(graph, wait_for_responder=3600.0)
    assert graph.transition("activation", "deactivate")
    assert state(node) == "inactive"
    listen(graph, "span", "frames", "commentary")
    assert graph.transition("activation", "activate")
    graph.wait(lambda: watches(graph), "the subscription to the images")


def test_composed_nodes_answer_the_very_first_event(graph: Any, processes: Any, tmp_path: Path) -> None:
    """The camera's subscriber comes when the responder listens, so the first frames are not lost on it."""
    windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
    spans = graph.collect(ActivationSpan, "activation/span", SPAN_QOS)
    commentary = graph.collect(Commentary, "commentary", COMMENTARY_QOS)
    camera = graph.observer.create_publisher(Image, "image", QoSProfile(depth=50))
    values = {**PARAMETERS, "query": "Tell me when it happens."}
    arguments = [part for name, value in values.items() for part in ("-p", f"activation:{name}:={value}")]
    processes.start(
        "compose",
        *("--nodes", "activation,responder", "--ros-args"),
        *arguments,
        *("-p", f"responder:model:={CHECKPOINT}"),
        *("-p", "responder:max_new_tokens:=4"),
        *("-p", "qos_overrides./image.subscription.reliability:=reliable"),
        ROS_HOME=str(tmp_path),
    )
    graph.wait(camera.get_subscription_count, "the nodes to be ready")
    for i in range(8):
        image = rgb_to_image(
            np.full((48, 64, 3), 37 * i % 256, np.uint8),
            Header(stamp=to_time(ORIGIN + i * 10**9), frame_id="camera"),
        )
        graph.send(camera, image, lambda i=i: len(windows) > i, "a decision")
    onsets = {span.span_id: span for span in spans if span.state == ActivationSpan.ONSET}
    assert onsets

    def finals() -> dict[int, Any]:
        return {message.span_id: message for message in list(commentary) if message.final}

    graph.wait(lambda: finals().keys() >= onsets.keys(), "an answer to each ONSET")
    assert all(final.status == Commentary.OK for final in finals().values())
