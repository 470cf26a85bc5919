"""The thread of a client: the only one that uses rclpy, which runs all requests until their results."""

from __future__ import annotations

import concurrent.futures
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.task import Future

from stride_ros.client.errors import Canceled
from stride_ros.client.pending import Pending

_FAREWELL = 2.0  # s to wait for answers to the final cancellations, and for the thread
_PERIOD = 0.1  # s between checks of pending requests
_SHUT_DOWN = "ROS was shut down, for example by Ctrl-C."
T = TypeVar("T")


class Run(Protocol[T]):
    """A request that is on its way. `pending`: its result."""

    pending: Pending[T]

    def tick(self) -> bool:
        """Advance it; return whether it is over."""


class ClientThread:
    """Spins a node, and runs requests and their callbacks; its methods may be called from any thread."""

    def __init__(self, node: Any, context: Any, on_tick: Callable[[], object]) -> None:
        """`on_tick` is called in the thread, a few times a second. Call `start` when the node is complete."""
        self._node, self._on_tick = node, on_tick
        self._runs: list[Run[Any]] = []  # in the order of the requests
        self._actions: deque[Callable[[], object]] = deque()  # to run in the thread, in order
        self._is_closed = self._is_shut_down = False
        node.create_timer(_PERIOD, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(node)
        self._stopped = Future()
        self._thread = threading.Thread(target=self._spin, name="stride-robot-client", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def begin(self, run: Run[T]) -> Pending[T]:
        """Start a request, in the one thread that uses rclpy, which would lose answers that come at once."""
        run.pending.thread = self._thread
        if self._is_closed:
            run.pending.fail(Canceled("This client was closed; create another one."))
            return run.pending
        self._runs.append(run)
        self.post(run.tick)
        if self._is_shut_down:  # the thread has ended
            self._fail_all(_SHUT_DOWN)
        return run.pending

    def post(self, action: Callable[[], object]) -> None:
        """Call a function in the thread, after those that were posted before."""
        # rclpy's executors start with the newest task, but a watch must be added before it is removed.
        self._actions.append(action)
        self._executor.create_task(lambda: self._actions.popleft()())

    def call(self, callback: Callable[[], object]) -> None:
        """Call a user's function, whose errors must not end the client."""
        try:
            callback()
        except Exception:
            self._node.get_logger().error(f"A callback of the client failed:\n{traceback.format_exc()}")

    def close(self, last: Sequence[Pending[Any]] = ()) -> bool:
        """Cancel all requests but the last ones, and end the thread, in about 2 s; whether it has ended."""
        self._is_closed = True
        for run in list(self._runs):
            if run.pending not in last:
                run.pending.cancel()
        concurrent.futures.wait([run.pending.future for run in list(self._runs)], _FAREWELL)
        self._fail_all("The client was closed.")
        if not self._stopped.done():
            self._stopped.set_result(None)
        self._thread.join(_FAREWELL)
        if self._thread.is_alive():  # a user's callback blocks it: it ends with the process
            return False
        self._executor.shutdown(timeout_sec=0)
        return True

    def _tick(self) -> None:
        for run in list(self._runs):
            if run.tick():
                self._runs.remove(run)
        self._on_tick()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin_until_future_complete(self._stopped)
        if not self._stopped.done():  # somebody shut ROS down, so that no answer can come any more
            self._is_shut_down = True
            self._fail_all(_SHUT_DOWN)

    def _fail_all(self, reason: str) -> None:
        for run in list(self._runs):
            run.pending.fail(Canceled(reason))
