"""Write an event log, as the only writer of its file."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.events.database import check_place, files_beside, open_for_writing, real_place, told
from stride_ros.events.identity import Identity, moved
from stride_ros.events.index import Indexed, write_index
from stride_ros.events.lock import WriterLock
from stride_ros.events.readers import readers_released
from stride_ros.events.record import OPEN, RETRACTED, Event, Pose, merged
from stride_ros.events.retention import MIN_BYTES, Retention
from stride_ros.events.rows import COLUMNS, ID_SLACK, details_of, event_of, signed, storable, stored
from stride_ros.events.written import WrittenTimes
from stride_ros.user_files.paths import given_path

_UNCOMMITTED = 1 << 19  # maximum uncommitted bytes if the size of the log is limited
_EVENT_BYTES = 1000  # approximate size of an event without its picture


class EventLog:
    """Writes events; `commit` and `close` make what was written durable.

    One program at a time can write a log, while any number read it. After an error, everything since the last
    commit is discarded, and the log can be used again. Every call may raise EventLogError.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        keep_days: float | None = None,
        keep_bytes: int | None = None,
        synchronous: str = "FULL",
    ) -> None:
        """Open or create the file. `keep_days`: days after writing at which events are removed.

        `keep_bytes`: maximum size of the log on the disk, at least 16 MB: pictures beyond half of it are
        removed, then events, in the order in which they were written. `synchronous`: with "FULL", commits
        survive a power failure; with "NORMAL", the last commits may be lost.
        """
        if synchronous not in ("FULL", "NORMAL"):
            raise ConfigError(f"synchronous cannot be {synchronous!r}; use FULL or NORMAL.")
        if keep_days is not None and not (math.isfinite(keep_days) and keep_days > 0):
            raise ConfigError(f"keep_days cannot be {keep_days}; use a number of days above 0.")
        if keep_bytes is not None and keep_bytes < MIN_BYTES:
            raise ConfigError(f"keep_bytes cannot be {keep_bytes}; use {MIN_BYTES} (16 MB) or more.")
        self.path = real_place(given_path(path))
        self._keep, self._synchronous = (keep_days, keep_bytes), synchronous
        self._waiting = 0  # approximate bytes
        self._names: dict[str, int] = {}
        self._open()

    def _open(self) -> None:
        check_place(self.path)
        self._lock = WriterLock(self.path)
        try:
            self._connection = open_for_writing(self.path, self._synchronous)
        except BaseException:
            self._lock.release()
            raise
        self._identity: Identity | None = Identity.of(self.path)
        self._mode = stat.S_IMODE(self.path.stat().st_mode)
        try:
            with told(self.path, "written"):
                self._retention = Retention(self._connection, *self._keep)
                self._times = WrittenTimes(self._connection)
            with self._writing():
                self._times.forget_wrong()
                self._retention.apply()
            self.commit()
        except BaseException:
            self._identity = None
            self._connection.close()
            self._lock.release()
            raise

    @property
    def in_place(self) -> bool:
        """Whether the file and those that belong to it are still where they were opened.

        Nobody finds what is written to others.
        """
        return self._identity is not None and self._identity.holds and self._lock.holds

    def reopen(self) -> None:
        """Open or create the log at its path again, after it was deleted, moved or replaced."""
        with readers_released(self.path):
            self._close()
            self._names.clear()
            self._waiting = 0
            with suppress(OSError):  # for those who could read it before; what else is wrong is told below
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._mode))
            self._open()

    def put(self, event: Event) -> None:
        """Insert an event, or replace the one with its key.

        An existing sentence, pose or picture stays if the new event has none, and an event that is over does
        not reopen.
        """
        with self._writing():
            known = self._row(event.key)
            if known is None:
                self._insert(event)
            else:
                self._replace(*known, event)
        self._wrote(_EVENT_BYTES)

    def say(
        self,
        key: str,
        sentence: str,
        *,
        status: str = "ok",
        error: str = "",
        speaker: str = "",
        shown_ns: tuple[int, ...] = (),
    ) -> bool:
        """Write the final commentary on an event; False, without writing, if the event does not exist."""
        with self._writing():
            known = self._row(key)
            if known is None:
                return False
            told_event = replace(
                known[1],
                sentence=sentence,
                status=status,
                error=error,
                speaker=speaker or known[1].speaker,
                shown_ns=shown_ns,
            )
            self._replace(*known, told_event)
        self._wrote(len(sentence))
        return True

    def place(self, key: str, pose: Pose) -> None:
        """Write where the robot was at an event; does nothing if the event does not exist."""
        with self._writing():
            known = self._row(key)
            if known is not None:
                self._replace(*known, replace(known[1], pose=pose))

    def picture(self, key: str, jpeg: bytes) -> None:
        """Store the picture of an event; does nothing if the event does not exist."""
        with self._writing():
            found = self._execute("SELECT id FROM contents WHERE key = ?", key).fetchone()
            if found is None:
                return
            self._execute("INSERT OR REPLACE INTO pictures VALUES (?, ?)", found[0], jpeg)
            self._execute("UPDATE contents SET picture = ? WHERE id = ?", len(jpeg), found[0])
        self._wrote(len(jpeg))

    def run(self, origin: str, document: str) -> None:
        """Store the JSON that a replay of a recording wrote, so that it can be exported again."""
        with self._writing():
            packed = zlib.compress(document.encode("utf-8", "backslashreplace"))
            self._execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", self._name(origin), packed)
        self._wrote(len(packed))

    def remove(self, origin: str) -> None:
        """Remove all events of a recording or robot, in the same transaction as the writes that follow."""
        with self._writing():
            number = self._name(origin)
            ids = [row[0] for row in self._execute("SELECT id FROM events WHERE origin = ?", number)]
            self._retention.remove(ids)
            self._execute("DELETE FROM runs WHERE origin = ?", number)

    def open_events(self, origin: str) -> tuple[Event, ...]:
        """The events of a robot whose end was not seen."""
        query = f"SELECT {COLUMNS} FROM found WHERE state = ? AND origin = ? AND end_ns IS NULL"
        with told(self.path, "read"):
            return tuple(map(event_of, self._execute(query, OPEN, origin)))

    def commit(self) -> None:
        """Make what was written durable, and remove what is too old or exceeds the size."""
        with told(self.path, "written"):
            try:
                if self._connection.in_transaction:
                    self._times.follow()
                    self._retention.apply()
                    self._check_place()
                    self._connection.execute("COMMIT")
                    self._retention.tidy()
            except BaseException:
                self._roll_back()
                raise
        self._waiting = 0

    def close(self) -> None:
        """Commit and close the file, which others may then write."""
        try:
            if self._identity is not None:
                self.commit()
        finally:
            self._close()

    def _close(self) -> None:
        identity, self._identity = self._identity, None
        try:
            if identity is not None:
                with told(self.path, "written"):
                    identity.close(self._connection)
        finally:
            self._lock.release()

    @property
    def size(self) -> int:
        """Bytes that the log takes on the disk, including SQLite's files beside it."""
        total = 0
        for path in (self.path, *files_beside(self.path)):
            with suppress(OSError):
                total += path.stat().st_size
        return total

    @property
    def count(self) -> int:
        """Number of events."""
        with told(self.path, "read"):
            return int(self._execute("SELECT count(*) FROM events").fetchone()[0])

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            self._roll_back()  # so that nothing is half-written after an error
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with told(self.path, "written"):
            try:
                self._begin()
                yield
            except BaseException:
                self._roll_back()
                raise

    def _begin(self) -> None:
        if self._identity is None or not self._connection.in_transaction:
            self._check_place()
            self._connection.execute("BEGIN IMMEDIATE")
            self._times.follow()

    def _check_place(self) -> None:
        if not self.in_place:
            raise moved(self.path)

    def _roll_back(self) -> None:
        self._names.clear()
        self._waiting = 0
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _wrote(self, size: int) -> None:
        self._waiting += size
        if self._retention.limited and self._waiting > _UNCOMMITTED:
            self.commit()

    def _execute(self, query: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(query, tuple(map(stored, values)))

    def _row(self, key: str) -> tuple[int, Event] | None:
        row = self._execute(f"SELECT id, {COLUMNS} FROM found WHERE key = ?", key).fetchone()
        return (row[0], event_of(row[1:])) if row is not None else None

    def _name(self, name: str) -> int:
        name = storable(name)
        if name not in self._names:
            self._execute("INSERT OR IGNORE INTO names (name) VALUES (?)", name)
            self._names[name] = self._execute("SELECT id FROM names WHERE name = ?", name).fetchone()[0]
        return self._names[name]

    def _insert(self, event: Event) -> None:
        row = self._free_id(event.start_ns)
        self._execute(
            "INSERT INTO events (id, watch, camera, query, origin, start_ns, end_ns, confidence, state)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
            *self._values(event),
        )
        self._execute(
            "INSERT INTO contents (id, key, seq, written, span_id, sentence, details)"
            " VALUES (?, ?, (SELECT coalesce(max(seq), 0) + 1 FROM contents), ?, ?, ?, ?)",
            row,
            event.key,
            self._times.now(),
            signed(event.span_id),
            event.sentence,
            details_of(event),
        )
        self._index(row, event)

    def _replace(self, row: int, known: Event, event: Event) -> None:
        event = merged(known, event)
        if event == known:
            return
        new = row if event.start_ns == known.start_ns else self._free_id(event.start_ns)
        anew = new != row or _found_by(event) != _found_by(known)
        if anew:
            self._index(row, known, delete=True)
        self._execute(
            "UPDATE events SET id = ?, watch = ?, camera = ?, query = ?, origin = ?, start_ns = ?,"
            " end_ns = ?, confidence = ?, state = ? WHERE id = ?",
            new,
            *self._values(event),
            row,
        )
        self._execute(
            "UPDATE contents SET id = ?, span_id = ?, sentence = ?, details = ? WHERE id = ?",
            new,
            signed(event.span_id),
            event.sentence,
            details_of(event),
            row,
        )
        if new != row:
            self._execute("UPDATE pictures SET id = ? WHERE id = ?", new, row)
        if anew:
            self._index(new, event)

    def _values(self, event: Event) -> tuple[Any, ...]:
        names = (event.watch, event.camera, event.query, event.origin)
        return *map(self._name, names), event.start_ns, event.end_ns, event.confidence, event.state

    def _index(self, row: int, event: Event, *, delete: bool = False) -> None:
        numbers = [self._name(name) for name in (event.camera, event.watch, event.origin)]
        texts = storable(event.query), storable(event.sentence)
        write_index(self._connection, Indexed(row, *texts, event.state, *numbers), delete)

    def _free_id(self, start: int) -> int:
        """The start, or the next number above it that is free."""
        if self._execute("SELECT 1 FROM events WHERE id = ?", start).fetchone() is None:
            return start
        last = start + ID_SLACK
        found = self._execute("SELECT max(id) FROM events WHERE id >= ? AND id < ?", start, last).fetchone()
        row = int(found[0]) + 1
        while self._execute("SELECT 1 FROM events WHERE id = ?", row).fetchone() is not None:
            row += 1
        return row


def _found_by(event: Event) -> tuple[str, ...]:
    """The index entry of an event."""
    retracted = RETRACTED if event.state == RETRACTED else ""
    return event.query, event.sentence, event.camera, event.watch, event.origin, retracted
