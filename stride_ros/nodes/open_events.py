"""Events that go on, and those of them that are over though nobody said so."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Iterable

from stride_ros.events.record import OPEN, Event

_PATIENCE = 3.0  # s; the list of watches and the spans come on two topics, in any order
_MOST = 10_000


class OpenEvents:
    """What is open by the spans, compared with what the activation node says goes on.

    A node that was killed sends no OFFSET, and one that was sent while this one was down is not heard here.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        """`events`: those that the log has as open."""
        self._events: OrderedDict[str, Event] = OrderedDict((event.key, event) for event in events)
        self._missed: dict[str, float] = {}  # since when the node does not list them

    def __len__(self) -> int:
        return len(self._events)

    def heard(self, event: Event) -> None:
        """A span told this."""
        self._missed.pop(event.key, None)
        if event.state == OPEN:
            self._events[event.key] = event
            while len(self._events) > _MOST:
                self._events.popitem(last=False)
        else:
            self._events.pop(event.key, None)

    def over(self, going_on: Collection[int]) -> list[Event]:
        """The activation node lists these span ids as open: the events that are over, each once."""
        now, over = time.monotonic(), []
        for key, event in list(self._events.items()):
            if event.span_id in going_on:
                self._missed.pop(key, None)
            elif now - self._missed.setdefault(key, now) >= _PATIENCE:
                del self._events[key], self._missed[key]
                over.append(event)
        return over
