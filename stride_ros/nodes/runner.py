"""Run nodes in one process until Ctrl-C or SIGTERM: exit 0, no traceback, soon.

Nothing heavy is imported at the top, so that a signal during the slow imports ends the process in order too.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stride_ros.errors import StrideError
from stride_ros.threads import prepare_process

if TYPE_CHECKING:
    from rclpy.node import Node

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# s from a signal until the process leaves in any case: a pass over the window cannot be interrupted.
_PATIENCE = 2.0


def run(*nodes: str | Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Spin nodes in one SingleThreadedExecutor; return the exit code.

    Each node is a factory or its import path, "package.module:Class". Nodes with a true `autostart` parameter
    are configured and activated first. Returns 0 after a signal, 1 when a node fails to start by itself, 2
    when a parameter or a source is wrong.
    """
    stopper = _Stopper()
    prepare_process()
    gc.disable()  # until the models are loaded: what is imported and loaded stays
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions
    from rclpy.task import Future

    makers = [_resolve(node) for node in nodes]
    rclpy.init(args=args if args is None else list(args), signal_handler_options=SignalHandlerOptions.NO)
    context = rclpy.get_default_context()
    executor = SingleThreadedExecutor()
    stopped = Future()
    running: list[Any] = []
    code = 0

    def stop() -> None:
        gc.freeze()  # walking through a model's millions of objects once more would take seconds
        stopped.set_result(None)
        for node in running:
            if hasattr(node, "interrupt"):
                node.interrupt()

    stopper.on_signal(stop)
    try:
        for make in makers:
            running.append(make())
            executor.add_node(running[-1])
        # A signal before this line found no node to interrupt; `asked` was set first.
        ready = not stopper.asked and all(_autostart(node) for node in running)
        gc.freeze()  # later collections need not look through modules and weights
        gc.enable()
        if not stopper.asked and not ready:
            code = 1
        elif not stopper.asked:
            executor.spin_until_future_complete(stopped)
    except ExternalShutdownException:
        pass
    except StrideError as error:
        print(error, file=sys.stderr)
        code = 2
    finally:
        gc.enable()
        # Destroyed while the context lives: an open span still gets its last message.
        for node in running:
            node.destroy_node()
        executor.shutdown(timeout_sec=0)
        context.try_shutdown()
    code = 0 if stopper.asked else code
    if stopper.asked or any(thread.name.startswith("stride-") for thread in threading.enumerate()):
        # Python's own way out is slow, and pulls the modules from under a thread that still loads a model.
        _leave_now(code)
    return code


class _Stopper:
    """A thread that waits for signals; blocked everywhere else, they never interrupt at a bad moment."""

    def __init__(self) -> None:
        self.asked = False
        self._stop: Callable[[], None] | None = None
        self._lock = threading.Lock()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)  # a shell's background job starts with SIGINT ignored
        threading.Thread(target=self._wait, name="signals", daemon=True).start()

    def on_signal(self, stop: Callable[[], None]) -> None:
        """From now on a signal calls `stop`, in this thread, instead of ending the process at once."""
        with self._lock:
            self._stop = stop

    def _wait(self) -> None:
        signal.sigwait(_SIGNALS)
        self.asked = True
        with self._lock:
            if self._stop is None:
                os._exit(0)  # still importing: there is nothing to give back
        self._stop()
        threading.Event().wait(_PATIENCE)
        _leave_now(0)


def _leave_now(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _resolve(node: str | Callable[[], Node]) -> Callable[[], Node]:
    if not isinstance(node, str):
        return node
    module, _, name = node.partition(":")
    return getattr(importlib.import_module(module), name)


def _autostart(node: Node) -> bool:
    if not node.has_parameter("autostart") or not node.get_parameter("autostart").value:
        return True
    return node.autostart()
