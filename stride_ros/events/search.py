"""Find events in a log: by words of queries and sentences, time, camera, watch, origin and confidence."""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from stride_ros.errors import ConfigError
from stride_ros.events.database import EventLogError, has_log, open_for_reading, real_place, told, version_of
from stride_ros.events.identity import Identity
from stride_ros.events.index import mark
from stride_ros.events.readers import READERS
from stride_ros.events.record import RETRACTED, Event
from stride_ros.events.rows import COLUMNS, ID_SLACK, event_of, storable, stored
from stride_ros.events.times import local_time
from stride_ros.events.words import Term, expression, terms

_Result = TypeVar("_Result")
_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1
_ROUNDING = 0.5e-4  # results have four digits, and 0.7 in a message is 0.69999999
_MARKED = 50  # maximum alternatives that are looked up in the full text index


@dataclass(frozen=True)
class Search:
    """What to find. `text`: words, "phrases" and prefix*, all of which must occur; empty: all.

    `cameras`, `watches`, `origins`: any of these; empty: all. `since_ns`, `until_ns`: earliest and latest
    start. `min_confidence`: 0 to 1. `limit`: maximum number of events, None for all. `retracted`: whether to
    include false alarms.
    """

    text: str = ""
    cameras: Sequence[str] = ()
    watches: Sequence[str] = ()
    origins: Sequence[str] = ()
    since_ns: int | None = None
    until_ns: int | None = None
    min_confidence: float = 0.0
    limit: int | None = 20
    retracted: bool = False

    def __post_init__(self) -> None:
        """Raise ConfigError for invalid values."""
        if not 0.0 <= self.min_confidence <= 1.0:
            raise ConfigError(f"The confidence cannot be {self.min_confidence}; use 0 to 1.")
        if self.limit is not None and self.limit < 0:
            raise ConfigError(f"The number of events cannot be {self.limit}; use 0 or more.")
        if self.since_ns is not None and self.until_ns is not None and self.since_ns > self.until_ns:
            raise ConfigError("The earliest start is after the latest, and cannot be found; swap them.")

    def described(self) -> Iterator[str]:
        """What is asked for besides the text, in words."""
        for kind, names in (("camera", self.cameras), ("watch", self.watches), ("recording", self.origins)):
            if names:
                yield f"{kind} {' or '.join(names)}"
        if self.since_ns is not None:
            yield f"from {local_time(self.since_ns)} on"
        if self.until_ns is not None:
            yield f"until {local_time(self.until_ns)}"
        if self.min_confidence > 0:
            yield f"confidence at least {self.min_confidence:g}"


@dataclass(frozen=True)
class Found:
    """The events, newest first, and the number of all that match."""

    events: tuple[Event, ...]
    total: int


class EventReader:
    """Reads a log, even while it is being written. Raises EventLogError. For one thread at a time."""

    def __init__(self, path: str | Path) -> None:
        self.path = real_place(Path(path))
        self.lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._open(path)
        READERS.add(self)

    def _open(self, path: str | Path) -> sqlite3.Connection:
        before = self._connection
        self._connection, self._still = open_for_reading(path)
        self._identity = Identity.of(self.path)
        if before is not None:
            before.close()
        return self._connection

    def find(self, search: Search) -> Found:
        """Return the newest matching events. ConfigError for a text without a word."""

        def ask(connection: sqlite3.Connection) -> Found:
            connection.execute("BEGIN")  # so that the count and the events are consistent
            try:
                wanted = terms(storable(search.text), folded=version_of(connection) > 1)
                return _find(connection, search, wanted)
            finally:
                connection.execute("COMMIT")

        return self._read(ask)

    def picture(self, key: str) -> bytes | None:
        """The JPEG of an event, or None."""
        row = self._one("SELECT jpeg FROM pictures JOIN contents USING (id) WHERE key = ?", key)
        return bytes(row[0]) if row is not None else None

    def event(self, key: str) -> Event | None:
        """The event with this key."""
        row = self._one(f"SELECT {COLUMNS} FROM found WHERE key = ?", key)
        return event_of(row) if row is not None else None

    def run(self, origin: str) -> str | None:
        """The JSON that a replay of this recording wrote, or None."""
        row = self._one("SELECT document FROM runs JOIN names ON id = origin WHERE name = ?", origin)
        return zlib.decompress(row[0]).decode() if row is not None else None

    def origins(self) -> tuple[str, ...]:
        """The recordings and robots, sorted by name."""
        return self._names(
            "EXISTS (SELECT 1 FROM events WHERE origin = n.id)"
            " OR EXISTS (SELECT 1 FROM runs WHERE origin = n.id)"
        )

    def cameras(self) -> tuple[str, ...]:
        """The names of cameras, sorted."""
        return self._names("id IN (SELECT camera FROM events)")

    def watches(self) -> tuple[str, ...]:
        """The ids of watches, sorted."""
        return self._names("id IN (SELECT watch FROM events)")

    def _names(self, condition: str) -> tuple[str, ...]:
        query = f"SELECT name FROM names n WHERE {condition} ORDER BY name"
        return tuple(name for (name,) in self._read(lambda connection: connection.execute(query).fetchall()))

    def close(self) -> None:
        """Close the file."""
        READERS.discard(self)
        with self.lock:
            self.release()

    def release(self) -> None:
        """Close the file until it is read again; call this while holding `lock`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> EventReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._read(
            lambda connection: connection.execute(query, tuple(map(stored, values))).fetchone()
        )
        return row

    def _read(self, ask: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run a query; repeat it if another program began to write a file that was opened as unchanging."""
        with self.lock:
            return self._ask(ask)

    def _ask(self, ask: Callable[[sqlite3.Connection], _Result]) -> _Result:
        for _ in range(3):
            connection = self._connection
            if connection is None or not self._identity.holds or (self._still and has_log(self.path)):
                connection = self._open(self.path)
            failure: EventLogError | None = None
            try:
                with told(self.path, "read"):
                    result = ask(connection)
            except EventLogError as error:
                failure = error
            if self._still and has_log(self.path):
                continue
            if failure is not None:
                raise failure
            return result
        raise EventLogError(f"{self.path} cannot be read, since it is constantly being rewritten; try again.")


