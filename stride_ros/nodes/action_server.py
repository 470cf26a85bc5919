"""An action server whose goals do not run as executor tasks: they end when the node says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.impl.implementation_singleton import rclpy_implementation

from stride_ros.nodes.qos import FEEDBACK_QOS, SERVICES_QOS

if TYPE_CHECKING:
    from rclpy.node import Node

_RESULT_TIMEOUT = 60  # s that a result is kept for clients that ask late; each takes some memory


class OpenGoals(ActionServer):  # type: ignore[misc]  # untyped library
    """Serves an action. Every goal is accepted, so that a refused one gets the reason as its result.

    rclpy would run a coroutine for each goal, which its executors poll continuously while it waits, and whose
    end races with the expiry of its result. Here a goal is open until `finish` is called. Everything is
    called in the executor's thread, and nothing blocks.
    """

    def __init__(
        self,
        node: Node,
        action_type: Any,
        name: str,
        *,
        on_goal: Callable[[ServerGoalHandle], None],
        on_cancel: Callable[[ServerGoalHandle], None],
    ) -> None:
        """`on_goal(goal)` may finish the goal at once. `on_cancel(goal)` must not; finish it soon after."""
        self._on_goal, self._on_cancel = on_goal, on_cancel
        super().__init__(
            node,
            action_type,
            name,
            lambda goal: None,
            handle_accepted_callback=self._accepted,
            cancel_callback=self._canceled,
            goal_service_qos_profile=SERVICES_QOS,
            result_service_qos_profile=SERVICES_QOS,
            cancel_service_qos_profile=SERVICES_QOS,
            feedback_pub_qos_profile=FEEDBACK_QOS,
            result_timeout=_RESULT_TIMEOUT,
        )

    def notify_execute(self, goal_handle: ServerGoalHandle, execute_callback: Any) -> None:
        """Keep the goal open; `ServerGoalHandle.execute` calls this instead of creating a task."""

    async def execute(self, taken_data: Any) -> None:
        """See rclpy's ActionServer, which raises if a client has gone away meanwhile."""
        try:
            await super().execute(taken_data)
        except rclpy_implementation.RCLError as error:
            self._node.get_logger().warning(f"A client of an action has gone away: {error}")
        if "goal" in taken_data:
            self._end_orphans()

    def finish(self, goal: ServerGoalHandle, result: Any, *, succeeded: bool = False) -> None:
        """End a goal and send its result: succeeded, canceled if the client asked for that, or aborted."""
        if not goal.is_active:
            return
        if succeeded:
            goal.succeed()
        elif goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        future = self._result_futures[bytes(goal.goal_id.uuid)]
        future._set_executor(None)  # send it now: the executor may be about to end
        future.set_result(self.action_type.Impl.GetResultService.Response(status=goal.status, result=result))

    def _accepted(self, goal: ServerGoalHandle) -> None:
        goal.execute()
        self._on_goal(goal)

    def _canceled(self, goal: ServerGoalHandle) -> CancelResponse:
        self._on_cancel(goal)
        return CancelResponse.ACCEPT

    def _end_orphans(self) -> None:
        """End goals whose client left before it could be told that they were accepted; rclpy forgets them."""
        for goal in list(self._goal_handles.values()):
            if goal.status == GoalStatus.STATUS_ACCEPTED:
                goal.execute()
                self.finish(goal, self.action_type.Result())
