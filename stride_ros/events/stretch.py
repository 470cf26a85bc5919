"""The command that replays the part of a recording where an event was found."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from stride_ros.events.record import Event
from stride_ros.events.times import SECOND
from stride_ros.text.wording import escaped

_KEPT = re.compile(r"\\x([89a-f][0-9a-f])")  # how the log holds a byte that is not UTF-8
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
            "--clock": "log" if kept["source"].get("clock") == "log" else None,
        }
        pairs = [(name, str(value)) for name, value in given.items() if value]
        pairs += [("--set", setting) for setting in _changed(kept["settings"])]
        return tuple(word for name, value in pairs for word in _option(name, value))

    def command(event: Event) -> str | None:
        if event.first_ns is None:
            return None
        begin = max((event.start_ns - event.first_ns) // SECOND - _BEFORE, 0)
        end = (event.known_end_ns - event.first_ns) // SECOND + 1 + _AFTER
        words = ["stride-ros", "replay", _path(place(event.origin)), *_option("--query", event.query)]
        words += options(event.origin)
        if begin:
            words += ["--start", str(begin)]
        return " ".join(map(_quoted, [*words, "--duration", str(max(end - begin, 1))]))

    return command


def _changed(settings: dict[str, Any]) -> Iterator[str]:
    """The other settings of the activation node in a run, which has only those that were changed."""
    for name, value in settings.items():
        if name in ("model", "rate", "responder") or name.startswith("responder."):
            continue
        if isinstance(value, dict):
            yield from (f"{name}.{part}={json.dumps(each)}" for part, each in value.items())
        elif name == "confidence_threshold" and value is None:
            yield "retention=false"
        else:
            yield f"{name}={value if isinstance(value, str) else json.dumps(value)}"


def _path(place: str) -> str:
    """The path of a recording: with the bytes of its name, and not taken for an option."""
    if _KEPT.search(place) and not Path(place).exists():
        place = _KEPT.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), place)
    return f"./{place}" if place.startswith("-") else place


def _option(name: str, value: str) -> tuple[str, ...]:
    return (f"{name}={value}",) if value.startswith("-") else (name, value)


def _quoted(word: str) -> str:
    """The word for a shell, on one line, with nothing that a page or terminal would not show as it is."""
    if escaped(word) == word:
        return shlex.quote(word)
    plain = word.replace("\\", "\\\\").replace("'", "\\'")
    octets = "".join(letter if escaped(letter) == letter else _octets(letter) for letter in plain)
    return f"$'{octets}'"


def _octets(letter: str) -> str:
    """The bytes of a letter as a shell reads them; in octal, a digit that follows is not part of a number."""
    return "".join(f"\\{byte:03o}" for byte in letter.encode("utf-8", "surrogateescape"))
