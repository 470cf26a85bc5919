"""The entries of events in the full text index."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from stride_ros.events.record import RETRACTED
from stride_ros.events.words import indexed


class Indexed(NamedTuple):
    """The texts of a row, and the numbers of its names."""

    row: int
    query: str
    sentence: str
    state: str
    camera: int
    watch: int
    origin: int


def write_index(connection: sqlite3.Connection, entry: Indexed, delete: bool) -> None:
    """Add or delete an entry; to delete, pass it as it was added, since the index keeps no texts."""
    marks = [mark(column, getattr(entry, column)) for column in ("camera", "watch", "origin")]
    if entry.state == RETRACTED:
        marks.append(RETRACTED)
    values = (entry.row, indexed(entry.query), indexed(entry.sentence), " ".join(marks))
    if delete:
        command = "INSERT INTO words (words, rowid, query, sentence, marks) VALUES ('delete', ?, ?, ?, ?)"
    else:
        command = "INSERT INTO words (rowid, query, sentence, marks) VALUES (?, ?, ?, ?)"
    connection.execute(command, values)


def rebuild_index(connection: sqlite3.Connection) -> None:
    """Index all events anew, within the caller's transaction: their texts were indexed in another form."""
    connection.execute("INSERT INTO words (words) VALUES ('delete-all')")
    rows = connection.execute(
        "SELECT e.id, q.name, t.sentence, e.state, e.camera, e.watch, e.origin FROM events e"
        " JOIN contents t ON t.id = e.id JOIN names q ON q.id = e.query"
    )
    for row in rows:
        write_index(connection, Indexed(*row), delete=False)


def mark(column: str, number: int) -> str:
    """The word that marks a camera, watch or origin, from the number of its name."""
    return f"{column[0]}{number}"
