"""Which onsets were answered, and which are owed an answer, remembered beyond the life of a process."""

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
MAX_HEARD = 20_000  # onsets that a process remembers for its own life; about 5 MB
_END_OF_TIME = (1 << 31) * 10**9  # ns; a Time message can say no more


class _State(Enum):
    """How far the answer of an onset has come; the values are the words in the file."""

    OWED = "owed"  # taken on, no final Commentary yet
    PUBLISHING = "publishing"  # its final Commentary is on its way
    ANSWERED = "answered"
    UNCERTAIN = "uncertain"  # the process ended while PUBLISHING: perhaps it was, so never again


class KnownOnsets:
    """The last `size` onsets, kept in a text file when `path` is given; safe to share.

    Spans are kept by their publisher for late subscribers, so a responder that is started again receives old
    onsets once more; this tells those that were answered from those that were not. It also says what a
    process that was killed has left: the onsets that it owed an answer (`owed`), and those whose final
    Commentary it was just publishing (`uncertain`). They count as known.

    A damaged line costs only itself. `problem` is "", or one sentence that says why the file cannot be used;
    each addition tries again.
    """

    def __init__(self, path: Path | None = None, size: int = 1000) -> None:
        self._ledger = Ledger(path) if path is not None else None
        self._size = size
        self._lock = threading.Lock()
        self._known: dict[Key, _State] = {}  # oldest first, as is _owed
        self._owed: dict[Key, SpanReport] = {}
        self._spans: Counter[int] = Counter()  # how many keys each span has
        self._lines = 0
        self.problem = ""
        self.uncertain: tuple[Key, ...] = ()  # those that are so since the latest end of a process
        if self._ledger is not None:
            with contextlib.suppress(OSError):  # writing will say the same
                self._load(self._ledger.read())
            self._write()

    def __contains__(self, key: Key) -> bool:
        with self._lock:
            return key in self._known or key in self._owed

    def has_span(self, span_id: int) -> bool:
        """Whether there is a key of this span, whenever it was published."""
        with self._lock:
            return span_id in self._spans

    def owed(self) -> list[tuple[Key, SpanReport]]:
        """The onsets that have no final Commentary, oldest first, with what was reported of them."""
        with self._lock:
            return list(self._owed.items())

    def owe(self, key: Key, report: SpanReport) -> None:
        """Remember an onset that was taken on."""
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
        # After a failure the end of the file may be half a line.
        if self.problem or self._lines >= 4 * self._size:
            self._write()
            return
        try:
            self._ledger.append(self._line(key))
            self._lines += 1
        except OSError:
            self._write()  # says what is wrong, unless that was the file alone

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
            f"Which events were answered is forgotten at exit, since {ledger.path} cannot be written "
            f"({error.strerror or error}): {remedy}."
        )

    def _line(self, key: Key) -> str:
        report = self._owed.get(key)
        if report is None:
            return f"{key[0]} {key[1]} {self._known[key].value}"
        return f"{key[0]} {key[1]} {_State.OWED.value} {json.dumps(vars(report))}"


def _entries(lines: list[str]) -> Iterator[tuple[Key, _State, SpanReport | None]]:
    """What lines say; one that is damaged says nothing."""
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            published, span_id, *rest = line.split(" ", 3)
            key = _stamp(published), _stamp(span_id)
            # Earlier versions wrote the two numbers alone.
            state = _State(rest[0]) if rest else _State.ANSWERED
            if (state is _State.OWED) != (len(rest) == 2):
                continue
            yield key, state, _report(rest[1], key) if state is _State.OWED else None


def _stamp(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20) or int(text) >= 1 << 64:
        raise ValueError(text)
    return int(text)


def _report(text: str, key: Key) -> SpanReport:
    """The report of `key` with these fields in JSON; ValueError for anything that no message can say."""
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
