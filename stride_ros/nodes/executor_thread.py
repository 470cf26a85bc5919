"""Spin nodes in a separate thread, for programs that do something else meanwhile."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.task import Future

if TYPE_CHECKING:
    from rclpy.context import Context
    from rclpy.node import Node


class ExecutorThread:
    """Spins nodes from construction until `close`, which lets a running callback finish first."""

    def __init__(self, *nodes: Node, context: Context | None = None, name: str = "executor") -> None:
        """`context`: the nodes' context, the default one if None; `name`: name of the thread."""
        self._executor = SingleThreadedExecutor(context=context)
        for node in nodes:
            self._executor.add_node(node)
        self._stopped = Future()
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)
        self._thread.start()

    def close(self, timeout: float | None = None) -> None:
        """End the thread, then the executor; wait up to `timeout` (s) for a callback. The nodes remain."""
        # rclpy's shutdown does not wait for a running callback, which then fails on destroyed objects.
        if not self._stopped.done():
            self._stopped.set_result(None)
        self._thread.join(timeout)
        self._executor.shutdown(timeout_sec=0)

    @property
    def executor(self) -> SingleThreadedExecutor:
        """The executor, for tasks and for nodes that come and go."""
        return self._executor

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin_until_future_complete(self._stopped)
