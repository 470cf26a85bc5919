"""A ROS node inside the launch process that never keeps `ros2 launch` from ending.

The node of launch_ros has a thread that ends only with a handled Shutdown event; a second Ctrl-C while that
event is being handled loses it, and the process then never ends.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from launch import LaunchContext

_PATIENCE = 2.0  # s to wait for a callback that is running at the end


def own_node(context: LaunchContext, prepare: Callable[[Node], None] = lambda node: None) -> Node:
    """Return a node that spins in a thread until the launch is over, including other nodes' last messages.

    `prepare` gets the node before it spins.
    """
    ros = rclpy.Context()
    rclpy.init(args=[], context=ros)
    node = rclpy.create_node(
        f"stride_launch_{os.getpid()}", context=ros, enable_rosout=False, start_parameter_services=False
    )
    prepare(node)
    executor = SingleThreadedExecutor(context=ros)
    executor.add_node(node)

    def spin() -> None:
        with suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, name="stride-launch", daemon=True)
    thread.start()

    def stop() -> None:
        ros.try_shutdown()
        thread.join(_PATIENCE)

    weakref.finalize(context, stop)  # when the launch or the process ends
    return node
