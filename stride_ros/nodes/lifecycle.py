"""A managed node whose transitions never raise: an error is logged in one sentence, the transition fails."""

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

from stride_ros.errors import StrideError
from stride_ros.nodes.parameters import Check, Parameters
from stride_ros.parameters.autostart import AUTOSTART
from stride_ros.parameters.table import Table
from stride_ros.process.collector import paused_collector
from stride_ros.text.wording import escaped

_FAREWELL_SECONDS = 0.5


class ManagedNode(LifecycleNode):  # type: ignore[misc]  # untyped library
    """Base of the nodes: override `configure`, `activate`, `deactivate` and `cleanup`, which may raise.

    `deactivate` and `cleanup` must also undo a half-done `activate` and `configure`: they run after a
    failure, and they run again when nothing is left to undo.
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
        """`more(parameters)`: parameters that the values of those in the table ask for.

        `node_options` go to rclpy's Node (context, namespace, parameter_overrides, cli_args ...).
        """
        super().__init__(name, **node_options)
        self.last_error = ""
        self._interrupted = threading.Event()
        try:
            self.parameters = Parameters(self, (*table, AUTOSTART), check)
            self.parameters.declare(more(self.parameters))
        except StrideError:
            self._leave_graph()  # not destroy_node: the subclass has nothing to give back yet
            raise

    # What a node does; each may raise, StrideError for what a user can fix.

    def configure(self) -> None:
        """Take what is expensive (models) and make publishers and services."""

    def activate(self) -> None:
        """Start to work: subscriptions and threads."""

    def deactivate(self) -> None:
        """Stop to work; return when nothing runs any more."""

    def cleanup(self) -> None:
        """Give back everything `configure` took."""

    def interrupt(self) -> None:
        """Make a `call_in_thread` that waits with `may_wait` give up; the process is about to end."""
        self._interrupted.set()

    def may_wait(self) -> bool:
        """Whether a slow transition may go on."""
        return not self._interrupted.is_set() and self.context.ok()

    def autostart(self) -> bool:
        """Configure and activate; False when one of them failed (the reason is logged)."""
        success = TransitionCallbackReturn.SUCCESS
        return bool(self.trigger_configure() == success and self.trigger_activate() == success)

    # What rclpy calls. It swallows exceptions on most distros, so each is caught and told here.

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
        gc.unfreeze()  # what was loaded at the start of the process is garbage now
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return TransitionCallbackReturn.SUCCESS  # back to unconfigured: it may be configured again

    def destroy_node(self) -> None:
        """Stop, give everything back and destroy the node, from any state."""
        self._release()
        self._leave_graph()

    def _leave_graph(self) -> None:
        # rclpy leaves action servers, too.
        for server in [entity for entity in self.waitables if isinstance(entity, ActionServer)]:
            server.destroy()
        super().destroy_node()
        # rclpy leaves the services of the state machine, and with them the node and its DDS participant, in
        # the graph until the garbage collector comes: clients would go on finding a node that never answers.
        self._state_machine.destroy_when_not_in_use()

    def destroy_publisher(self, publisher: Any) -> bool:
        """Destroy it when all that it published has arrived, or after half a second.

        The last words of a node, such as answers it still owes, would be lost with the process.
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
        """Run one step of a transition; False, with the reason in the log and `last_error`, if it raised."""
        try:
            action()
        except InterruptedError:  # the process was asked to stop in the middle of it
            self.last_error = f"Stopped during {what}."
            return False
        except Exception as error:  # rclpy would swallow it without a word
            self.last_error = _describe(error)
            self.get_logger().error(f"Could not {what}: {self.last_error}")
            return False
        return True


# Where the name to import is not the name to install.
_DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow"}


def _describe(error: Exception) -> str:
    """Return one sentence; for a missing Python package, the one command to run."""
    if isinstance(error, StrideError):
        return str(error)
    if isinstance(error, ImportError) and error.name:
        package = error.name.partition(".")[0]
        command = f"{sys.executable} -m pip install {_DISTRIBUTIONS.get(package, package)}"
        return (
            f"Python has no package '{package}' here; activate the environment that has it, or run: {command}"
        )
    return escaped(f"{type(error).__name__}: {error}")
