"""The file of an event log: its tables, and how it is opened; other files are refused with a clear error."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from stride_ros.errors import StrideError, about_path
from stride_ros.events.index import rebuild_index
from stride_ros.user_files.paths import given_path

APPLICATION = 0x53544556  # "STEV" in the header of the file
VERSION = 2  # programs refuse files with a newer one; 1: the index has most accents
# File systems without memory shared between clients, which the write-ahead log needs.
_NETWORK = ("nfs", "cifs", "smb", "fuse.sshfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ncpfs")
MOUNTS = Path("/proc/self/mounts")
_CACHE = 16_000  # KiB of pages cached by a connection
_MAP = 1 << 28  # bytes of the file that are memory-mapped

# A row's id is its start (ns), or the next free number above: the full text index then returns the newest
# first without sorting, and a time range is a range of ids. `marks` holds words such as c3 and w7, so that
# the index also covers cameras, watches and origins. Columns that are only displayed are in another table, so
# that scanning many events reads only a few dozen bytes of each.
_TABLES = """
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE events (
  id INTEGER PRIMARY KEY,
  watch INTEGER NOT NULL REFERENCES names,
  camera INTEGER NOT NULL REFERENCES names,
  query INTEGER NOT NULL REFERENCES names,
  origin INTEGER NOT NULL REFERENCES names,
  start_ns INTEGER NOT NULL,
  end_ns INTEGER,
  confidence REAL NOT NULL,
  state TEXT NOT NULL
);
CREATE INDEX events_facets ON events (camera, watch, origin, state, confidence, start_ns);
CREATE INDEX events_origin ON events (origin);
CREATE INDEX events_open ON events (origin) WHERE state = 'open';
CREATE TABLE contents (
  id INTEGER PRIMARY KEY REFERENCES events,
  key TEXT NOT NULL UNIQUE,
  seq INTEGER NOT NULL UNIQUE,         -- in order of writing
  written INTEGER NOT NULL,            -- s since 1970; 0: the clock was not set
  span_id INTEGER NOT NULL,
  sentence TEXT NOT NULL,
  picture INTEGER NOT NULL DEFAULT 0,  -- bytes of the picture
  details TEXT NOT NULL                -- JSON: the other fields, where they are not the usual ones
);
CREATE INDEX contents_written ON contents (written);
CREATE INDEX contents_picture ON contents (seq, picture) WHERE picture > 0;
CREATE TABLE pictures (id INTEGER PRIMARY KEY REFERENCES events, jpeg BLOB NOT NULL);
CREATE TABLE runs (origin INTEGER PRIMARY KEY REFERENCES names, document BLOB NOT NULL);  -- JSON, zlib
CREATE VIRTUAL TABLE words USING fts5 (
  query, sentence, marks, content = '', prefix = '1 2 3',
  tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
);
CREATE VIEW found AS
  SELECT e.id, t.key, t.span_id, w.name AS watch, c.name AS camera, q.name AS query, o.name AS origin,
    e.start_ns, e.end_ns, e.confidence, e.state, t.sentence, t.picture, t.details
  FROM events e JOIN contents t ON t.id = e.id JOIN names w ON w.id = e.watch
    JOIN names c ON c.id = e.camera JOIN names q ON q.id = e.query JOIN names o ON o.id = e.origin;
"""


class EventLogError(StrideError):
    """An event log cannot be opened, read or written."""


def real_place(path: Path) -> Path:
    """The path of the file itself: the files beside a log, and its lock, are found by its name.

    EventLogError for a link that leads to itself, and for a folder that is closed to this user.
    """
    try:
        return path.resolve() if path.is_symlink() or path.parent.exists() else path
    except (OSError, RuntimeError) as error:  # which of them a circle is depends on Python
        if isinstance(error, OSError) and error.errno != errno.ELOOP:
            raise EventLogError(about_path(error) or f"{path}: {error}; choose another place.") from error
        raise EventLogError(f"{path} is a link that leads to itself; remove it.") from error


def check_place(path: Path) -> None:
    """Refuse a place where a log cannot be, or a file that is not a log, before anything is written."""
    _refuse_network(path)
    if not path.parent.is_dir():
        raise EventLogError(
            f"{path} cannot be written: the folder {path.parent} does not exist; create it first."
        )
    if path.exists():
        _check_header(path)
        if path.stat().st_nlink > 1:  # a program that knows the other name would not see what this one writes
            raise EventLogError(
                f"{path} has another name too (a hard link); remove that name, or write to another file."
            )


def open_for_writing(path: Path, synchronous: str) -> sqlite3.Connection:
    """Open or create a log in a place that was checked. EventLogError if it cannot be written."""
    with told(path, "written"):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
        try:
            if _is_new(connection, path):
                _make(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA wal_autocheckpoint = 250")
            connection.execute(f"PRAGMA journal_size_limit = {1 << 20}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE}")
            # Some builds overwrite deleted pictures, which takes as much of the write-ahead log.
            connection.execute("PRAGMA secure_delete = FAST").fetchall()
            if version_of(connection) < VERSION:
                _upgrade(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def open_for_reading(path: str | Path) -> tuple[sqlite3.Connection, bool]:
    """Open a log that may be written meanwhile.

    Also returns whether it is read as a file that nothing writes. EventLogError if it is not a log or cannot
    be read.
    """
    path = given_path(path)
    if not path.exists():
        raise EventLogError(
            f"{path} does not exist; write one with the event_log node, `stride-ros mine` or `stride-ros "
            "replay --events`."
        )
    path = real_place(path)
    _check_header(path)
    # Without a write-ahead log nothing writes it: then no files are left beside it, and its folder may be
    # read-only.
    still = not log_of(path).exists()
    with told(path, "read"):
        try:
            return _opened(path, still), still
        except sqlite3.OperationalError:
            if log_of(path).exists() and log_of(path).stat().st_size > 0:
                raise
            return _opened(path, True), True  # the folder is read-only and the write-ahead log empty


def has_log(path: Path) -> bool:
    """Whether the file has a write-ahead log beside it, as while it is being written."""
    return log_of(path).exists()


@contextmanager
def told(path: str | Path, verb: str) -> Iterator[None]:
    """Turn SQLite's error about a file that is "read" or "written" into one sentence."""
    try:
        yield
    except sqlite3.Error as error:
        raise EventLogError(f"{path} cannot be {verb}{_reason(error)}") from error
    except OSError as error:
        raise EventLogError(
            f"{path} cannot be {verb} ({error.strerror or error}); choose another file."
        ) from error


