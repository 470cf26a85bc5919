"""Run nodes in one process until Ctrl-C or SIGTERM: exit 0, no traceback, everything joined.

Nothing heavy is imported at the top, so that a signal during the slow imports ends the process in order too.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from stride_ros.errors import StrideError

if TYPE_CHECKING:
    from rclpy.node import Node

_EXIT_GRACE = 2.0  # s that threads get to end before the process leaves without them


def run(*nodes: str | Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Spin nodes in one SingleThreadedExecutor; return the exit code.

    Each node is a factory or its import path, "package.module:Class". Nodes with a true `autostart` parameter
    are configured and activated first. Returns 0 after a signal, 1 when a node fails to start by itself, 2
    when a parameter is wrong.
    """
    stopping = _Stop()
    try:
        code = _run(nodes, args, stopping)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    _leave(code)
    return code


class _Stop:
    """Signal handler: before ROS is up it ends the process, afterwards rclpy's own handlers do that."""

    def __init__(self) -> None:
        self.ros_is_up = False
        signal.signal(signal.SIGINT, self)
        signal.signal(signal.SIGTERM, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.ros_is_up:
            raise SystemExit(0)


def _run(factories: Sequence[str | Callable[[], Node]], args: Sequence[str] | None, stopping: _Stop) -> int:
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    makers = [_resolve(factory) for factory in factories]
    rclpy.init(args=args if args is None else list(args))
    stopping.ros_is_up = True
    executor = SingleThreadedExecutor()
    nodes: list[Node] = []
    try:
        for make in makers:
            nodes.append(make())
            executor.add_node(nodes[-1])
        for node in nodes:
            if rclpy.ok() and not _autostart(node):
                return 0 if not rclpy.ok() else 1
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except StrideError as error:
        print(f"{error}", file=sys.stderr)
        return 2
    finally:
        for node in nodes:
            node.destroy_node()
        executor.shutdown(timeout_sec=0)
        rclpy.get_default_context().try_shutdown()
    return 0


def _resolve(factory: str | Callable[[], Node]) -> Callable[[], Node]:
    if not isinstance(factory, str):
        return factory
    module, _, name = factory.partition(":")
    return getattr(importlib.import_module(module), name)


def _autostart(node: Node) -> bool:
    if not node.has_parameter("autostart") or not node.get_parameter("autostart").value:
        return True
    return node.autostart()


def _leave(code: int) -> None:
    """Leave at once when a thread (a model that loads or answers) does not end: it cannot be interrupted."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.name.startswith("stride"):
            thread.join(_EXIT_GRACE)
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
