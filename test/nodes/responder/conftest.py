"""A stage for the responder: frames and spans are published by the test, commentary is collected."""

from __future__ import annotations

import array
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[2] / "golden"
ONSET, UPDATE, OFFSET, RETRACTED = range(4)
OK, ERROR, SKIPPED = range(3)
START = 1_700_000_000  # s since the epoch, the stamp of second 0


class Stage:
    """Plays the activation node to a responder and listens to what it says."""

    def __init__(self, graph: Any, checkpoint: Path) -> None:
        from std_msgs.msg import String
        from stride_ros.msg import Commentary

        from stride_ros.nodes.qos import COMMENTARY_QOS

        self.graph = graph
        self.checkpoint = checkpoint
        self.node: Any = None
        listener_qos = copy.copy(COMMENTARY_QOS)
        listener_qos.depth = 1000  # a listener that is held up on a busy machine misses none
        self.said = graph.collect(Commentary, "commentary", listener_qos)
        self.spoken = graph.collect(String, "commentary/text")
        self.span_qos: Any = None  # of the spans, where it is not the activation node's
        self._frames: Any = None
        self._spans: Any = None

    def start(self, **parameters: Any) -> Any:
        """Host a responder with a tiny model, configured and activated, and connect to it."""
        from stride_ros.nodes.responder_node import ResponderNode

        values = {"model": str(self.checkpoint), "max_new_tokens": 12, **parameters}
        self.node = self.graph.host(ResponderNode, values)
        self.transit("configure", "activate")
        return self.node

    def transit(self, *labels: str) -> None:
        """Ask the responder for transitions, which must succeed, and connect to it when it is active."""
        for label in labels:
            assert self.graph.transition("responder", label), self.node.last_error
        if labels[-1] == "activate":
            self.connect()

    def advertise(self) -> None:
        """Make the publishers of frames and spans, before any responder listens."""
        from sensor_msgs.msg import Image
        from stride_ros.msg import ActivationSpan

        from stride_ros.nodes.qos import FRAMES_QOS, SPAN_QOS

        if self._frames is None:
            self._frames = self.graph.observer.create_publisher(Image, "frames", FRAMES_QOS)
            self._spans = self.graph.observer.create_publisher(
                ActivationSpan, "activation/span", self.span_qos or SPAN_QOS
            )

    def connect(self) -> None:
        """Wait until the responder listens, and knows who listens to it."""
        self.advertise()
        for publisher in (self._frames, self._spans):
            self.graph.wait(publisher.get_subscription_count, "the responder's subscriptions")
        # Readers are made known in order: who answers a client made now knows the reader of its commentary.
        self.graph.state("responder")

    def frame(self, second: float, height: int = 96, width: int = 128) -> None:
        """Publish a frame of coloured noise."""
        from sensor_msgs.msg import Image

        message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        message.header.stamp, message.header.frame_id = stamp(second), "camera"
        message.data = array.array("B", noise(second, height, width).tobytes())
        self._frames.publish(message)

    def frames(self, *seconds: float, **size: int) -> None:
        """Publish frames, each once the one before has arrived."""
        for second in seconds:
            count = self.node._frames.rate.count
            self.frame(second, **size)
            self.graph.wait(lambda before=count: self.node._frames.rate.count > before, f"frame {second}")

    def publish_frame(self, message: Any) -> None:
        """Publish any Image and wait until it has arrived."""
        count = self.node._frames.rate.count
        self._frames.publish(message)
        self.graph.wait(lambda: self.node._frames.rate.count > count, "the frame")

    def span(
        self,
        span_id: int,
        state: int,
        start: float,
        end: float,
        query: str = "the cup",
        onset: float | None = None,
        **fields: Any,
    ) -> None:
        """Publish a span event, as decided at ``end``; ``onset``: the ONSET's second, where that is another.

        ``fields`` are further ones of the message.
        """
        from stride_ros.msg import ActivationSpan

        message = ActivationSpan(span_id=span_id, state=state, query=query, **{"confidence": 0.9, **fields})
        message.header.stamp, message.header.frame_id = stamp(end), "camera"
        message.start, message.end = stamp(start), stamp(end)
        message.onset = message.header.stamp if onset is None else stamp(onset)
        self._spans.publish(message)

    def publish_span(self, message: Any) -> None:
        """Publish any ActivationSpan."""
        self._spans.publish(message)

    def finals(self, *ids: int, timeout: float = 60.0) -> dict[int, Any]:
        """The final commentary of each of ``ids``; fails when one of them has a second."""
        self.graph.wait(lambda: self._finals().keys() >= set(ids), f"finals of {ids}", timeout)
        return self._finals()

    def partials(self, span_id: int) -> list[str]:
        """The texts before the final one."""
        return [
            message.text for message in list(self.said) if message.span_id == span_id and not message.final
        ]

    def _finals(self) -> dict[int, Any]:
        finals: dict[int, Any] = {}
        for message in list(self.said):
            assert message.span_id not in finals, f"span {message.span_id}: more after the final commentary"
            if message.final:
                finals[message.span_id] = message
        return finals


def stamp(second: float) -> Any:
    """A second of the test's stream as a Time message."""
    from builtin_interfaces.msg import Time

    nanoseconds = round(second * 1e9)
    return Time(sec=START + nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def noise(second: float, height: int = 96, width: int = 128) -> np.ndarray:
    """The frame of a second: (height, width, 3) uint8."""
    return np.random.default_rng(int(second * 10)).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def stage(graph: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    """A stage in a graph of its own; what the responder remembers goes into the test's folder."""
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("stride_ros.msg", reason="the package is not built: run `make test` once")
    return Stage(graph, GOLDEN / "checkpoint_dup")


@pytest.fixture
def stamp_of() -> Callable[[float], Any]:
    """A second of the test's stream as a Time message."""
    return stamp


@pytest.fixture
def noise_of() -> Callable[..., np.ndarray]:
    """The frame of a second."""
    return noise
