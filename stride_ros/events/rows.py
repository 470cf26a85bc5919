"""Convert events to rows of the file, and back."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

from stride_ros.events.record import Event, Pose
from stride_ros.text.foreign import mended

# Fields of an event that have no column.
_DETAILS = (
    "onset_ns",
    "latest_ns",
    "stamp_ns",
    "first_ns",
    "frame_id",
    "model",
    "respond",
    "status",
    "error",
    "speaker",
    "shown_ns",
    "pose",
)
# How Python holds a byte of a file's name that is not UTF-8; after a high surrogate it is half of a letter.
_BYTE = re.compile("(?<![\ud800-\udbff])[\udc80-\udcff]")
_USUAL = {field.name: field.default for field in fields(Event) if field.name in _DETAILS}
# Events that begin at the same time get the next free ids, within a range of this size.
ID_SLACK = 1_000_000
_OWN = (
    "key",
    "span_id",
    "watch",
    "camera",
    "query",
    "origin",
    "start_ns",
    "end_ns",
    "confidence",
    "state",
    "sentence",
)
COLUMNS = ", ".join((*_OWN, "picture", "details"))


def storable(text: str) -> str:
    """A text as the log holds it: bytes of a name that are not UTF-8 become \\xNN, lone surrogates U+FFFD."""
    return mended(_BYTE.sub(lambda letter: f"\\x{ord(letter[0]) - 0xDC00:02x}", text))


def stored(value: Any) -> Any:
    """`storable` for a text; other values as they are."""
    return storable(value) if isinstance(value, str) else value


def details_of(event: Event) -> str:
    """The fields without a column, as JSON."""
    given = {name: getattr(event, name) for name in _DETAILS if getattr(event, name) != _USUAL[name]}
    if event.pose is not None:
        pose = event.pose
        given["pose"] = [storable(pose.frame), *pose.position, *pose.orientation, pose.stamp_ns]
    return json.dumps({name: stored(value) for name, value in given.items()}, ensure_ascii=False)


def event_of(row: tuple[Any, ...]) -> Event:
    """The event of a row that has COLUMNS."""
    *values, picture, details = row
    given: dict[str, Any] = json.loads(details)
    if pose := given.pop("pose", None):
        frame, x, y, z, *rest = pose
        given["pose"] = Pose(frame, (x, y, z), tuple(rest[:4]), rest[4])
    if "shown_ns" in given:
        given["shown_ns"] = tuple(given["shown_ns"])
    own = dict(zip(_OWN, values, strict=True))
    own["span_id"] %= 1 << 64
    known = {name: value for name, value in given.items() if name in _USUAL}
    return Event(**own, has_picture=picture > 0, **known)


def signed(number: int) -> int:
    """An unsigned 64-bit number as SQLite stores it."""
    return number - (1 << 64) if number >= 1 << 63 else number
