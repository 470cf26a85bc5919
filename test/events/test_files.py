"""What is no log, or cannot be read or written, is one sentence, and nothing of it changes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from stride_ros.events import database
from stride_ros.events.database import EventLogError
from stride_ros.events.log import EventLog
from stride_ros.events.search import EventReader, Search

from .conftest import make, nobody


def foreign(path: Path) -> str:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE precious (x)")
        other.commit()
    return "is a file of another program"


def text(path: Path) -> str:
    path.write_text("precious " * 100)
    return "is a file of another program"


def short_text(path: Path) -> str:
    path.write_text("x")
    return "is a file of another program"


def folder(path: Path) -> str:
    path.mkdir()
    return "is a folder; give the file"


def folder_of_a_log(path: Path) -> str:
    path.mkdir()
    (path / "events.db").touch()
    return rf"is a folder; give the file of an event log, such as {path}/events\.db\.$"


def pipe(path: Path) -> str:
    os.mkfifo(path)
    return "is not a regular file"


def newer(path: Path) -> str:
    EventLog(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {database.VERSION + 1}")
    return (
        rf"newer version of stride_ros \(tables {database.VERSION + 1}, this one knows {database.VERSION}\)"
    )


@pytest.mark.parametrize("use", [EventLog, EventReader])
@pytest.mark.parametrize("kind", [foreign, text, short_text, folder, folder_of_a_log, pipe, newer])
def test_what_is_no_log_is_refused_and_stays_as_it_was(path, kind, use):
    sentence = kind(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(EventLogError, match=sentence):
        use(path)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert set(os.listdir(path.parent)) <= {"events.db", "events.db-writer"}  # the latter of what made it


def test_a_missing_file_is_not_made_by_reading(path):
    with pytest.raises(EventLogError, match="does not exist; write one with the event_log node"):
        EventReader(path)
    assert os.listdir(path.parent) == []


def test_an_empty_file_has_nothing_to_read_and_may_become_a_log(path):
    path.touch()
    with pytest.raises(EventLogError, match="is empty"):
        EventReader(path)
    EventLog(path).close()
    with EventReader(path) as reader:
        assert reader.find(Search()).total == 0


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(EventLogError, match=r"the folder .*/missing does not exist"):
        EventLog(tmp_path / "missing" / "events.db")


def test_a_damaged_log_is_one_sentence(path):
    with EventLog(path) as log:
        for number in range(300):
            log.put(make(number, f"sentence {number} " * 20))
    data = bytearray(path.read_bytes())
    for place in range(4096, len(data), 4096):
        data[place : place + 64] = b"\xff" * 64
    path.write_bytes(data)
    with pytest.raises(EventLogError, match="is damaged"), EventReader(path) as reader:
        reader.find(Search("sentence"))
    for _ in range(2):  # the first leaves no lock behind
        with pytest.raises(EventLogError, match="is damaged"):
            EventLog(path, keep_days=1.0)


def test_a_log_is_read_in_a_place_that_cannot_be_written_and_leaves_nothing_there():
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "events.db"
        with EventLog(path) as log:
            log.put(make(1, "A person."))
        path.chmod(0o444)
        path.parent.chmod(0o555)
        before = sorted(os.listdir(place))
        try:
            with nobody(), EventReader(path) as reader:
                assert reader.find(Search("person")).total == 1
            assert sorted(os.listdir(place)) == before
            with nobody(), pytest.raises(EventLogError, match="cannot be written"):
                EventLog(path)
            with nobody(), pytest.raises(EventLogError, match="cannot be written"):
                EventLog(path.parent / "other.db")
        finally:
            path.parent.chmod(0o755)


def test_reading_leaves_nothing_beside_a_log_at_rest(path):
    with EventLog(path) as log:
        log.put(make(1))
    before = sorted(os.listdir(path.parent))
    with EventReader(path) as reader:
        reader.find(Search())
    assert sorted(os.listdir(path.parent)) == before


def test_a_reader_sees_what_a_writer_adds_that_comes_after_it(path):
    EventLog(path).close()
    with EventReader(path) as reader:
        assert reader.find(Search()).total == 0
        with EventLog(path) as log:
            for number in range(3):
                log.put(make(number))
                log.commit()
                assert reader.find(Search()).total == number + 1
        assert reader.find(Search()).total == 3


_FULL = """
import resource, sys
sys.path[:0] = [{tests!r}]
from conftest import make
from stride_ros.events.database import EventLogError
from stride_ros.events.log import EventLog
log = EventLog({path!r})
log.put(make(0, "precious"))
log.commit()
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
try:
    for number in range(1, 10**5):
        log.put(make(number, "sentence " * 100))
        log.commit()
