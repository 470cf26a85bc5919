"""What happens to the launch when a node's process ends."""

from __future__ import annotations

from typing import Any

from launch.events.process import ProcessExited
from launch.logging import get_logger

from launch import LaunchContext
from stride_ros.errors import StrideError

_REFUSED = 2  # exit code of a node with a wrong parameter or source: another try would end the same


class NodeFailed(StrideError):
    """A node could not start, or its process died. `ros2 launch` then ends with exit code 1.

    An exception in a handler is the one way to that code: after a Shutdown action the code is 0.
    """


class WhenItEnds:
    """Handler of a process's exit: end the launch with an error, or say what goes on without it."""

    def __init__(self, name: str, *, shutdown: bool, respawn: bool = False) -> None:
        """`shutdown`: a failure ends the launch; `respawn`: the process is started again."""
        self._name = name
        self._shutdown = shutdown
        self._respawn = respawn

    def __call__(self, event: ProcessExited, context: LaunchContext) -> Any:
        code = event.returncode
        if context.is_shutdown or code == 0 or (self._respawn and code != _REFUSED):
            return
        what = (
            f"was killed by signal {-code}"
            if code < 0
            else f"ended with exit code {code}, see its message above"
        )
        if self._shutdown:
            raise NodeFailed(f"{self._name} {what}; on_failure:=keep would continue without it.")
        if not self._respawn:
            get_logger("launch").warning(f"{self._name} {what}; the other nodes continue without it.")
