"""Write what the activation node publishes as lines of JSON, for tests that cannot listen themselves.

Run as a script, where those nodes are.
"""

from __future__ import annotations

import base64
import contextlib
import json

import rclpy
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import Image
from stride_ros.msg import ActivationSpan, ActivationWindow

from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.nodes.qos import FRAMES_QOS, SPAN_QOS, WINDOW_QOS


def on_frame(frame: Image) -> None:
    """A sampled frame; its pixels in base64."""
    pixels = base64.b64encode(bytes(frame.data)).decode()
    write("frame", frame, shape=[frame.height, frame.width, 3], pixels=pixels)


def on_window(window: ActivationWindow) -> None:
    write("window", window, labels=list(window.labels))


def on_span(span: ActivationSpan) -> None:
    times = {"start": to_nanoseconds(span.start), "end": to_nanoseconds(span.end)}
    write("span", span, span_id=span.span_id, state=span.state, **times)


def write(kind: str, message: object, **fields: object) -> None:
    stamp = to_nanoseconds(message.header.stamp)  # type: ignore[attr-defined]
    print(json.dumps({"kind": kind, "stamp": stamp, **fields}), flush=True)


def main() -> None:
    """Say "ready" once each topic has a publisher, and record until the process is killed."""
    rclpy.init()
    node = rclpy.create_node("recorder")
    subscriptions = [
        node.create_subscription(Image, "frames", on_frame, FRAMES_QOS),
        node.create_subscription(ActivationWindow, "activation/window", on_window, WINDOW_QOS),
        node.create_subscription(ActivationSpan, "activation/span", on_span, SPAN_QOS),
    ]
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        while not all(node.count_publishers(subscription.topic_name) for subscription in subscriptions):
            rclpy.spin_once(node, timeout_sec=0.05)
        print(json.dumps({"kind": "ready"}), flush=True)
        rclpy.spin(node)


if __name__ == "__main__":
    main()