except EventLogError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.put(make(10**6, "room again"))
log.close()
"""


def test_a_full_disk_is_one_sentence_and_loses_nothing_that_was_kept(path):
    code = _FULL.format(tests=str(Path(__file__).parent), path=str(path))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "the disk is full or failing" in result.stdout
    assert result.stdout.count("\n") == 1
    with EventReader(path) as reader:
        numbers = sorted(event.span_id for event in reader.find(Search(limit=None)).events)
    assert numbers == [*range(len(numbers) - 1), 10**6]


def test_a_network_file_system_is_refused(path, monkeypatch, tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {tmp_path} nfs4 rw 0 0\n/dev/sda / ext4 rw 0 0\n")
    monkeypatch.setattr(database, "MOUNTS", mounts)
    with pytest.raises(EventLogError, match=r"network file system \(nfs4\)"):
        EventLog(path)
    assert not path.exists()


WRITER = """
import os, sys
sys.path.insert(0, {tests!r})
from events.conftest import make
from stride_ros.events.log import EventLog
from stride_ros.events.search import EventReader, Search

log = EventLog({path!r})
for first in (0, 10):
    for number in range(first, first + 10):
        log.put(make(number))
    log.commit()
    with EventReader({path!r}) as reader:
        print(reader.find(Search()).total, flush=True)
    sys.stdin.readline()
"""


def test_another_program_that_looks_at_a_log_takes_nothing_from_a_writer_that_dies(path):
    """The writer also reads its log, as the event_log node and mine do."""
    tests = str(Path(__file__).parents[1])
    program = WRITER.format(tests=tests, path=str(path))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "10\n"
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT count(*) FROM found").fetchone() == (10,)
        writer.stdin.write("\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "20\n"
        writer.kill()
    with EventReader(path) as reader:
        assert reader.find(Search()).total == 20


def test_a_link_to_a_log_that_is_being_written_is_the_same_log(path, tmp_path):
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with EventLog(path) as log:
        log.put(make(1))
        log.commit()
        with pytest.raises(EventLogError, match="is being written by another program"):
            EventLog(link)
        with EventReader(link) as reader:
            assert reader.find(Search()).total == 1


def test_a_log_with_another_name_is_not_written(path, tmp_path):
    EventLog(path).close()
    os.link(path, tmp_path / "other.db")
    with pytest.raises(EventLogError, match="has another name too"):
        EventLog(path)
    os.unlink(tmp_path / "other.db")
    EventLog(path).close()


def test_names_that_are_not_utf_8_are_kept_apart(path):
    names = [os.fsdecode(b"drive-\xff"), os.fsdecode(b"drive-\xfe")]
    with EventLog(path) as log:
        for number, name in enumerate(names):
            event = make(number, origin=name)
            log.remove(name)
            log.run(name, "{}")
            log.put(event)
            log.picture(event.key, b"jpeg")
    with EventReader(path) as reader:
        assert reader.origins() == (r"drive-\xfe", r"drive-\xff")
        for number, name in enumerate(names):
            (event,) = reader.find(Search(origins=[name])).events
            assert event.span_id == number
            assert reader.picture(event.key) == b"jpeg"
            assert reader.run(name) == "{}"
