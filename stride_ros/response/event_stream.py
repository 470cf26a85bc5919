"""Read the body of an answer: from bytes in any of the usual framings to JSON values."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

MAX_EVENT = 1 << 20  # maximum characters of a line, an event or a whole JSON body
_MAX_TRIES = 64  # attempts to parse an unfinished event
_PAGE = 1024  # characters of a web page after which the rest is ignored
_JSON_BEGINS = re.compile(r'\s*(\{|\[\s*[{"\[])')
_BETWEEN = re.compile(r"(?:\s|data:)*")
_DECODER = json.JSONDecoder(strict=False)
_LINE_END = re.compile(r"\r\n|\r|\n")


class TooLongError(Exception):
    """A line or an event is longer than any answer is."""


@dataclass(frozen=True)
class Event:
    """A part of a body: `json` (a value), `error` (a value or words), `done`, or text that is not JSON.

    `broken` begins like JSON, `words` do not.
    """

    kind: Literal["json", "error", "done", "broken", "words"]
    value: Any = None


class EventReader:
    """Reads server-sent events, JSON lines, or one JSON document, regardless of the content type.

    Server-sent events are read as the WHATWG specifies: UTF-8 with or without a byte order mark, lines that
    end in CR, LF or both, comments, fields with or without a space, data over several lines. Beyond the
    specification, an event counts as soon as its data is a complete JSON value: the empty line after it may
    be missing.
    """

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._first = True
        self._after_cr = False
        self._line: list[str] = []  # parts of the line that has not ended
        self._line_length = 0
        self._event = ""  # the name of the current event
        self._data: list[str] = []
        self._data_length = 0
        self._tries = 0
        self._other: list[str] = []  # lines outside events: a JSON document, a web page, plain words
        self._other_length = 0

    @property
    def unfinished(self) -> bool:
        """Whether a value has begun that has not ended; an unfinished comment or plain words do not count."""
        line = "".join(self._line)
        if self._data or line.startswith("data:") or (line and "data:".startswith(line)):
            return True
        return "".join([*self._other[:1], line]).lstrip().startswith(("{", "["))

    @property
    def in_line(self) -> bool:
        """Whether the last line has no end yet."""
        return bool(self._line)

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes. Raises TooLongError."""
        return self._read(self._decoder.decode(data))

    def settle(self) -> list[Event]:
        """Return what is complete although its line has not ended, since nothing has followed for a while."""
        line = "".join(self._line)
        value = line.partition(":")[2] if line.startswith("data:") else line
        whole = value if line.startswith("data:") else "\n".join([*self._other, line])
        if _done(value) or _parse(whole) is not None:
            return (self._end_line() if line else []) + self._end_document(only_whole=True)
        if "".join([*self._other[:1], line]).lstrip().startswith("<"):  # a web page: enough of it is known
            return self._end_line() + self._end_document()
        return []

    def finish(self) -> list[Event]:
        """Handle the end of the body: return what is left."""
        events = self._read(self._decoder.decode(b"", final=True))
        if self._line:
            events += self._end_line()
        return events + self._end_event() + self._end_document()

    def _read(self, text: str) -> list[Event]:
        if self._first and text:
            self._first = False
            text = text.removeprefix("\ufeff")
        if self._after_cr and text:
            self._after_cr = False
            text = text.removeprefix("\n")
        events: list[Event] = []
        at = 0
        for end in _LINE_END.finditer(text):
            self._grow(text[at : end.start()])
            events += self._end_line()
            at = end.end()
        self._grow(text[at:])
        self._after_cr = text.endswith("\r") or (self._after_cr and not text)
        return events

    def _grow(self, part: str) -> None:
        if part:
            self._line.append(part)
            self._line_length += len(part)
            self._check(self._line_length)

    def _end_line(self) -> list[Event]:
        line = "".join(self._line)
        self._line, self._line_length = [], 0
        if not line:
            return self._end_event()
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            return self._add_data(value)
        if name == "event" and colon:
            self._event = value.strip()
            return []
        if name == "error" and colon:  # as llama.cpp sends it
            return [Event("error", _value_or_words(value))]
        if name in ("", "id", "retry") and (colon or name):
            return []
        return self._add_other(line)

    def _add_data(self, value: str) -> list[Event]:
        while value.lstrip().startswith("data:"):  # doubled by a proxy
            value = value.lstrip()[5:].removeprefix(" ")
        self._data.append(value)
        self._data_length += len(value) + 1
        self._check(self._data_length)
        if _done(value) and len(self._data) == 1:
            self._forget_event()
            return [Event("done")]
        if value.rstrip().endswith(("}", "]")) and self._tries < _MAX_TRIES:
            self._tries += 1
            parsed = _parse("\n".join(self._data))
            if parsed is not None:
                kind: Literal["json", "error"] = "error" if self._event == "error" else "json"
                self._forget_event()
                return [Event(kind, parsed)]
        return []

    def _end_event(self) -> list[Event]:
        """Handle an empty line, which ends the event."""
        name, lines = self._event, self._data
        self._forget_event()
        self._event = ""
        text = "\n".join(lines).strip()
        if not text:
            return []
        if name == "error":
            return [Event("error", _value_or_words(text))]
        parsed = _parse(text)
        if parsed is not None:
            return [Event("json", parsed)]
        return [event for line in (lines if len(lines) > 1 else [text]) for event in _last(line)]

    def _forget_event(self) -> None:
        self._data, self._data_length, self._tries = [], 0, 0

    def _add_other(self, line: str) -> list[Event]:
        if not self._other or self._other[0].lstrip()[:1] not in ("{", "["):
            if _done(line):
                return [Event("done")]
            if line.rstrip().endswith(("}", "]")):
                parsed = _parse(line)
                if parsed is not None:
                    return [Event("json", parsed)]
        self._other.append(line)
        self._other_length += len(line) + 1
        self._check(self._other_length)
        page = self._other[0].lstrip().startswith("<") and self._other_length >= _PAGE
        if page or (line[:1] in "}]" and self._tries < _MAX_TRIES):
            self._tries += 1
            return self._end_document(only_whole=not page)
        return []

    def _end_document(self, *, only_whole: bool = False) -> list[Event]:
        text = "\n".join(self._other)
        parsed = _parse(text)
        if parsed is None and only_whole:
            return []
        self._other, self._other_length = [], 0
        return _last(text)

    def _check(self, length: int) -> None:
        if length > self._limit:
            raise TooLongError(length)


def _done(text: str) -> bool:
    return text.strip() == "[DONE]"


def _parse(text: str) -> Any | None:
    """The JSON object or list in `text`, or None."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _last(text: str) -> list[Event]:
    """The events in a text to which nothing more is added."""
    if not text.strip():
        return []
    if _done(text):
        return [Event("done")]
    parsed = _parse(text)
    if parsed is not None:
        return [Event("json", parsed)]
    return _glued(text) or [Event("broken" if _JSON_BEGINS.match(text) else "words", text)]


def _glued(text: str) -> list[Event]:
    """Several events whose line ends were removed on the way; empty if `text` is anything else."""
    events: list[Event] = []
    at = 0
    while at < len(text):
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]  # it may be empty, so it matches
        if _done(text[at:]):
            return [*events, Event("done")]
        if text[at : at + 1] not in ("{", "["):
            return events if at == len(text) else []
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        events.append(Event("json", value))
    return events


def _value_or_words(text: str) -> Any:
    parsed = _parse(text)
    return text.strip() if parsed is None else parsed
