"""Waits until an event is over, from what its node publishes; runs in the client's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from stride_ros.client.errors import Canceled, NodeLost, TimedOut
from stride_ros.client.pending import Pending
from stride_ros.msg import ActivationSpan, Watches

ENDS = (ActivationSpan.OFFSET, ActivationSpan.RETRACTED)
_LATE = 1.5  # s by which the message of an end may be later than a list of watches without the event
_ABSENT = 2  # lists without the event, after which its end was missed: one may be from before the event
_SILENCE = 10.0  # s without a list of watches, which comes once a second, until the node counts as gone
T = TypeVar("T")


class OverRun(Generic[T]):
    """Ends `pending` when an event is over, whether it has ended or was retracted."""

    def __init__(
        self,
        span: ActivationSpan,
        convert: Callable[[ActivationSpan], T],
        *,
        post: Callable[[Callable[[], object]], None],
        limit: float | None,
    ) -> None:
        """`span`: any message about the event. `convert(span)`: the value, from the newest message about it.

        limit: s that may pass, None for no limit. `post(action)` runs it in the client's thread.
        """
        self.pending: Pending[T] = Pending(lambda: post(self._cancel))
        self._span, self._convert = span, convert
        self._limit = limit
        self._absent = 0  # lists in a row without the event
        self._begun = self._heard = time.monotonic()
        self.see(span)

    def tick(self) -> bool:
        """Look at the time; return whether it is over. Call this a few times a second."""
        now = time.monotonic()
        if self.pending.done():
            return True
        if self._limit is not None and now - self._begun > self._limit:
            self.pending.fail(TimedOut("The event is still going on; ask again, or with a longer timeout."))
        elif now - self._heard > _SILENCE:
            self.pending.fail(NodeLost(f"The node that watches for {self._span.query!r} has gone."))
        return self.pending.done()

    def see(self, span: ActivationSpan) -> None:
        """There is a message about a span."""
        if span.span_id == self._span.span_id:
            self._span = span
            if span.state in ENDS:
                self.pending.succeed(self._convert(span))

    def hear(self, message: Watches) -> None:
        """There is a list of watches, with the events that are going on."""
        self._heard = time.monotonic()
        going_on = {span.span_id for watch in message.watches for span in watch.open_spans}
        self._absent = 0 if self._span.span_id in going_on else self._absent + 1
        if self._absent >= _ABSENT and self._heard - self._begun > _LATE:
            self.pending.succeed(self._convert(self._span))  # its last message was missed

    def _cancel(self) -> None:
        self.pending.fail(Canceled("The wait was canceled."))
