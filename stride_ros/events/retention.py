"""What a log lets go of: what is too old, and what would take more room than it may."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from stride_ros.events.index import Indexed, write_index

MIN_BYTES = 16_000_000
_BESIDE = 6_000_000  # bytes for what SQLite keeps beside the file
_DAY = 86_400  # s
_LOW = 0.95  # of the budget is left when some was let go of
_BATCH = 100  # rows


class Retention:
    """Works within the writer's transaction."""

    def __init__(
        self, connection: sqlite3.Connection, keep_days: float | None, keep_bytes: int | None
    ) -> None:
        self._connection = connection
        self._keep = None if keep_days is None else keep_days * _DAY
        self._budget = None if keep_bytes is None else keep_bytes - _BESIDE
        self._page: int = connection.execute("PRAGMA page_size").fetchone()[0]

    @property
    def limited(self) -> bool:
        """Whether the size of the log is limited."""
        return self._budget is not None

    def apply(self) -> None:
        """Remove what is too old and too much."""
        if self._keep is not None:
            # Where the clock was not set, `written` is 0: nobody knows how old those are.
            oldest = int(time.time() - self._keep)
            while ids := self._ids("SELECT id FROM contents WHERE written BETWEEN 1 AND ? LIMIT ?", oldest):
                self.remove(ids)
        if self._budget is not None and self._used() > self._budget:
            self._make_room(int(self._budget * _LOW))

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

    def shrink(self) -> None:
        """Give pages back that a larger budget left; between two transactions."""
        if self._budget is None:
            return
        beyond = self._number("PRAGMA page_count") - self._budget // self._page
        if beyond > 0 and self._number("PRAGMA freelist_count") > 0:
            self._connection.execute(f"PRAGMA incremental_vacuum({beyond})").fetchall()

    def _make_room(self, target: int) -> None:
        assert self._budget is not None
        pictures = self._number("SELECT coalesce(sum(picture), 0) FROM contents WHERE picture > 0")
        while self._used() > target:
            if pictures > self._budget // 2:
                ids = self._ids("SELECT id FROM contents WHERE picture > 0 ORDER BY seq LIMIT ?")
                for row in ids:
                    size = self._connection.execute("SELECT picture FROM contents WHERE id = ?", (row,))
                    pictures -= size.fetchone()[0]
                    self._connection.execute("DELETE FROM pictures WHERE id = ?", (row,))
                    self._connection.execute("UPDATE contents SET picture = 0 WHERE id = ?", (row,))
                continue
            ids = self._ids("SELECT id FROM contents ORDER BY seq LIMIT ?")
            if not ids:
                return
            pictures -= sum(
                self._connection.execute("SELECT picture FROM contents WHERE id = ?", (row,)).fetchone()[0]
                for row in ids
            )
            self.remove(ids)
            # The index notes down what was removed, and gives its room back only when it is merged.
            self._connection.execute("INSERT INTO words (words, rank) VALUES ('merge', 500)")

    def _ids(self, query: str, *values: object) -> list[int]:
        return [row[0] for row in self._connection.execute(query, (*values, _BATCH))]

    def _used(self) -> int:
        return (self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")) * self._page

    def _number(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])
