"""The command that replays the stretch of a recording where an event was found."""

from __future__ import annotations

import shlex

from stride_ros.events.record import Event
from stride_ros.events.times import SECOND

_BEFORE, _AFTER = 30, 10  # s: what led to the event belongs to it


def replay_command(event: Event) -> str | None:
    """The command, as it is typed into a shell; None where the event is a robot's."""
    if event.first_ns is None:
        return None
    begin = max((event.start_ns - event.first_ns) // SECOND - _BEFORE, 0)
    end = (event.known_end_ns - event.first_ns) // SECOND + 1 + _AFTER
    words = ["stride-ros", "replay", event.origin, "--query", event.query]
    if begin:
        words += ["--start", str(begin)]
    return shlex.join([*words, "--duration", str(max(end - begin, 1))])
