"""Run nodes in one process until Ctrl-C or SIGTERM, then exit soon, with code 0 and without a traceback.

Nothing heavy is imported at the top, so that a signal during the slow imports also ends the process cleanly.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from stride_ros.errors import StrideError, about_path
from stride_ros.nodes.ros_start import check_node_arguments, start_ros
from stride_ros.process.streams import prepare_streams
from stride_ros.process.threads import prepare_process

if TYPE_CHECKING:
    from rclpy.node import Node

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# s from a signal until the process exits in any case: a pass over the window cannot be interrupted.
_PATIENCE = 2.0


def run(*nodes: str | Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Spin each node in its own thread and SingleThreadedExecutor; return the exit code.

    Each node is a factory or its import path, "package.module:Class". Nodes with a true `autostart` parameter
    configure and activate themselves first, all at once. Returns 0 after a signal, 1 when a node fails to
    start by itself, 2 when a parameter, a source or the environment of ROS is wrong.
    """
    stopper = _Stopper()
    prepare_streams()
    prepare_process()
    gc.disable()  # until the models are loaded: imported and loaded objects stay
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from stride_ros.nodes.parameters import make_node

    makers = [_resolve(node) for node in nodes]
    try:
        if args is None:
            check_node_arguments(sys.argv)
        start_ros(args, signal_handler_options=SignalHandlerOptions.NO)
    except StrideError as error:
        print(error, file=sys.stderr)
        return 2
    context = rclpy.get_default_context()
    running: list[_Runner] = []
    ended = threading.Event()
    code = 0

    def on_ready() -> None:
        if all(runner.ready for runner in running):
            gc.freeze()  # later collections need not traverse modules and weights
            gc.enable()

    def stop() -> None:
        gc.freeze()  # traversing a model's millions of objects once more would take seconds
        for runner in running:
            runner.stop()
        ended.set()

    stopper.on_signal(stop)
    try:
        for make in makers:
            running.append(_Runner(make_node(make), on_ready, ended))
        # A signal before this line did not find every node, but it set `asked` first.
        if not stopper.asked:
            for runner in running:
                runner.start()
            ended.wait()
    except (StrideError, OSError) as error:
        problem = str(error) if isinstance(error, StrideError) else about_path(error)
        if problem is None:
            raise
        print(problem, file=sys.stderr)
        code = 2
    finally:
        for runner in running:
            runner.stop()
            runner.join()
        gc.enable()
        # Destroy nodes while the context lives, so that open spans still get their last message.
        for runner in running:
            runner.node.destroy_node()
        context.try_shutdown()
    if not stopper.asked and any(runner.failed for runner in running):
        code = 1
    code = 0 if stopper.asked else code
    if stopper.asked or any(thread.name.startswith("stride-") for thread in threading.enumerate()):
        # Python's own exit is slow, and destroys modules under a thread that is still loading a model.
        _leave_now(code)
    return code


class _Runner:
    """One node with its own executor and thread, so that no other node's callback or transition delays it."""

    def __init__(self, node: Node, on_ready: Callable[[], None], ended: threading.Event) -> None:
        """`on_ready()`: the node has autostarted; `ended` is set when it can no longer run."""
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.task import Future

        self.node = node
        self.ready = False
        self.failed = False  # to autostart, or with an error
        self._on_ready = on_ready
        self._ended = ended
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._stopped = Future()
        self._thread = threading.Thread(target=self._run, name=f"executor-{node.get_name()}")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Make the thread end soon, even during a slow transition."""
        if hasattr(self.node, "interrupt"):
            self.node.interrupt()
        if not self._stopped.done():
            self._stopped.set_result(None)

    def join(self) -> None:
        """Wait until the thread and its executor have ended."""
        if self._thread.ident is not None:
            self._thread.join()
        self._executor.shutdown(timeout_sec=0)

    def _run(self) -> None:
        from rclpy.executors import ExternalShutdownException

        try:
            if _autostart(self.node):
                self.ready = True
                self._on_ready()
                self._executor.spin_until_future_complete(self._stopped)
            else:
                self.failed = True
        except ExternalShutdownException:
            pass
        except Exception:  # an error in a callback
            self.failed = True
            traceback.print_exc()
        finally:
            self._ended.set()


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
        """Make signals call `stop`, in this thread, instead of ending the process at once."""
        with self._lock:
            self._stop = stop

    def _wait(self) -> None:
        signal.sigwait(_SIGNALS)
        self.asked = True
        with self._lock:
            if self._stop is None:
                os._exit(0)  # still importing: there is nothing to release
        self._stop()
        threading.Event().wait(_PATIENCE)
        _leave_now(0)


def _leave_now(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # its disk may be full, or its reader gone
            stream.flush()
    os._exit(code)


def _resolve(node: str | Callable[[], Node]) -> Callable[[], Node]:
    if not isinstance(node, str):
        return node
    module, _, name = node.partition(":")
    make: Callable[[], Node] = getattr(importlib.import_module(module), name)
    return make


def _autostart(node: Node) -> bool:
    if not node.has_parameter("autostart") or not node.get_parameter("autostart").value:
        return True
    return bool(node.autostart())
