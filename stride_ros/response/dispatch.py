"""From span events to jobs: which events are answered, so that each onset gets one final answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from stride_ros.response.backend import ResponseRequest
from stride_ros.response.scheduler import AnswerScheduler, Job, NothingToShow
from stride_ros.text.wording import counted

MAX_OPEN = 1000  # maximum number of events whose end is awaited, since an end may never be reported


@dataclass
class _OpenSpan:
    watch: Hashable
    first: Job | None  # the answer at the onset
    second: Job | None  # the answer at the offset, which waits for the event to end


class AnswerDispatch:
    """Tracks the spans that still need an answer; call it from one thread.

    `respond_on`: `onset` answers when an event begins, `offset` when it is over, `both` twice: the answer at
    the onset is then published completely but not as final, since the final one follows at the offset. Every
    onset gets exactly one final answer. `key` identifies a span, `watch` what found it: a watch has one event
    at a time. When more than `MAX_OPEN` events are open, the oldest is settled. No frames are held for an
    event that is only awaited.
    """

    def __init__(self, scheduler: AnswerScheduler, respond_on: str) -> None:
        self._scheduler = scheduler
        self._respond_on = respond_on
        self._open: dict[Hashable, _OpenSpan] = {}  # oldest first
        self._of_watch: dict[Hashable, Hashable] = {}  # watch -> key

    def onset(
        self,
        key: Hashable,
        watch: Hashable,
        request: Callable[[], ResponseRequest],
        arrival: float,
        context: object,
    ) -> None:
        """Add an event: `request` makes the request to the backend, `arrival` is time.monotonic()."""
        for other in (key, self._of_watch.get(watch)):  # its end was not reported
            self._settle(other, "The next event began before the end of this one was reported.")
        if len(self._open) >= MAX_OPEN:
            reason = f"More than {counted(MAX_OPEN, 'event')} were open, and this was the oldest."
            self._settle(next(iter(self._open)), reason)
        first = second = None
        if self._respond_on != "offset":
            first = Job(request, arrival, context, last=self._respond_on == "onset")
        if self._respond_on != "onset":
            second = Job(_unknown, arrival, context, earlier=first)
        self._open[key] = _OpenSpan(watch, first, second)
        self._of_watch[watch] = key
        if first is not None:
            self._scheduler.submit(first)

    def offset(self, key: Hashable, request: Callable[[], ResponseRequest]) -> None:
        """Handle the end of an event; `request` covers all of it. Does nothing if its onset is unknown."""
        span = self._close(key)
        if span is not None and span.second is not None:
            span.second.request = request
            self._scheduler.submit(span.second)

    def retracted(self, key: Hashable) -> None:
        """Handle a false alarm: an answer that has not begun is cancelled, one that has is the last."""
        self._settle(key, "The event was a false alarm and was retracted.", cancel=True)

    def abandon(self, reason: str) -> None:
        """End every pending answer, begun or not, as SKIPPED with `reason`."""
        with self._scheduler.lock:
            for span in self._open.values():
                self._skip_second(span, reason)
            self._open.clear()
            self._of_watch.clear()
            self._scheduler.skip_all(reason)

    def _settle(self, key: Hashable, reason: str, *, cancel: bool = False) -> None:
        """Forget a span whose end will not come; a pending answer at its onset becomes its last one.

        `cancel`: skip that answer, too, unless it has begun.
        """
        with self._scheduler.lock:
            span = self._close(key)
            if span is None:
                return
            if span.first is None or span.first.closed:
                self._skip_second(span, reason)
                return
            span.first.last = True
            if span.second is not None:
                self._scheduler.drop(span.second)
            if cancel and not span.first.begun:
                self._scheduler.skip(span.first, reason)

    def _close(self, key: Hashable) -> _OpenSpan | None:
        span = self._open.pop(key, None)
        if span is not None and self._of_watch.get(span.watch) == key:
            del self._of_watch[span.watch]
        return span

    def _skip_second(self, span: _OpenSpan, reason: str) -> None:
        if span.second is not None:
            span.second.text = span.first.text if span.first is not None else ""
            self._scheduler.skip(span.second, reason)


def _unknown() -> ResponseRequest:
    """The placeholder request about an event whose end has not been reported."""
    raise NothingToShow("The event is not over.")
