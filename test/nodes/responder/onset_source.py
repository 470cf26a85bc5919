"""Stands for the activation node in a process of its own: frames, and an ONSET for each line on stdin.

As that node does, it begins once a responder listens, and writes "ready" to stdout. Before it publishes an
ONSET it writes "onset", the span's id and the time (s since the epoch).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import numpy as np
import rclpy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from stride_ros.msg import ActivationSpan

from stride_ros.activation.identity import SpanIds
from stride_ros.imaging.images import rgb_to_image
from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import FRAMES_QOS, SPAN_QOS

PERIOD = 0.1  # s between two frames


def publish_frames(publisher: Any, newest: list[Header]) -> None:
    """Publish frames for ever; `newest` holds the header of the last one."""
    while True:
        header = Header(stamp=to_time(time.time_ns()), frame_id="camera")
        publisher.publish(rgb_to_image(np.full((32, 32, 3), 128, np.uint8), header))
        newest[:] = [header]
        time.sleep(PERIOD)


def main() -> None:
    rclpy.init()
    node = rclpy.create_node("activation")
    frames = node.create_publisher(Image, "frames", FRAMES_QOS)
    spans = node.create_publisher(ActivationSpan, "activation/span", SPAN_QOS)
    newest: list[Header] = []
    threading.Thread(target=publish_frames, args=(frames, newest), daemon=True).start()
    while not (newest and frames.get_subscription_count() and spans.get_subscription_count()):
        time.sleep(0.02)
    os.write(1, b"ready\n")
    ids = SpanIds()
    for number, _ in enumerate(sys.stdin, 1):
        onset = ActivationSpan(header=newest[0], span_id=ids(number), query="the cup", confidence=0.9)
        onset.start = onset.end = onset.onset = onset.header.stamp
        os.write(1, f"onset {onset.span_id} {time.time():.6f}\n".encode())
        spans.publish(onset)


if __name__ == "__main__":
    main()
