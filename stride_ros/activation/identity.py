"""Public ids: those of watches, and the 64-bit ids of spans in messages. Does not need ROS."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

UNNAMED = ""  # name of a node's only camera if it has no name
_NUMBER_BITS = 21  # 32 + 21 = 53: such ids are exact in JavaScript and in SQLite
_PREFIX_BITS = 32
MAX_NUMBER = (1 << _NUMBER_BITS) - 1


def watch_ids(queries: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of the watches that parameters or a replay own: one for each query, in order."""
    if len(queries) == 1:
        return ("query",)
    return tuple(f"query_{number}" for number in range(1, len(queries) + 1))


def span_number(span_id: int) -> int:
    """Return the part of a message's span id that is shown to people: a count from 1."""
    return span_id & MAX_NUMBER


class SpanIds:
    """Ids for the spans that a node counts from 1 after each start, unlike those of any other start.

    The upper bits are random rather than a time or a counter on disk, so that neither a wrong clock nor a
    read-only disk can make two starts share ids. They change when the count no longer fits the lower bits.
    """

    def __init__(self) -> None:
        self._prefixes: list[int] = []
        self.next = 1  # the lowest count that no span has had

    def __call__(self, count: int) -> int:
        """Return the id, above 0 and below 2^53, of the span with this count (from 1)."""
        self.next = max(self.next, count + 1)
        overflows, number = divmod(count - 1, MAX_NUMBER)
        while len(self._prefixes) <= overflows:
            self._prefixes.append(self._new_prefix())
        return self._prefixes[overflows] << _NUMBER_BITS | (number + 1)

    def _new_prefix(self) -> int:
        """A prefix that was not used before; 0 is for replays, whose ids are the same in each run."""
        while True:
            prefix = secrets.randbits(_PREFIX_BITS)
            if prefix and prefix not in self._prefixes:
                return prefix
