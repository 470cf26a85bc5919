"""A managed node whose transitions never raise: an error is logged in one sentence, and they fail."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rclpy.action import ActionServer
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from stride_ros.errors import StrideError, about_path
from stride_ros.nodes.parameters import Check, Parameters
from stride_ros.parameters.autostart import AUTOSTART
from stride_ros.parameters.table import Table
from stride_ros.process.collector import paused_collector
from stride_ros.text.wording import escaped

_FAREWELL_SECONDS = 0.5


class ManagedNode(LifecycleNode):  # type: ignore[misc]  # untyped library
    """Base class of the nodes: override `configure`, `activate`, `deactivate` and `cleanup`, which may raise.

    `deactivate` and `cleanup` must also undo a partial `activate` and `configure`: they run after a failure,
    and may run when there is nothing left to undo.
    """

    def __init__(
        self,
        name: str,
        table: Table,
        check: Check | None = None,
        *,
        more: Callable[[Parameters], Table] = lambda parameters: (),
        **node_options: Any,
    ) -> None:
        """`more(parameters)`: further parameters, depending on the values of those in the table.

        `node_options` go to rclpy's Node (context, namespace, parameter_overrides, cli_args ...).
        """
        super().__init__(name, **node_options)
        self.last_error = ""
        self._interrupted = threading.Event()
        try:
            self.parameters = Parameters(self, (*table, AUTOSTART), check)
            self.parameters.declare(more(self.parameters))
        except StrideError:
            self._leave_graph()  # not destroy_node: the subclass has nothing to release yet
            raise

    # For subclasses; each may raise, with StrideError for what a user can fix.

    def configure(self) -> None:
        """Acquire what is expensive (models) and create publishers and services."""

    def activate(self) -> None:
        """Start working: create subscriptions and threads."""

    def deactivate(self) -> None:
        """Stop working; return when nothing is running any more."""

    def cleanup(self) -> None:
        """Release everything that `configure` acquired."""

    def interrupt(self) -> None:
        """Make a `call_in_thread` that uses `may_wait` give up, since the process is about to end."""
        self._interrupted.set()

    def may_wait(self) -> bool:
        """Whether a slow transition may continue."""
        return not self._interrupted.is_set() and self.context.ok()

    def autostart(self) -> bool:
        """Configure and activate; False if one of them failed, with the reason in the log."""
        success = TransitionCallbackReturn.SUCCESS
        return bool(self.trigger_configure() == success and self.trigger_activate() == success)

    # Called by rclpy. It swallows exceptions on most distros, so each is caught and logged here.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        with paused_collector():
            configured = self._attempt("configure", self.configure)
        if not configured:
            self._attempt("cleanup", self.cleanup)
            return TransitionCallbackReturn.FAILURE
        self.parameters.locked = True
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if not self._attempt("activate", self.activate):
            self._attempt("deactivate", self.deactivate)
            return TransitionCallbackReturn.FAILURE
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._attempt("deactivate", self.deactivate)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        gc.unfreeze()  # what the process loaded at its start is garbage now
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return TransitionCallbackReturn.SUCCESS  # back to unconfigured: it may be configured again

    def destroy_node(self) -> None:
        """Stop, release everything and destroy the node, from any state."""
        self._release()
        self._leave_graph()

    def _leave_graph(self) -> None:
        # rclpy does not destroy action servers either.
        for server in [entity for entity in self.waitables if isinstance(entity, ActionServer)]:
            server.destroy()
        super().destroy_node()
        # rclpy leaves the services of the state machine, and with them the node and its DDS participant, in
        # the graph until garbage collection: clients would still find a node that never answers.
        self._state_machine.destroy_when_not_in_use()

    def destroy_publisher(self, publisher: Any) -> bool:
        """Destroy a publisher when all its messages have arrived, or after half a second.

        Otherwise a node's last messages, such as pending answers, would be lost with the process.
        """
        with suppress(RuntimeError):  # the context is gone, or the middleware cannot tell
            publisher.wait_for_all_acked(Duration(seconds=_FAREWELL_SECONDS))
        return bool(super().destroy_publisher(publisher))

    def _release(self) -> None:
        self._attempt("deactivate", self.deactivate)
        self._attempt("cleanup", self.cleanup)
        if hasattr(self, "parameters"):
            self.parameters.locked = False

    def _attempt(self, what: str, action: Callable[[], None]) -> bool:
        """Run one step of a transition; if it raises, log the reason, set `last_error` and return False."""
        try:
            action()
        except InterruptedError:  # the process was asked to stop during it
            self.last_error = f"Stopped during {what}."
            return False
        except Exception as error:  # rclpy would swallow it silently
            self.last_error = _describe(error)
            self.get_logger().error(f"Could not {what}: {self.last_error}")
            return False
        return True


# Packages whose import name differs from the name to install.
_DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow"}


def _describe(error: Exception) -> str:
    """Describe an error in one sentence; for a missing Python package, with the command to run."""
    if isinstance(error, StrideError):
        return str(error)
    if isinstance(error, ImportError) and error.name:
        package = error.name.partition(".")[0]
        command = f"{sys.executable} -m pip install {_DISTRIBUTIONS.get(package, package)}"
        return (
            f"The Python package '{package}' is not installed here; activate the environment that has it, or "
            f"run: {command}"
        )
    return about_path(error) or escaped(f"{type(error).__name__}: {error}")
