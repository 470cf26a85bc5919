#!/usr/bin/env python3
"""Drive forward during an event; stop when it ends, was a false alarm, or decisions stop coming.

    python3 act_on_onset.py --ros-args -r __ns:=/stride -r cmd_vel:=/cmd_vel -p speed:=0.1

It does not act on old messages: neither those published before it subscribed, nor an ONSET whose newest frame
is older than `max_age`. Only an ONSET starts it; an UPDATE may belong to an event that began long ago.
"""

import signal
import threading
import time

import rclpy
from geometry_msgs.msg import Twist
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from stride_ros.msg import ActivationSpan, ActivationWindow

# Spans are published transient local, for subscribers that want the history. Volatile leaves it out.
LIVE = QoSProfile(
    depth=10, reliability=QoSReliabilityPolicy.RELIABLE, durability=QoSDurabilityPolicy.VOLATILE
)


class ActOnOnset(Node):
    """Publishes `cmd_vel` while spans whose ONSET it received are open."""

    def __init__(self, **node_options) -> None:
        super().__init__("act_on_onset", **node_options)
        self._speed = self.declare_parameter("speed", 0.1).value  # m/s
        self._max_age = self.declare_parameter("max_age", 2.0).value  # s, from the newest frame to now
        self._timeout = self.declare_parameter("timeout", 3.0).value  # s without a decision until it stops
        self._open: set[int] = set()
        self._driving = False
        self._heard = 0.0  # monotonic, s
        self._cmd_vel = self.create_publisher(Twist, "cmd_vel", 1)
        self.create_subscription(ActivationSpan, "activation/span", self._on_span, LIVE)
        self.create_subscription(ActivationWindow, "activation/window", self._on_window, LIVE)
        # On the steady clock, since motors keep running when the wall clock is set or simulated time stands
        # still.
        self.create_timer(0.1, self._drive, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_span(self, span: ActivationSpan) -> None:
        if span.state == ActivationSpan.ONSET and self._is_new(span):
            # Other upper bits mean that the node restarted: earlier spans get no OFFSET.
            self._open = {number for number in self._open if number >> 21 == span.span_id >> 21}
            self._open.add(span.span_id)
            self._heard = time.monotonic()
        elif span.state in (ActivationSpan.OFFSET, ActivationSpan.RETRACTED):
            self._open.discard(span.span_id)
        self._drive()

    def _is_new(self, span: ActivationSpan) -> bool:
        age = (self.get_clock().now() - Time.from_msg(span.header.stamp)).nanoseconds / 1e9
        if abs(age) > self._max_age:
            self.get_logger().warning(
                f"Not acting on an ONSET that is {age:.1f} s old; raise max_age for a slow model, set "
                "use_sim_time in a simulation, and synchronise the clocks of camera and robot."
            )
        return abs(age) <= self._max_age

    def _on_window(self, _: ActivationWindow) -> None:
        self._heard = time.monotonic()  # a decision: the camera and the model are alive

    def _drive(self) -> None:
        if self._open and time.monotonic() - self._heard > self._timeout:
            self.get_logger().warning(
                f"No decision for {self._timeout:.1f} s; stopping until the next ONSET."
            )
            self._open.clear()
        if self._open:
            twist = Twist()
            twist.linear.x = self._speed
            self._cmd_vel.publish(twist)
            self._driving = True
        elif self._driving:
            self.stop()

    def stop(self) -> None:
        """Command zero speed once, since other nodes may want to drive now."""
        self._driving = False
        self._cmd_vel.publish(Twist())

    def destroy_node(self) -> None:
        """Stop the robot, whatever ends the node."""
        if self._driving and self.context.ok():
            self.stop()
            self._cmd_vel.wait_for_all_acked(Duration(seconds=2.0))
        super().destroy_node()


def main() -> None:
    """Run until a signal."""
    # A flag instead of rclpy's own handlers, which would close the publisher before the last command is sent.
    # The timer wakes the executor to look at it.
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = ActOnOnset()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while rclpy.ok() and not stopping.is_set():
        executor.spin_once()
    node.destroy_node()
    rclpy.get_default_context().try_shutdown()


if __name__ == "__main__":
    main()