def _opened(path: Path, still: bool) -> sqlite3.Connection:
    name = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if still else ''}"
    connection = sqlite3.connect(name, uri=True, check_same_thread=False, timeout=5.0, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only = 1")
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        connection.execute(f"PRAGMA mmap_size = {_MAP}")
        if _is_new(connection, path):
            raise EventLogError(
                f"{path} is empty; wait until something is written to it, or choose another file."
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _make(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    statements = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; {_TABLES}"
    connection.executescript(f"BEGIN EXCLUSIVE; {statements} COMMIT;")


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the tables."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _upgrade(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    rebuild_index(connection)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _is_new(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is empty. EventLogError for a file that is not a log, or is of a newer version."""
    if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
        return True
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = version_of(connection)
    if application != APPLICATION:
        raise _foreign(path)
    if version > VERSION:
        raise EventLogError(
            f"{path} was written by a newer version of stride_ros (tables {version}, this one knows "
            f"{VERSION}); use that version, or another file."
        )
    return False


def _check_header(path: Path) -> None:
    """Refuse another program's file before it is opened for use."""
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "not a regular file"
        inside = path / "events.db"  # as `mine` names it
        example = f", such as {inside}" if inside.is_file() else ""
        raise EventLogError(f"{path} is {kind}; give the file of an event log{example}.")
    # By SQLite: if this process has the log open, closing any other handle of the file would drop its locks,
    # and the next program that closes the log would remove the write-ahead log under the writer.
    with told(path, "read"):
        try:
            uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                empty = connection.execute("PRAGMA page_count").fetchone()[0] == 0
                application = connection.execute("PRAGMA application_id").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error):
                raise _foreign(path) from error
            raise
    if application != APPLICATION and not (empty and path.stat().st_size == 0):
        raise _foreign(path)


def _foreign(path: Path) -> EventLogError:
    return EventLogError(f"{path} is a file of another program, not an event log; choose another name.")


def _refuse_network(path: Path) -> None:
    kind = _file_system(path)
    if kind.startswith(_NETWORK):
        raise EventLogError(
            f"{path} is on a network file system ({kind}), where SQLite's write-ahead log does not work; "
            "choose a local disk, and copy the file from there when it is complete."
        )


def _file_system(path: Path) -> str:
    """Type of the file system that a path is on; empty if unknown."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
        place = path.absolute().resolve()
    except OSError:
        return ""
    best, kind = -1, ""
    for line in mounts:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mount = Path(fields[1].encode().decode("unicode_escape"))  # a space is \\040
        if (mount == place or mount in place.parents) and len(mount.parts) >= best:
            best, kind = len(mount.parts), fields[2]
    return kind


def files_beside(path: Path) -> tuple[Path, Path]:
    """The paths of SQLite's files next to a log: the write-ahead log and its index."""
    return log_of(path), path.with_name(path.name + "-shm")


def log_of(path: Path) -> Path:
    """The path of the write-ahead log."""
    return path.with_name(path.name + "-wal")


def _reason(error: sqlite3.Error) -> str:
    said = str(error)
    if "full" in said or "disk I/O" in said:
        return f": the disk is full or failing ({said}); free some space or use another disk."
    if "readonly" in said or "unable to open" in said:
        return f" ({said}); check the permissions of the file and its folder, or choose another place."
    if "locked" in said or "busy" in said:
        return ": another program is writing it; stop that program, or choose another file."
    if isinstance(error, sqlite3.DatabaseError) and ("malformed" in said or "not a database" in said):
        return f": it is damaged ({said}); save what can be read with `sqlite3 FILE .recover`."
    return f" ({said}); choose another file."
