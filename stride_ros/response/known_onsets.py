"""Remember which onsets were answered, and which still need an answer, across restarts of the process."""

from __future__ import annotations

import contextlib
import json
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from pathlib import Path

from stride_ros.response.commentary import LONGEST_NAME, SpanReport, SpanState
from stride_ros.response.ledger import Ledger
from stride_ros.text.foreign import as_reason, mended

Key = tuple[int, int]  # time of publication in ns, span id
MAX_HEARD = 20_000  # onsets that a process remembers while it runs; about 5 MB
_END_OF_TIME = (1 << 31) * 10**9  # ns; the limit of a Time message


class _State(Enum):
    """The state of an onset's answer; the values are the words in the file."""

    OWED = "owed"  # accepted, without a final Commentary yet
    PUBLISHING = "publishing"  # its final Commentary is being published
    ANSWERED = "answered"
    UNCERTAIN = "uncertain"  # the process ended while PUBLISHING, so it is not published again


class KnownOnsets:
    """The last `size` onsets, stored in a text file if `path` is given. Thread-safe.

    Publishers keep spans for late subscribers, so a restarted responder receives old onsets once more; this
    distinguishes those that were answered from those that were not. It also tells what a killed process left:
    the onsets that still need an answer (`owed`), and those whose final Commentary it was just publishing
    (`uncertain`). They count as known.

    A damaged line does not affect others. `problem` is "", or one sentence that says why the file cannot be
    used; each addition tries again.
    """

    def __init__(self, path: Path | None = None, size: int = 1000) -> None:
        self._ledger = Ledger(path) if path is not None else None
        self._size = size
        self._lock = threading.Lock()
        self._known: dict[Key, _State] = {}  # oldest first, as is _owed
        self._owed: dict[Key, SpanReport] = {}
        self._spans: Counter[int] = Counter()  # number of keys of each span
        self._lines = 0
        self.problem = ""
        self.uncertain: tuple[Key, ...] = ()  # since the latest end of a process
        if self._ledger is not None:
            with contextlib.suppress(OSError):  # writing will report the same error
                self._load(self._ledger.read())
            self._write()

    def __contains__(self, key: Key) -> bool:
        with self._lock:
            return key in self._known or key in self._owed

    def has_span(self, span_id: int) -> bool:
        """Whether there is a key of this span, with any time of publication."""
        with self._lock:
            return span_id in self._spans

    def owed(self) -> list[tuple[Key, SpanReport]]:
        """The onsets that have no final Commentary, oldest first, with their reports."""
        with self._lock:
            return list(self._owed.items())

    def owe(self, key: Key, report: SpanReport) -> None:
        """Remember an onset that was accepted."""
        with self._lock:
            self._forget(key)
            self._take(key, _State.OWED, report)
            self._append(key)

    def publishing(self, key: Key) -> None:
        """Remember that the final Commentary of an onset is about to be published."""
        self._set(key, _State.PUBLISHING)

    def add(self, key: Key) -> None:
        """Remember an onset that was answered."""
        self._set(key, _State.ANSWERED)

    def _set(self, key: Key, state: _State) -> None:
        with self._lock:
            self._forget(key)
            self._take(key, state)
            self._append(key)

    # In memory

    def _take(self, key: Key, state: _State, report: SpanReport | None = None) -> None:
        if report is not None:
            self._owed[key] = report
        else:
            self._known[key] = state
        self._spans[key[1]] += 1
        for kept in (self._owed, self._known):
            if len(kept) > self._size:
                self._forget(next(iter(kept)))

    def _forget(self, key: Key) -> None:
        if self._owed.pop(key, None) is not None or self._known.pop(key, None) is not None:
            self._spans[key[1]] -= 1
            if not self._spans[key[1]]:
                del self._spans[key[1]]

    # In the file

    def _load(self, lines: list[str]) -> None:
        for key, state, report in _entries(lines):
            self._forget(key)
            self._take(key, state, report)
        self.uncertain = tuple(key for key, state in self._known.items() if state is _State.PUBLISHING)
        self._known.update(dict.fromkeys(self.uncertain, _State.UNCERTAIN))

    def _append(self, key: Key) -> None:
        if self._ledger is None:
            return
        # After a failure, the file may end in an incomplete line.
        if self.problem or self._lines >= 4 * self._size:
            self._write()
            return
        try:
            self._ledger.append(self._line(key))
            self._lines += 1
        except OSError:
            self._write()  # reports the error, unless only the file was wrong

    def _write(self) -> None:
        if self._ledger is None:
            return
        keys = [*self._known, *self._owed]
        try:
            self._ledger.replace([self._line(key) for key in keys])
            self._lines, self.problem = len(keys), ""
        except OSError as error:
            self._fail(self._ledger, error)

    def _fail(self, ledger: Ledger, error: OSError) -> None:
        remedy = "set ROS_HOME to a writable folder"
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(ledger.path.lstat().st_mode):
                remedy = "remove it"
        self.problem = as_reason(
            f"The record of answered events is lost at exit, since {ledger.path} cannot be written "
            f"({error.strerror or error}); {remedy}."
        )

    def _line(self, key: Key) -> str:
        report = self._owed.get(key)
        if report is None:
            return f"{key[0]} {key[1]} {self._known[key].value}"
        return f"{key[0]} {key[1]} {_State.OWED.value} {json.dumps(vars(report))}"


def _entries(lines: list[str]) -> Iterator[tuple[Key, _State, SpanReport | None]]:
    """The entries of lines; damaged ones are skipped."""
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            published, span_id, *rest = line.split(" ", 3)
            key = _stamp(published), _stamp(span_id)
            # Earlier versions wrote only the two numbers.
            state = _State(rest[0]) if rest else _State.ANSWERED
            if (state is _State.OWED) != (len(rest) == 2):
                continue
            yield key, state, _report(rest[1], key) if state is _State.OWED else None


def _stamp(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20) or int(text) >= 1 << 64:
        raise ValueError(text)
    return int(text)


def _report(text: str, key: Key) -> SpanReport:
    """The report of `key` from its fields in JSON; ValueError for values that a message cannot have."""
    values = json.loads(text)
    if not isinstance(values, dict) or values.keys() != {field.name for field in fields(SpanReport)}:
        raise ValueError(text)
    if (values["published"], values["span_id"]) != key:
        raise ValueError(text)
    kinds: dict[str, type] = {"query": str, "frame_id": str, "watch": str, "camera": str, "respond": bool}
    for name, value in values.items():
        if type(value) is not kinds.get(name, int):
            raise ValueError(text)
        if isinstance(value, str) and (len(value) > LONGEST_NAME or value != mended(value)):
            raise ValueError(text)
        if type(value) is int and name not in ("span_id", "published") and abs(value) >= _END_OF_TIME:
            raise ValueError(text)
    return SpanReport(**{**values, "state": SpanState(values["state"])})
