"""Read a rosbag2 database as it is on disk, without writing next to it, whatever its recorder left."""

from __future__ import annotations

import shutil
import sqlite3
from array import array
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from stride_ros.bags.storage import BagMessage, Channel, StorageError
from stride_ros.text.wording import counted

MAGIC = b"SQLite format 3\0"
# Errors of a damaged file, in which even the column names may not be UTF-8.
_DAMAGE = (sqlite3.Error, UnicodeDecodeError, TypeError, OverflowError)
_ROWS = 1 << 14  # rows converted to Python numbers at a time
_COPY = "copy.db3"
_VARIABLES = 900  # per query; SQLite before 3.32 allows 999
_LOGS = ("-wal", "-journal")  # suffixes of files that a killed recorder leaves


class SqliteFile:
    """An open .db3 file; see `storage.Storage`. Raises StorageError, OSError."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.channels: list[Channel] = []
        self.notes: list[str] = []
        self._copy: TemporaryDirectory[str] | None = None
        self._latest: tuple[list[int], NDArray[np.int64]] | None = None  # topics and their rows
        self._path = path
        self._prepare()
        self._connection: sqlite3.Connection | None = None
        self._key = "id"  # of a message
        try:
            self.channels = self._read_channels()
            self._count()
        except _DAMAGE as error:
            self.close()
            raise StorageError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def rest(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        self.rest()
        if self._copy is not None:
            self._copy.cleanup()

    def span(self) -> tuple[int, int] | None:
        try:
            first, last = self._database.execute(
                "select min(timestamp), max(timestamp) from messages"
            ).fetchone()
        except _DAMAGE:
            return None
        return (first, last) if isinstance(first, int) and isinstance(last, int) else None

    def log_times(self, channels: Collection[Channel]) -> NDArray[np.int64]:
        return np.sort(self._rows(channels)[:, 1])

    def messages(self, channels: Collection[Channel], start: int, stop: int) -> Iterator[BagMessage]:
        by_number = {channel.number: channel for channel in channels}
        rows = self._rows(channels)
        rows = rows[(rows[:, 1] >= start) & (rows[:, 1] < stop)]
        rows = rows[np.argsort(rows[:, 1], kind="stable")]
        lost = 0
        query = f"select data from messages where {self._key} = ?"
        parts = (rows[i : i + _ROWS].tolist() for i in range(0, len(rows), _ROWS))
        for number, log_time, topic in chain.from_iterable(parts):
            try:
                found = self._database.execute(query, (number,)).fetchone()
            except _DAMAGE:
                found = None
            if found is None:
                lost += 1
            else:
                yield BagMessage(by_number[topic], log_time, found[0] if isinstance(found[0], bytes) else b"")
        if lost:
            self._note(f"{lost} messages in damaged parts of {self.name} were left out.")

    @property
    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            if self._copy is None:
                # Immutable: no locks are taken, those of other programs are ignored, and nothing is written.
                name = f"{self._path.absolute().as_uri()}?mode=ro&immutable=1"
            else:
                name = (Path(self._copy.name) / _COPY).as_uri()
            self._connection = sqlite3.connect(name, uri=True, check_same_thread=False)  # one at a time
            self._connection.text_factory = lambda data: data.decode("utf-8", "replace")
        return self._connection

    def _prepare(self) -> None:
        """Copy a database that has a log, so that SQLite can merge the log into the copy."""
        path = self._path
        left = [log for log in (path.with_name(path.name + end) for end in _LOGS) if _holds_data(log)]
        if not left:
            return
        try:
            self._copy = TemporaryDirectory(prefix="stride_ros_")
            copy = Path(self._copy.name) / _COPY
            shutil.copyfile(path, copy)
            for log in left:
                shutil.copyfile(log, f"{copy}{log.name[len(path.name) :]}")
        except OSError as error:
            if self._copy is not None:
                self._copy.cleanup()
            raise StorageError(f"{error}; set TMPDIR to a folder with space for a copy of it") from error
        self.notes += [f"{log.name}, left by a recorder that did not finish, was read too." for log in left]

    def _read_channels(self) -> list[Channel]:
        columns = self._columns("topics")
        if not columns or not self._columns("messages"):
            raise StorageError("it has no topics or no messages table")
        definitions: dict[str, tuple[str, str]] = {}
        if self._columns("message_definitions"):
            definitions = {
                _text(name): (_text(encoding), _text(text))
                for name, encoding, text in self._database.execute(
                    "select topic_type, encoding, encoded_message_definition from message_definitions"
                )
            }
        digest = "type_description_hash" if "type_description_hash" in columns else "''"
        number = "coalesce(id, rowid)" if self._has_rowid("topics") else "id"
        self._key = "rowid" if self._has_rowid("messages") else "id"
        channels = []
        for *values, hashed in self._database.execute(
            f"select cast({number} as integer), name, type, serialization_format, {digest} from topics"
            f" where {number} is not null order by 1"
        ):
            topic, name, encoding = map(_text, values[1:])
            encoding = encoding.strip().lower() or "cdr"  # the encoding of all recorders
            kind, text = definitions.get(name, ("", ""))
            channels.append(Channel(values[0], topic, name, encoding, kind, text.encode(), _text(hashed)))
        return channels

    def _has_rowid(self, table: str) -> bool:
        """Whether a table has row ids.

        `id` is the row id, unless the database was not made by rosbag2 or the table's definition is damaged.
        """
        try:
            self._database.execute(f"explain select rowid from {table}")
        except sqlite3.OperationalError:
            return False
        kind = self._database.execute("select type from sqlite_master where name = ?", (table,)).fetchone()
        return kind is None or kind[0] != "view"

    def _columns(self, table: str) -> set[str]:
        return {row[1] for row in self._database.execute(f"pragma table_info({table})")}

    def _count(self) -> None:
        counts: dict[int, int] = {}
        try:
            query = (
                "select cast(topic_id as integer), count(*) from messages"
                " where typeof(timestamp) = 'integer' group by 1"
            )
            counts.update(self._database.execute(query))
        except _DAMAGE:  # a damaged page: count what can be scanned
            topics, numbers = np.unique(self._rows(self.channels)[:, 2], return_counts=True)
            counts = {int(topic): int(n) for topic, n in zip(topics, numbers, strict=True)}
        for channel in self.channels:
            channel.count = counts.pop(channel.number, 0)
        if strangers := sum(counts.values()):
            self._note(f"{self.name}: {counted(strangers, 'message')} of no known topic left out.")
        with suppress(*_DAMAGE):
            query = "select count(*) from messages where typeof(timestamp) <> 'integer'"
            if timeless := self._database.execute(query).fetchone()[0]:
                self._note(f"{self.name}: {counted(timeless, 'message')} without a log time left out.")

    def _rows(self, channels: Collection[Channel]) -> NDArray[np.int64]:
        """Id, log time and topic of all reachable messages of these channels, (n, 3) by id."""
        topics = sorted({channel.number for channel in channels})
        if self._latest is not None and self._latest[0] == topics:
            return self._latest[1]
        chosen = f"topic_id in ({','.join('?' * len(topics))}) and" if len(topics) <= _VARIABLES else ""
        query = (
            f"select {self._key}, timestamp, cast(topic_id as integer) from messages where {chosen}"
            f" typeof(timestamp) = 'integer' order by {self._key}"
        )
        rows, error = self._walk(query, topics)
        if error is not None:  # then read from the other end up to the damage
            behind = self._walk(f"{query} desc", topics)[0][::-1]
            rows = np.concatenate([rows, behind[~np.isin(behind[:, 0], rows[:, 0])]])
            self._note(f"{self.name} is damaged ({error}); the parts before and after the damage were used.")
        self._latest = topics, rows
        return rows

    def _walk(self, query: str, topics: list[int]) -> tuple[NDArray[np.int64], Exception | None]:
        cells, failure = array("q"), None  # a list of tuples takes ten times as much
        try:
            values = topics if "?" in query else ()
            cells.extend(chain.from_iterable(self._database.execute(query, values)))
        except _DAMAGE as error:
            failure = error
        rows = np.array(cells[: len(cells) // 3 * 3], np.int64).reshape(-1, 3)
        return rows if "?" in query else rows[np.isin(rows[:, 2], topics)], failure

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _text(value: object) -> str:
    """A cell that should be text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _holds_data(log: Path) -> bool:
    """Whether a log exists that is not empty; a finished journal begins with zeros."""
    try:
        if not log.is_file():  # reading a pipe would block
            return False
        with log.open("rb") as file:
            return any(file.read(8))
    except OSError:
        return False
