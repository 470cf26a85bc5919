"""The command that replays the part of a recording where an event was found."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from functools import cache

from stride_ros.events.record import Event
from stride_ros.events.times import SECOND

_BEFORE, _AFTER = 30, 10  # s; longer before the event, to show what led to it


def replay_commands(
    run: Callable[[str], str | None], place: Callable[[str], str] = lambda origin: origin
) -> Callable[[Event], str | None]:
    """Return a function that makes the shell command for an event; None for events of robots.

    `run`: the JSON of a recording's run, whose settings the command uses. `place`: the recording's path.
    """

    @cache
    def options(origin: str) -> tuple[str, ...]:
        document = run(origin)
        if document is None:
            return ()
        kept = json.loads(document)
        given = {
            "--model": kept["settings"].get("model"),
            "--image-topic": kept["source"].get("image topic"),
            "--rate": kept["settings"].get("rate"),
        }
        return tuple(word for name, value in given.items() if value for word in (name, str(value)))

    def command(event: Event) -> str | None:
        if event.first_ns is None:
            return None
        begin = max((event.start_ns - event.first_ns) // SECOND - _BEFORE, 0)
        end = (event.known_end_ns - event.first_ns) // SECOND + 1 + _AFTER
        words = ["stride-ros", "replay", place(event.origin), "--query", event.query, *options(event.origin)]
        if begin:
            words += ["--start", str(begin)]
        return shlex.join([*words, "--duration", str(max(end - begin, 1))])

    return command
