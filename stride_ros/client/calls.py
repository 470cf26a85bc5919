"""One call of a service, from the search for its server to its answer; in the client's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from stride_ros.client.errors import NodeLost, Refused
from stride_ros.client.pending import Pending

_ANSWER = 10.0  # s that an answer may take; a node that loads a model may take longer, and is asked again
T = TypeVar("T")


class CallRun(Generic[T]):
    """Calls a service whose response has success, error_code and error_msg, and ends `pending` with it."""

    def __init__(self, client: Any, request: Any, convert: Callable[[Any], T], patience: float) -> None:
        """`convert(response)`: what a success is worth. patience: s until there must be a server."""
        self.pending: Pending[T] = Pending()
        self._client, self._request, self._convert, self._patience = client, request, convert, patience
        self._begun, self._is_sent = time.monotonic(), False

    def tick(self) -> bool:
        """Look after the call; whether it is over. To be called a few times a second."""
        waited = time.monotonic() - self._begun
        if not self._is_sent and self._client.service_is_ready():
            self._is_sent = True
            self._client.call_async(self._request).add_done_callback(self._on_answer)
        elif waited > self._patience + (_ANSWER if self._is_sent else 0.0):
            what = "has not answered" if self._is_sent else "is not there; start its node"
            self.pending.fail(NodeLost(f"The service {self._client.srv_name} {what}."))
        return self.pending.done()

    def _on_answer(self, future: Any) -> None:
        response = future.result()
        if response.success:
            self.pending.succeed(self._convert(response))
        else:
            self.pending.fail(Refused(response.error_msg, response.error_code))
