"""Remove from a log what is too old, or exceeds its size limit."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from stride_ros.events.index import Indexed, write_index

MIN_BYTES = 16_000_000
_BESIDE = 5_000_000  # bytes for SQLite's files beside the log
_DAY = 86_400  # s
_FULL, _LOW = 0.92, 0.87  # fractions of the budget: removal starts at the first and stops at the second
_BATCH = 100  # rows
_INDEX = 0.5  # approximate fraction of an event's size, without its picture, that is index
_STEP = 200  # index pages merged per transaction
_PATIENCE = 0.2  # maximum s of merging after a commit


class Retention:
    """Removes events and pictures within the writer's transaction.

    The index only marks removed entries: their space is freed when its parts are merged, which happens in
    small steps after later commits.
    """

    def __init__(
        self, connection: sqlite3.Connection, keep_days: float | None, keep_bytes: int | None
    ) -> None:
        self._connection = connection
        self._keep = None if keep_days is None else keep_days * _DAY
        self._budget = None if keep_bytes is None else keep_bytes - _BESIDE
        self._page: int = connection.execute("PRAGMA page_size").fetchone()[0]
        self._owed = 0.0  # bytes that the index will free
        self._first_step = True

    @property
    def limited(self) -> bool:
        """Whether the size of the log is limited."""
        return self._budget is not None

    def apply(self) -> None:
        """Remove what is too old or exceeds the size limit."""
        if self._keep is not None:
            # If the clock was not set, `written` is 0 and the age is unknown.
            oldest = int(time.time() - self._keep)
            while ids := self._ids("SELECT id FROM contents WHERE written BETWEEN 1 AND ? LIMIT ?", oldest):
                self.remove(ids)
        if self._budget is not None:
            used = self._used() - self._owed
            if used > self._budget * _FULL:
                self._make_room(used, self._budget * _LOW, self._budget / 2)

    def remove(self, ids: Sequence[int]) -> None:
        """Remove these events with their pictures."""
        for row in ids:
            found = self._connection.execute(
                "SELECT e.id, q.name, t.sentence, e.state, e.camera, e.watch, e.origin FROM events e"
                " JOIN contents t ON t.id = e.id JOIN names q ON q.id = e.query WHERE e.id = ?",
                (row,),
            ).fetchone()
            write_index(self._connection, Indexed(*found), delete=True)
            for table in ("pictures", "contents", "events"):
                self._connection.execute(f"DELETE FROM {table} WHERE id = ?", (row,))

    def tidy(self) -> None:
        """Free the space of removed entries; call this between transactions."""
        if self._budget is None:
            return
        stop = time.monotonic() + _PATIENCE
        while self._owed > 0 and time.monotonic() < stop:
            before = self._connection.total_changes
            step = -_STEP if self._first_step else _STEP  # below zero: all parts are merged, even large ones
            self._connection.execute("INSERT INTO words (words, rank) VALUES ('merge', ?)", (step,))
            self._first_step = False
            if self._connection.total_changes - before < 2:  # how FTS5 reports that there is nothing to merge
                self._owed = 0.0
        beyond = self._number("PRAGMA page_count") - self._budget // self._page
        if beyond > 0 and self._number("PRAGMA freelist_count") > 0:
            # A script, since `execute` would stop after the first page.
            self._connection.executescript(f"PRAGMA incremental_vacuum({beyond})")

    def _make_room(self, used: float, target: float, for_pictures: float) -> None:
        pictures = self._number("SELECT coalesce(sum(picture), 0) FROM contents WHERE picture > 0")
        count = self._number("SELECT count(*) FROM contents")
        each = (used - pictures) / max(count, 1)  # mean bytes of an event without its picture
        while used > target:
            if only_pictures := pictures > for_pictures:
                condition, also = "WHERE picture > 0", 0.0
            elif count > 0:
                condition, also = "", each
            else:
                return
            rows = self._connection.execute(
                f"SELECT id, picture FROM contents {condition} ORDER BY seq LIMIT ?", (_BATCH,)
            ).fetchall()
            ids = []
            for row, size in rows:
                ids.append(row)
                pictures -= size
                used -= size + also
                if used <= target or (only_pictures and pictures <= for_pictures):
                    break
            if only_pictures:
                self._remove_pictures(ids)
            else:
                self.remove(ids)
                count -= len(ids)
                self._owed += _INDEX * each * len(ids)
                self._first_step = True

    def _remove_pictures(self, ids: Sequence[int]) -> None:
        for row in ids:
            self._connection.execute("DELETE FROM pictures WHERE id = ?", (row,))
            self._connection.execute("UPDATE contents SET picture = 0 WHERE id = ?", (row,))

    def _ids(self, query: str, *values: object) -> list[int]:
        return [row[0] for row in self._connection.execute(query, (*values, _BATCH))]

    def _used(self) -> int:
        return (self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")) * self._page

    def _number(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])
