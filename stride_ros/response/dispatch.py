"""From span events to jobs: which events are answered, and that each onset gets one final answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from stride_ros.response.backend import ResponseRequest
from stride_ros.response.scheduler import AnswerScheduler, Job, NothingToShow
from stride_ros.text.wording import counted

MAX_OPEN = 1000  # events whose end is awaited; one that is never reported must not be for ever


@dataclass
class _OpenSpan:
    watch: Hashable
    first: Job | None  # the answer at the onset
    second: Job | None  # the answer at the offset, which waits for the event to end


class AnswerDispatch:
    """Keeps account of the spans that still need an answer; call it from one thread.

    `respond_on`: `onset` answers when an event begins, `offset` when it is over, `both` twice: the
    answer at the onset is then published whole but not as final, since the final one follows at the offset.
    Every onset gets exactly one final answer. `key` tells spans apart, `watch` what found them: a watch
    has one event at a time. When more than `MAX_OPEN` events are open, the oldest is settled. No frames are
    held for an event that is only waited for.
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
        """An event began: `request` makes what the backend is asked, `arrival` is time.monotonic()."""
        for other in (key, self._of_watch.get(watch)):  # nobody reported its end
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
        """The event is over; `request` covers all of it. Nothing for a span whose onset is unknown."""
        span = self._close(key)
        if span is not None and span.second is not None:
            span.second.request = request
            self._scheduler.submit(span.second)

    def retracted(self, key: Hashable) -> None:
        """A false alarm: an answer that has not begun is cancelled, one under way is the last."""
        self._settle(key, "The event was a false alarm and was retracted.", cancel=True)

    def abandon(self, reason: str) -> None:
        """End every answer that is owed, begun or not: SKIPPED, with `reason`."""
        with self._scheduler.lock:
            for span in self._open.values():
                self._skip_second(span, reason)
            self._open.clear()
            self._of_watch.clear()
            self._scheduler.skip_all(reason)

    def _settle(self, key: Hashable, reason: str, *, cancel: bool = False) -> None:
        """Forget a span whose end will not come; an answer at its onset that has not ended is its last one.

        `cancel`: not even that answer is wanted, unless it has begun.
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
    """The request about an event whose end has not been reported."""
    raise NothingToShow("The event is not over.")
