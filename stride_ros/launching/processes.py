"""Handle the exit of a node's process in the launch."""

from __future__ import annotations

from typing import Any

from launch.events.process import ProcessExited
from launch.logging import get_logger

from launch import LaunchContext
from stride_ros.errors import StrideError

_REFUSED = 2  # exit code of a node with a wrong parameter or source: another attempt would end the same way


class NodeFailed(StrideError):
    """A node could not start, or its process died. `ros2 launch` then ends with exit code 1.

    Only an exception in a handler leads to that code: after a Shutdown action the code is 0.
    """


class WhenItEnds:
    """Exit handler of a process: end the launch with an error, or log what continues without it."""

    def __init__(self, name: str, *, shutdown: bool, respawn: bool = False) -> None:
        """`shutdown`: a failure ends the launch; `respawn`: the process is restarted."""
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
            else f"ended with exit code {code} (see its message above)"
        )
        if self._shutdown:
            raise NodeFailed(f"{self._name} {what}; to continue without it, set on_failure:=keep.")
        if not self._respawn:
            get_logger("launch").warning(f"{self._name} {what}; the other nodes continue without it.")
