"""How a request can fail: each message is a sentence with the reason, and the remedy if there is one."""

from __future__ import annotations

from stride_ros.errors import StrideError


class ClientError(StrideError):
    """A request has failed. `code`: the error_code of the action or service; 0 where there was no answer."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class TimedOut(ClientError, TimeoutError):
    """Nothing happened, or nothing was answered, in the time that was given."""


class Refused(ClientError):
    """The node cannot do what it was asked for."""


class Canceled(ClientError):
    """The goal was canceled."""


class NodeLost(ClientError):
    """The node is not there, or has gone without an answer."""
