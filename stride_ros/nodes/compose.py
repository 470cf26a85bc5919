"""Host several nodes in one process: `compose --nodes camera,activation,responder`.

Each node has its own executor and thread. ROS arguments (parameter files, remaps, namespace) follow
`--ros-args` as for any node. One process shares the Python interpreter and the GPU context, which saves
memory; separate processes are more robust.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stride_ros.nodes.ros_start import split_arguments
from stride_ros.nodes.runner import run
from stride_ros.process.streams import prepare_streams

if TYPE_CHECKING:
    from rclpy.node import Node

# s that the activation node waits for a responder before it decides, so that no onset comes too early to be
# answered.
RESPONDER_LIMIT = 60.0
NODES = {
    "activation": "stride_ros.nodes.activation_node:ActivationNode",
    "responder": "stride_ros.nodes.responder_node:ResponderNode",
    "camera": "stride_ros.nodes.camera_node:CameraNode",
    "event_log": "stride_ros.nodes.event_log_node:EventLogNode",
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the chosen nodes until they are stopped; returns the exit code."""
    prepare_streams()
    own, ros = split_arguments(list(sys.argv[1:] if args is None else args))
    parser = argparse.ArgumentParser(prog="compose", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--nodes",
        default="activation,responder",
        type=_chosen,
        help=f"comma-separated list of {', '.join(NODES)} (default: %(default)s)",
    )
    chosen = parser.parse_args(own).nodes
    nodes: list[str | Callable[[], Node]] = [NODES[name] for name in chosen]
    if {"activation", "responder"} <= set(chosen):
        nodes[chosen.index("activation")] = _patient_activation
    if {"activation", "camera"} <= set(chosen):
        nodes[chosen.index("camera")] = _patient_camera
    return run(*nodes, args=ros)


def _patient_activation() -> Node:
    """An activation node that waits for the responder beside it, which may take long to load."""
    from stride_ros.nodes.activation_node import ActivationNode

    return ActivationNode(wait_for_responder=RESPONDER_LIMIT)


def _patient_camera() -> Node:
    """A camera that starts once the activation node beside it subscribes, which loads its model first."""
    from stride_ros.nodes.camera_node import CameraNode

    return CameraNode(wait_for_subscriber=True)


def _chosen(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in NODES]
    if unknown or not names or len(set(names)) != len(names):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(NODES)}, each at most once, not '{text}'")
    return names


if __name__ == "__main__":
    raise SystemExit(main())