@dataclass(frozen=True)
class _Conditions:
    """A search as SQL conditions and values: `match` for the full text index, `others` for rows."""

    match: str
    others: str
    values: tuple[object, ...]


def _find(connection: sqlite3.Connection, search: Search, wanted: list[Term]) -> Found:
    conditions = _conditions(connection, search, wanted)
    if conditions is None:
        return Found((), 0)
    if wanted:
        first = _SMALLEST if search.since_ns is None else _fitted(search.since_ns)
        last = _LARGEST if search.until_ns is None else _fitted(search.until_ns + ID_SLACK)
        table = "words" + (" CROSS JOIN events e ON e.id = words.rowid" if conditions.others else "")
        where = f"words MATCH ? AND words.rowid BETWEEN ? AND ?{conditions.others}"
        values: tuple[object, ...] = (conditions.match, first, last, *conditions.values)
        row = "words.rowid"
    else:
        # This index covers the query, so that the rows themselves are not scanned.
        table, where, row = "events e INDEXED BY events_facets", f"1{conditions.others}", "e.id"
        values = conditions.values
    total: int = connection.execute(f"SELECT count(*) FROM {table} WHERE {where}", values).fetchone()[0]
    limit = -1 if search.limit is None else min(search.limit, _LARGEST)
    newest = f"SELECT {row} AS i FROM {table} WHERE {where} ORDER BY {row} DESC LIMIT ?"
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM ({newest}) CROSS JOIN found ON found.id = i", (*values, limit)
    )
    events = sorted(map(event_of, rows), key=lambda event: (event.start_ns, event.key), reverse=True)
    return Found(tuple(events), total)


def _conditions(connection: sqlite3.Connection, search: Search, wanted: list[Term]) -> _Conditions | None:
    """None if the search names something that no event has."""
    match, others = f"{{query sentence}}:({expression(wanted)})", ""
    values: list[object] = []
    for column, names in (("camera", search.cameras), ("watch", search.watches), ("origin", search.origins)):
        if not names:
            continue
        numbers = [
            row[0]
            for name in dict.fromkeys(names)
            for row in connection.execute("SELECT id FROM names WHERE name = ?", (storable(name),))
        ]
        if not numbers:
            return None
        if wanted and len(numbers) <= _MARKED:
            match += f" AND marks:({' OR '.join(mark(column, number) for number in numbers)})"
        else:
            others += f" AND e.{column} IN ({','.join(map(str, numbers))})"
    if not search.retracted:
        if wanted:
            match = f"({match}) NOT marks:({RETRACTED})"
        else:
            others += " AND e.state <> ?"
            values.append(RETRACTED)
    for condition, value in (("start_ns >= ?", search.since_ns), ("start_ns <= ?", search.until_ns)):
        if value is not None:
            others += f" AND e.{condition}"
            values.append(_fitted(value))
    if search.min_confidence > 0.0:
        others += " AND e.confidence >= ?"
        values.append(search.min_confidence - _ROUNDING)
    return _Conditions(match, others, tuple(values))


def _fitted(stamp: int) -> int:
    """The stamp, or the nearest one that SQLite can store."""
    return min(max(stamp, _SMALLEST), _LARGEST)
