"""One service call, from waiting for its server to its answer; runs in the client's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from stride_ros.client.errors import Canceled, NodeLost, Refused
from stride_ros.client.goals import AGAIN
from stride_ros.client.pending import Pending

_ANSWER = 10.0  # s that an answer may take; a node loading a model may take longer and is asked again
T = TypeVar("T")


class CallRun(Generic[T]):
    """Calls a service whose response has success, error_code and error_msg, and ends `pending` with it.

    A request whose answer is lost is sent once more, so it must be idempotent.
    """

    def __init__(
        self,
        client: Any,
        request: Any,
        convert: Callable[[Any], T],
        *,
        name: str,
        post: Callable[[Callable[[], object]], None],
        patience: float,
        done_before: int | None = None,
    ) -> None:
        """`convert(response)`: the value of a success. name: full name of the service.

        `post(action)` runs an action in the client's thread.

        patience: s within which there must be a server. done_before: error_code for "nothing to do", which
        counts as success.
        """
        self._done_before = done_before
        self.pending: Pending[T] = Pending(lambda: post(self._cancel))
        self._client, self._request, self._convert, self._patience = client, request, convert, patience
        self._name = name
        self._begun = time.monotonic()
        self._sent: float | None = None

    def tick(self) -> bool:
        """Advance the call; return whether it is over. Call this a few times a second."""
        now, sent = time.monotonic(), self._sent
        if self.pending.done():
            return True
        if now - self._begun > self._patience + (0.0 if sent is None else _ANSWER):
            what = f"No node serves {self._name}; start it, or check the namespace and the ROS domain."
            if sent is not None:
                what = f"{self._name} has not answered; send the request again."
            self.pending.fail(NodeLost(what))
        elif (sent is None or now - sent > AGAIN) and self._client.service_is_ready():
            self._sent = now
            self._client.call_async(self._request).add_done_callback(self._on_answer)
        return self.pending.done()

    def _cancel(self) -> None:
        if self._sent is None:
            self.pending.fail(Canceled("The request was canceled before a node was found."))

    def _on_answer(self, future: Any) -> None:
        response = future.result()
        if response.success or response.error_code == self._done_before:
            self.pending.succeed(self._convert(response))
        else:
            self.pending.fail(Refused(response.error_msg, response.error_code))
