"""A worker that does not return in time is left behind: nothing it does later reaches the graph."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from stride_ros.msg import ActivationSpan, ActivationWindow

from stride_ros.activation.engine import ActivationEngine
from stride_ros.imaging.images import rgb_to_image
from stride_ros.nodes.activation_node import ActivationNode
from stride_ros.nodes.messages import to_nanoseconds, to_time
from stride_ros.nodes.qos import SPAN_QOS, WINDOW_QOS

CHECKPOINT = str(Path(__file__).parents[1] / "golden" / "checkpoint_single")
ORIGIN = 1_700_000_000 * 10**9  # ns
SECOND = 10**9
PARAMETERS = {
    "model": CHECKPOINT,
    "device": "cpu",
    "query": "Tell me when it happens.",
    "unmasking_steps": 4,
    "trigger.min_confidence": 0.0,
}
DEEP = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
ENDS = (ActivationSpan.OFFSET, ActivationSpan.RETRACTED)


def picture(index: int) -> Image:
    """A grey level for each second; with the golden checkpoint they make spans begin, move and end."""
    rgb = np.full((48, 64, 3), (37 * index) % 256, np.uint8)
    return rgb_to_image(rgb, Header(stamp=to_time(ORIGIN + index * SECOND), frame_id="camera"))


@pytest.mark.parametrize("between", [(), ("cleanup", "configure")], ids=["activated again", "and configured"])
def test_a_worker_left_behind_touches_nothing_of_the_next_activation(
    graph: Any, monkeypatch: pytest.MonkeyPatch, between: tuple[str, ...]
) -> None:
    windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
    spans = graph.collect(ActivationSpan, "activation/span", SPAN_QOS)

    graph.host(ActivationNode, PARAMETERS, join_timeout=0.2)
    assert graph.transition("activation", "configure")
    assert graph.transition("activation", "activate")
    camera = graph.publisher(Image, "image", DEEP)

    def feed(index: int) -> None:
        seen = len(windows)
        graph.send(camera, picture(index), lambda: len(windows) > seen, "a decision")

    for index in range(8):
        feed(index)
    known = {span.span_id for span in spans}
    assert known
    ended = {span.span_id for span in spans if span.state in ENDS}
    assert known - ended, "a span must be open"

    release, real = threading.Event(), ActivationEngine.push
    held: list[threading.Thread] = []

    def hold(*args: Any) -> Any:
        if not held:
            held.append(threading.current_thread())
            release.wait(120)
        return real(*args)

    monkeypatch.setattr(ActivationEngine, "push", hold)
    camera.publish(picture(8))
    graph.wait(lambda: held, "the decision that hangs")
    assert graph.transition("activation", "deactivate")

    def open_ids() -> set[int]:
        return {span.span_id for span in spans} - {span.span_id for span in spans if span.state in ENDS}

    graph.wait(lambda: not open_ids(), "the end of what was open when the worker was left behind")
    for transition in between:
        assert graph.transition("activation", transition)
    assert graph.transition("activation", "activate")
    graph.wait(camera.get_subscription_count, "the new subscription")
    for index in range(20, 28):
        feed(index)
    release.set()
    held[0].join(120)
    assert not held[0].is_alive()
    for index in range(28, 31):
        feed(index)

    stamps = [(to_nanoseconds(window.header.stamp) - ORIGIN) // SECOND for window in windows]
    assert stamps == [*range(8), *range(20, 31)], "the decision that hung is stale"
    unseen = [list(window.labels).count(ActivationWindow.UNSEEN) for window in windows[8:]]
    assert unseen == [11 - index for index in range(11)], "the new stream goes on as if alone"
    fresh = [span for span in spans if span.span_id not in known]
    assert fresh, "the pictures must make a span of the new activation"
    states: dict[int, list[int]] = {}
    for span in spans:
        states.setdefault(span.span_id, []).append(span.state)
    for ids in states.values():
        assert ids.count(ActivationSpan.ONSET) == 1
        assert sum(state in ENDS for state in ids) <= 1
