#!/usr/bin/env python3
"""Turn slowly until a person is in view, stop, ask what they carry, and go on when they have left.

    python3 patrol.py --ros-args -r __ns:=/stride -r cmd_vel:=/cmd_vel -p turn:=0.2

Needs the activation node and the responder. It stops on any failure.
"""

import contextlib
import signal
import threading

import rclpy
from geometry_msgs.msg import Twist
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from stride_ros.client import Canceled, ClientError, Robot, TimedOut


class Patrol(Node):
    """Publishes `cmd_vel` ten times a second and immediately on changes; the mission has its own thread."""

    def __init__(self, **node_options) -> None:
        super().__init__("patrol", **node_options)
        self._turn = self.declare_parameter("turn", 0.2).value  # rad/s
        self._query = self.declare_parameter("query", "Tell me when a person is in view.").value
        self._question = self.declare_parameter("question", "What does the person carry?").value
        self._patience = self.declare_parameter("patience", 60.0).value  # s that a person may stay
        self._turning = False
        self._commands = self.create_publisher(Twist, "cmd_vel", 10)
        # On the steady clock, since motors keep running when the wall clock is set or simulated time stands
        # still.
        self.create_timer(0.1, self._command, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._robot = Robot(self.get_namespace(), context=self.context)
        self._mission = threading.Thread(target=self._run, daemon=True)
        self._mission.start()

    def destroy_node(self) -> None:
        """End the mission, canceling its goals, and stop."""
        self._robot.close()
        self._mission.join()
        self._command()
        super().destroy_node()

    def _run(self) -> None:
        try:
            # Renewed while this process lives; our own watch also exists between two goals.
            with self._robot.watch(self._query) as person:
                while True:
                    self._meet(person.id)
        except Canceled:
            pass  # closed
        except ClientError as error:
            self.get_logger().error(f"The patrol has ended: {error}")
        finally:
            self._drive(turning=False)

    def _meet(self, watch: str) -> None:
        """Turn until a person comes, and wait until they have left."""
        self._drive(turning=True)
        # Hours, since there may be no visitors; with look_back, none is missed between two goals.
        person = self._robot.wait_for(watch=watch, look_back=2.0, timeout=36000.0).result()
        self._drive(turning=False)
        try:
            self.get_logger().info(self._robot.describe(self._question, last=3.0).result().text)
        except Canceled:
            raise
        except ClientError as error:  # the model failed: continue without an answer
            self.get_logger().warning(f"No answer: {error}")
        with contextlib.suppress(TimedOut):  # some people do not leave
            self._robot.wait_until_over(person, timeout=self._patience).result()

    def _drive(self, *, turning: bool) -> None:
        self._turning = turning
        self._command()  # stopping must not wait for the timer

    def _command(self) -> None:
        command = Twist()
        command.angular.z = self._turn if self._turning else 0.0
        self._commands.publish(command)


def main() -> None:
    """Run until a signal."""
    # A flag instead of rclpy's own handlers, which would close the publisher before the last command is sent.
    # The timer wakes the executor to look at it.
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Patrol()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while rclpy.ok() and not stopping.is_set():
        executor.spin_once()
    node.destroy_node()
    rclpy.get_default_context().try_shutdown()


if __name__ == "__main__":
    main()
