"""Open events, and those of them that are over without an OFFSET."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import TypeVar

from stride_ros.events.record import OPEN, Event

_PATIENCE = 3.0  # s; the list of watches and the spans arrive on two topics, in any order
_MOST = 10_000
_Value = TypeVar("_Value")


class OpenEvents:
    """Compares the events that are open by their spans with those that the activation node lists as open.

    A killed node sends no OFFSET, and this node misses those sent while it was down.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        """`events`: those that are open in the log."""
        self._events: OrderedDict[str, Event] = OrderedDict((event.key, event) for event in events)
        self._missed: dict[str, float] = {}  # since when the node has not listed them
        self._ended: OrderedDict[str, None] = OrderedDict()  # what is received again does not reopen them

    def __len__(self) -> int:
        return len(self._events)

    def heard(self, event: Event) -> None:
        """Record what a span reports."""
        self._missed.pop(event.key, None)
        if event.state != OPEN:
            self._events.pop(event.key, None)
            _add(self._ended, event.key, None)
        elif event.key not in self._ended:
            _add(self._events, event.key, event)

    def over(self, going_on: Collection[int]) -> list[Event]:
        """Return the events that are over, each once; `going_on`: span ids that the node lists as open."""
        now, over = time.monotonic(), []
        for key, event in list(self._events.items()):
            if event.span_id in going_on:
                self._missed.pop(key, None)
            elif now - self._missed.setdefault(key, now) >= _PATIENCE:
                del self._events[key], self._missed[key]
                over.append(event)
        return over


def _add(kept: OrderedDict[str, _Value], key: str, value: _Value) -> None:
    kept[key] = value
    while len(kept) > _MOST:
        kept.popitem(last=False)
