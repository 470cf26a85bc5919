#!/usr/bin/env python3
"""Prints the spans on activation/span until one ends."""

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.task import Future
from stride_ros.msg import ActivationSpan


class SpanListener(Node):
    def __init__(self) -> None:
        super().__init__("span_listener_py")
        self.over = Future()
        qos = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(ActivationSpan, "activation/span", self._on_span, qos)

    def _on_span(self, span: ActivationSpan) -> None:
        times = " ".join(
            f"{name}={time.sec}.{time.nanosec:09d}"
            for name, time in (("start", span.start), ("end", span.end), ("onset", span.onset))
        )
        print(
            f"id={span.span_id} state={span.state} {times} confidence={span.confidence:.2f} "
            f"respond={span.respond:d} watch={span.watch} frame={span.header.frame_id} {span.query}",
            flush=True,
        )
        if span.state == ActivationSpan.OFFSET:
            self.over.set_result(None)


rclpy.init()
node = SpanListener()
rclpy.spin_until_future_complete(node, node.over)
node.destroy_node()
rclpy.get_default_context().try_shutdown()
