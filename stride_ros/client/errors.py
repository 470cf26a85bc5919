"""The errors of requests: each message is a sentence with the reason, and the remedy if there is one."""

from __future__ import annotations

from stride_ros.errors import StrideError


class ClientError(StrideError):
    """A request has failed. `code`: the error_code of the action or service; 0 if there was no answer."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class TimedOut(ClientError, TimeoutError):
    """The event or the answer did not come within the timeout."""


class Refused(ClientError):
    """The node refused the request."""


class Canceled(ClientError):
    """The goal was canceled."""


class NodeLost(ClientError):
    """The node was not found, or has gone without an answer."""
