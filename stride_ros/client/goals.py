"""One goal of an action, from waiting for its server to its result; runs in the client's thread."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from action_msgs.msg import GoalStatus
from unique_identifier_msgs.msg import UUID

from stride_ros.client.errors import Canceled, ClientError, NodeLost, Refused, TimedOut
from stride_ros.client.pending import Pending

# s after which a request is sent again: a node that has just discovered this client may lose its first
# answer.
AGAIN = 3.0
_LOST = 5.0  # s without a server until it counts as gone
_GRACE = 10.0  # s that an answer may be late; a live server keeps to its timeout
_SILENCE = 10.0  # s without feedback until the server is asked whether it knows the goal
T = TypeVar("T")


class GoalRun(Generic[T]):
    """Sends a goal as soon as there is a server, and ends `pending` with its result.

    A server that goes away sends nothing; that is detected here, so that callers do not wait forever.
    """

    def __init__(
        self,
        client: Any,
        goal: Any,
        convert: Callable[[Any], T],
        *,
        name: str,
        post: Callable[[Callable[[], object]], None],
        on_feedback: Callable[[Any], object] | None,
        patience: float,
        limit: float | None,
    ) -> None:
        """`convert(result)`: the value of a successful goal. name: full name of the action.

        `post(action)` runs it in the client's thread.

        patience: s within which there must be a server. limit: maximum s that the goal may take; None: the
        node's limit. Both count from the last feedback, since a node's simulated time may be slow.
        """
        self.pending: Pending[T] = Pending(lambda: post(self._cancel))
        self._client, self._goal, self._convert, self._name = client, goal, convert, name
        self._on_feedback = on_feedback
        self._patience, self._limit = patience, limit
        self._begun = self._seen = self._heard = self._asked = time.monotonic()
        self._sent: float | None = None
        self._is_canceled = False
        self._id = UUID(uuid=list(uuid.uuid4().bytes))
        self._handle: Any = None

    def tick(self) -> bool:
        """Advance the goal; return whether it is over. Call this a few times a second."""
        if self.pending.done():
            return True
        now, name = time.monotonic(), self._name
        if self._client.server_is_ready():
            self._seen = now
            if self._handle is None and (self._sent is None or now - self._sent > AGAIN):
                self._send(now)
        elif self._sent is not None and now - self._seen > _LOST:
            self.pending.fail(NodeLost(f"The node that serves {name} has gone."))
        elif self._sent is None and now - self._begun > self._patience:
            self.pending.fail(
                NodeLost(f"No node serves {name}; start it, or check the namespace and the ROS domain.")
            )
        started = self._handle is not None
        if started and now - max(self._heard, self._asked) > _SILENCE:
            self._ask(now)
        if self._sent is not None and not started and now - self._begun > self._patience + _GRACE:
            self.pending.fail(NodeLost(f"{name} has not answered; send the request again."))
        if started and self._limit is not None and now - self._heard > self._limit + self._patience + _GRACE:
            self.pending.fail(NodeLost(f"The result of {name} is overdue; send the request again."))
            self._handle.cancel_goal_async()  # its caller no longer waits
        return self.pending.done()

    def _send(self, now: float) -> None:
        self._sent = now
        sent = self._client.send_goal_async(self._goal, self._on_message, self._id)
        sent.add_done_callback(self._on_accepted)

    def _on_message(self, message: Any) -> None:
        self._heard = time.monotonic()
        if self._on_feedback is not None:
            self._on_feedback(message.feedback)

    def _ask(self, now: float) -> None:
        """Request the result; a node that restarted meanwhile does not know the goal."""
        self._asked = now
        self._handle.get_result_async().add_done_callback(self._on_result)

    def _on_accepted(self, future: Any) -> None:
        if self._handle is not None:
            return
        # The node accepts a goal once; if that answer was lost, the result still comes.
        self._handle = future.result()
        if self._is_canceled:
            self._handle.cancel_goal_async()
        self._heard = time.monotonic()
        self._ask(self._heard)

    def _on_result(self, future: Any) -> None:
        status, result = future.result().status, future.result().result
        code, message = result.error_code, result.error_msg
        if status == GoalStatus.STATUS_SUCCEEDED:
            self.pending.succeed(self._convert(result))
        elif status == GoalStatus.STATUS_CANCELED:
            self.pending.fail(Canceled(message, code))
        elif status == GoalStatus.STATUS_UNKNOWN:
            self.pending.fail(NodeLost("The node has forgotten the goal; send the request again."))
        else:
            self.pending.fail(_error(result)(message, code))

    def _cancel(self) -> None:
        self._is_canceled = True
        if self._handle is not None:
            self._handle.cancel_goal_async()
        elif self._sent is None:
            self.pending.fail(Canceled("The goal was canceled before a node was found."))


def _error(result: Any) -> type[ClientError]:
    refusals = {getattr(result, name, None) for name in ("REFUSED", "INVALID", "QUEUE_FULL", "NO_FRAMES")} - {
        None
    }
    if result.error_code == result.TIMEOUT:
        return TimedOut
    return Refused if result.error_code in refusals else ClientError
