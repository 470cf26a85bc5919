"""An activation node, and in the same process a recorder that writes what it publishes as lines of JSON.

For tests that cannot listen themselves. In one process, because to one of its own a message may be lost: two
processes that have forgotten each other find each other again topic by topic.
"""

from __future__ import annotations

import base64
import json
import os

from rclpy.node import Node
from sensor_msgs.msg import Image
from stride_ros.msg import ActivationSpan, ActivationWindow

from stride_ros.activation.identity import span_number
from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.nodes.qos import FRAMES_QOS, SPAN_QOS, WINDOW_QOS
from stride_ros.nodes.runner import run


def on_frame(frame: Image) -> None:
    """A sampled frame; its pixels in base64."""
    pixels = base64.b64encode(bytes(frame.data)).decode()
    write("frame", frame, shape=[frame.height, frame.width, 3], pixels=pixels)


def on_window(window: ActivationWindow) -> None:
    write("window", window, labels=list(window.labels))


def on_span(span: ActivationSpan) -> None:
    times = {"start": to_nanoseconds(span.start), "end": to_nanoseconds(span.end)}
    write("span", span, span_id=span_number(span.span_id), state=span.state, **times)


def write(kind: str, message: object, **fields: object) -> None:
    put({"kind": kind, "stamp": to_nanoseconds(message.header.stamp), **fields})  # type: ignore[attr-defined]


def put(record: dict[str, object]) -> None:
    """In one call: the node's log goes to the same file."""
    os.write(1, (json.dumps(record) + "\n").encode())


class Recorder(Node):
    """Says "ready" when the activation node, which has a thread of its own, listens for images."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self.create_subscription(Image, "frames", on_frame, FRAMES_QOS)
        self.create_subscription(ActivationWindow, "activation/window", on_window, WINDOW_QOS)
        self.create_subscription(ActivationSpan, "activation/span", on_span, SPAN_QOS)
        self._started = self.create_timer(0.01, self._say_ready)

    def _say_ready(self) -> None:
        if self.count_subscribers("image"):
            put({"kind": "ready"})
            self._started.cancel()


if __name__ == "__main__":
    raise SystemExit(run("stride_ros.nodes.activation_node:ActivationNode", Recorder))
