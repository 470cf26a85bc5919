"""A stage for `wait_for_event`: a node that watches a camera, and a client that sends goals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CHECKPOINT = str(Path(__file__).parents[2] / "golden" / "checkpoint_single")
ORIGIN = 1_700_000_000 * 10**9  # ns
SECOND = 10**9
PARAMETERS = {
    "model": CHECKPOINT,
    "device": "cpu",
    "unmasking_steps": 4,
    "trigger.min_confidence": 0.0,
    "query": "Say when it happens.",
}


class Mission:
    """A node that watches a grey camera at 1 FPS, and a client of its action and services.

    The spans of the watch `query`: an ONSET of 1 at frame 6 (from 0), at 7 its OFFSET and the ONSET of 2, at
    9 the OFFSET of 2 and the ONSET of 3, which is RETRACTED at 10, at 12 the ONSET and OFFSET of 4 and the
    ONSET of 5, and the OFFSET of 5 at 19.
    """

    def __init__(self, graph: Any, **parameters: Any) -> None:
        from rclpy.action import ActionClient
        from stride_ros.action import WaitForEvent
        from stride_ros.msg import ActivationSpan, ActivationWindow, Watches

        from stride_ros.nodes.activation_node import ActivationNode
        from stride_ros.nodes.qos import SERVICES_QOS, SPAN_QOS, WATCHES_QOS, WINDOW_QOS

        self.graph, self.action = graph, WaitForEvent
        self.spans = graph.collect(ActivationSpan, "activation/span", SPAN_QOS)
        self.windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
        self.watches = graph.collect(Watches, "watches", WATCHES_QOS)
        self.node = graph.host(ActivationNode, {**PARAMETERS, **parameters})
        qos = {f"{name}_service_qos_profile": SERVICES_QOS for name in ("goal", "result", "cancel")}
        self.client = ActionClient(graph.observer, WaitForEvent, "wait_for_event", **qos)
        self.camera: Any = None
        self.sent = 0

    def transit(self, *labels: str) -> None:
        for label in labels:
            assert self.graph.transition("activation", label)

    def start(self) -> Mission:
        from rclpy.qos import QoSProfile, QoSReliabilityPolicy
        from sensor_msgs.msg import Image

        self.transit("configure", "activate")
        qos = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
        self.camera = self.graph.publisher(Image, "image", qos)
        return self

    def goal(self, watch: Any = None, **fields: Any) -> Any:
        """Send a goal; `watch`: an id, or fields of the watch."""
        from stride_ros.msg import WatchSpec

        spec = WatchSpec(**({"id": watch} if isinstance(watch, str) else watch or {}))
        return self.graph.send_goal(self.client, self.action.Goal(watch=spec, **fields))

    def show(self, stamp: int, level: int = 0) -> None:
        """Publish one grey frame with this stamp (ns)."""
        from std_msgs.msg import Header

        from stride_ros.imaging.images import rgb_to_image
        from stride_ros.nodes.messages import to_time

        image = np.full((48, 64, 3), level % 256, np.uint8)
        self.camera.publish(rgb_to_image(image, Header(stamp=to_time(stamp))))

    def play(self, count: int, watches: int = 1) -> None:
        """Show the next frames, each when so many watches have decided on the one before, and all others."""
        for _ in range(count):
            stamp = ORIGIN + self.sent * SECOND
            self.show(stamp, 37 * self.sent)
            self.graph.wait(lambda t=stamp: self._decided(t) >= watches and self._is_idle, "all windows")
            self.sent += 1

    def _decided(self, stamp: int) -> int:
        """Decisions on the frame of this stamp (ns); those on earlier ones may still be on their way."""
        stamps = [(window.header.stamp.sec, window.header.stamp.nanosec) for window in self.windows]
        return stamps.count(divmod(stamp, SECOND))

    @property
    def _is_idle(self) -> bool:
        """Whether nothing waits for a decision; a frame that comes while one does is dropped."""
        worker = self.node._worker
        return worker is None or bool(worker.is_idle)

    def play_until(self, condition: Callable[[], Any], frames: int = 60) -> None:
        """Show frames until something is so."""
        for _ in range(frames):
            if condition():
                return
            self.play(1)
        self.graph.wait(condition, "what was to come with the frames")

    def ids(self, number: int) -> dict[int, int]:
        """The ids of spans by their numbers, as soon as this one is there."""
        from stride_ros.activation.identity import span_number

        def found() -> dict[int, int] | None:
            ids = {span_number(span.span_id): span.span_id for span in self.spans}
            return ids if number in ids else None

        return self.graph.wait(found, f"span {number}")

    def seen(self, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """The watches by id, as soon as they are as wanted."""

        def found() -> dict[str, Any] | None:
            if not self.watches:
                return None
            newest = {watch.spec.id: watch for watch in self.watches[-1].watches}
            return newest if condition(newest) else None

        return self.graph.wait(found, what)

    def only_query(self) -> None:
        """Wait for the list as it was at the start."""
        self.seen(lambda watches: list(watches) == ["query"], "the list of watches as it was")


@pytest.fixture
def make_mission(graph: Any) -> Callable[..., Mission]:
    """Makes a mission with these parameters."""
    return lambda **parameters: Mission(graph, **parameters)


@pytest.fixture
def mission(graph: Any) -> Mission:
    """A mission whose node is active."""
    return Mission(graph).start()
