"""One goal of an action, from the search for its server to its result; in the client's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from action_msgs.msg import GoalStatus

from stride_ros.client.errors import Canceled, ClientError, NodeLost, Refused, TimedOut
from stride_ros.client.pending import Pending

_LOST = 5.0  # s without a server until it counts as gone
_GRACE = 10.0  # s that an answer may come after its time; a server that lives keeps to it
T = TypeVar("T")


class GoalRun(Generic[T]):
    """Sends a goal as soon as there is a server, and ends `pending` with what becomes of it.

    A server that goes away says nothing; that is noticed here, so that nobody waits for ever.
    """

    def __init__(
        self,
        client: Any,
        goal: Any,
        convert: Callable[[Any], T],
        *,
        post: Callable[[Callable[[], object]], None],
        on_feedback: Callable[[Any], object] | None,
        patience: float,
        limit: float | None,
    ) -> None:
        """`convert(result)`: value of a goal that succeeded. `post(action)` runs it in the client's thread.

        patience: s until there must be a server. limit: s that the goal may take at most; None: the node's.
        """
        self.pending: Pending[T] = Pending(lambda: post(self._cancel))
        self._client, self._goal, self._convert = client, goal, convert
        self._on_feedback = on_feedback
        self._patience, self._limit = patience, limit
        self._begun = self._seen = time.monotonic()
        self._is_sent = self._is_canceled = False
        self._handle: Any = None

    def tick(self) -> bool:
        """Look after the goal; whether it is over. To be called a few times a second."""
        if self.pending.done():
            return True
        now, name = time.monotonic(), self._client._action_name
        if self._client.server_is_ready():
            self._seen = now
            if not self._is_sent:
                self._send()
        elif self._is_sent and now - self._seen > _LOST:
            self.pending.fail(NodeLost(f"The node that serves {name} has gone."))
        elif not self._is_sent and now - self._begun > self._patience:
            self.pending.fail(
                NodeLost(f"No node serves {name}; start it, or check the namespace and the ROS domain.")
            )
        started = self._handle is not None
        if self._is_sent and not started and now - self._begun > self._patience + _GRACE:
            self.pending.fail(NodeLost(f"{name} has not answered; ask again."))
        if started and self._limit is not None and now - self._begun > self._limit + self._patience + _GRACE:
            self.pending.fail(NodeLost(f"The result of {name} is overdue; ask again."))
        return self.pending.done()

    def _send(self) -> None:
        self._is_sent = True
        feedback = None
        if (tell := self._on_feedback) is not None:
            feedback = lambda message: tell(message.feedback)  # noqa: E731
        self._client.send_goal_async(self._goal, feedback).add_done_callback(self._on_accepted)

    def _on_accepted(self, future: Any) -> None:
        self._handle = future.result()
        if not self._handle.accepted:
            self.pending.fail(Refused("The node did not accept the goal."))
            return
        if self._is_canceled:
            self._handle.cancel_goal_async()
        self._handle.get_result_async().add_done_callback(self._on_result)

    def _on_result(self, future: Any) -> None:
        status, result = future.result().status, future.result().result
        code, message = result.error_code, result.error_msg
        if status == GoalStatus.STATUS_SUCCEEDED:
            self.pending.succeed(self._convert(result))
        elif status == GoalStatus.STATUS_CANCELED:
            self.pending.fail(Canceled(message, code))
        elif status == GoalStatus.STATUS_UNKNOWN:
            self.pending.fail(NodeLost("The node has forgotten the goal; ask again."))
        else:
            self.pending.fail(_error(result)(message or "The goal failed.", code))

    def _cancel(self) -> None:
        self._is_canceled = True
        if self._handle is not None:
            self._handle.cancel_goal_async()
        elif not self._is_sent:
            self.pending.fail(Canceled("The goal was canceled before a node was found."))


def _error(result: Any) -> type[ClientError]:
    refusals = {getattr(result, name, None) for name in ("REFUSED", "INVALID", "QUEUE_FULL", "NO_FRAMES")} - {
        None
    }
    if result.error_code == result.TIMEOUT:
        return TimedOut
    return Refused if result.error_code in refusals else ClientError
