"""The services that control a running node: `~/enable` and `~/reset`, and those of its cameras."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from std_srvs.srv import SetBool, Trigger

from stride_ros.nodes.qos import SERVICES_QOS

if TYPE_CHECKING:
    from rclpy.node import Node

_INACTIVE = "The node is inactive; activate it first."


class ControlServices:
    """Serves from the node's construction to its destruction; refuses requests that come too early or late.

    A service destroyed in `deactivate` would leave requests that arrived meanwhile without an answer.
    """

    def __init__(
        self,
        node: Node,
        part: str = "",
        *,
        is_active: Callable[[], bool],
        enable: Callable[[bool], str],
        reset: Callable[[], str],
    ) -> None:
        """`enable(wanted)` and `reset()` are called while `is_active()`, and return a message.

        `part`: name of the part of the node that they control, such as a camera; "" for the whole node.
        """
        self._is_active, self._enable, self._reset = is_active, enable, reset
        under = f"~/{part}/" if part else "~/"
        node.create_service(SetBool, f"{under}enable", self._on_enable, qos_profile=SERVICES_QOS)
        node.create_service(Trigger, f"{under}reset", self._on_reset, qos_profile=SERVICES_QOS)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = self._is_active()
        response.message = self._enable(request.data) if response.success else _INACTIVE
        return response

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._is_active()
        response.message = self._reset() if response.success else _INACTIVE
        return response
