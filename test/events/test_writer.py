"""What is handed to the writer gets into the log, also when the disk refuses it for a while."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stride_ros.events.database import EventLogError
from stride_ros.events.log import EventLog
from stride_ros.events.record import OPEN, Pose
from stride_ros.events.search import EventReader, Search
from stride_ros.events.writer import EventWriter, Said

from .conftest import make


def kept(path):
    with EventReader(path) as reader:
        return {event.span_id: event for event in reader.find(Search(limit=None)).events}


@pytest.fixture
def writer(log):
    told = []
    writer = EventWriter(log, told.append)
    writer.told = told
    writer.start()
    yield writer
    assert writer.stop(60.0)


def test_everything_that_came_is_written_before_it_stops(log, path):
    writer = EventWriter(log)
    writer.start()
    for number in range(1000):
        writer.put(make(number, state=OPEN, end_ns=None))
        writer.put(make(number))
        writer.put(make(number, state=OPEN, end_ns=None))  # heard again, out of order
    writer.say(make(3).key, Said("words", speaker="tiny"))
    writer.place(make(4).key, Pose("map", (1.0, 2.0, 3.0), (0.0, 0.0, 0.0, 1.0)))
    writer.picture(make(5).key, b"jpeg")
    assert writer.stop(60.0)
    events = kept(path)
    assert len(events) == 1000
    assert {event.state for event in events.values()} == {"offset"}
    assert (events[3].sentence, events[3].speaker) == ("words", "tiny")
    assert events[4].pose.position == (1.0, 2.0, 3.0)
    assert events[5].has_picture
    assert writer.figures.problem == ""


def test_words_that_come_before_their_event_wait_for_it(writer, log, path):
    writer.say(make(1).key, Said("early"))
    writer.put(make(2))
    wait(lambda: 2 in kept(path))
    writer.put(make(1))
    wait(lambda: 1 in kept(path))
    assert kept(path)[1].sentence == "early"


def wait(condition):
    """Wait for another thread's commit; there is no event to await."""
    pause = threading.Event()
    for _ in range(1200):
        if condition():
            return
        pause.wait(0.05)
    pytest.fail("waited for 60 s")


def test_an_event_that_cannot_be_written_costs_only_itself(writer, path):
    writer.put(make(1))
    writer.put(make(2, confidence=float("nan")))  # SQLite takes it for NULL
    writer.put(make(3, start_ns=1 << 70))
    writer.put(make(4))
    wait(lambda: path.exists() and 4 in kept(path))
    assert set(kept(path)) == {1, 4}
    assert writer.figures.lost == 2
    assert len(writer.told) == 2


_FULL = """
import resource, sys, threading
sys.path[:0] = [{tests!r}]
from conftest import make
from stride_ros.events.log import EventLog
from stride_ros.events.writer import EventWriter
log = EventLog({path!r})
told, full = [], threading.Event()
def report(problem):
    told.append(problem)
    full.set()
writer = EventWriter(log, report)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
writer.start()
for number in range(2000):
    writer.put(make(number, "sentence " * 100))
assert full.wait(60)
assert writer.figures.problem
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert writer.stop(60)
assert not writer.figures.problem, writer.figures
log.close()
print(told)
"""


def test_what_a_full_disk_refused_is_written_when_there_is_room(path):
    code = _FULL.format(tests=str(Path(__file__).parent), path=str(path))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "the disk is full or failing" in result.stdout
    assert result.stdout.count("cannot be written") == 1  # told once
    assert sorted(kept(path)) == list(range(2000))


def delete(path):
    path.unlink()


def delete_with_its_files(path):
    for file in path.parent.glob("events.db*"):
        file.unlink()


def move(path):
    path.rename(path.with_name("moved.db"))


def replace(path):
    path.rename(path.with_name("moved.db"))
    with EventLog(path.with_name("other.db")) as other:
        other.put(make(7))
    path.with_name("other.db").rename(path)


@pytest.mark.parametrize("take", [delete, delete_with_its_files, move, replace])
def test_what_is_found_after_the_file_was_taken_away_is_in_the_file_of_that_name(writer, log, path, take):
    log.put(make(0))
    log.commit()
    path.chmod(0o600)
    log.reopen()
    with EventReader(path) as reader:  # its files next to the log are the same
        writer.put(make(1))
        wait(lambda: 1 in kept(path))
        take(path)
        wait(lambda: path.exists() and writer.told)  # also while nothing is found
        writer.put(make(2))
        wait(lambda: 2 in kept(path))
        assert set(kept(path)) == {7, 2} if take is replace else {2}
        assert {event.span_id for event in reader.find(Search()).events} == set(kept(path))
    if take is not replace:
        assert path.stat().st_mode & 0o777 == 0o600
    if take in (move, replace):
        assert set(kept(path.with_name("moved.db"))) == {0, 1}
    (told,) = writer.told
    assert "was deleted, moved or replaced while it was being written; events are now written to" in told
    assert (writer.figures.lost, writer.figures.problem) == (0, "")


@pytest.mark.parametrize("ends", [("-wal",), ("-shm",), ("-writer",), ("-wal", "-shm", "-writer")])
def test_nothing_is_lost_if_a_file_next_to_the_log_is_deleted(writer, log, path, ends):
    with EventReader(path) as reader:  # as in the node, whose reader has the files open too
        writer.put(make(1))
        wait(lambda: reader.find(Search()).total == 1)
        for end in ends:
            path.with_name(path.name + end).unlink()
        wait(lambda: writer.told)
        with another_process(path) as seen_elsewhere:  # which has only what is under these names
            assert seen_elsewhere() == 1
            for number in (2, 3):
                writer.put(make(number))
                wait(lambda: reader.find(Search()).total == number)  # noqa: B023
                assert seen_elsewhere() == number
    with pytest.raises(EventLogError, match="is being written by another program"):
        EventLog(path)
    (told,) = writer.told
    assert "or a file that belongs to it, was deleted, moved or replaced" in told


_READER = """
import sys
from stride_ros.events.search import EventReader, Search
with EventReader(sys.argv[1]) as reader:
    for _ in sys.stdin:
        print(reader.find(Search()).total, flush=True)
"""


@contextlib.contextmanager
def another_process(path):
    """A function that returns how many events a reader in a process of its own finds."""
    command = [sys.executable, "-c", _READER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask():
            process.stdin.write("\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield ask
        process.stdin.close()


def test_events_wait_while_the_folder_is_elsewhere(writer, path):
    writer.put(make(1))
    wait(lambda: path.exists() and 1 in kept(path))
    path.parent.rename(path.parent.with_name("elsewhere"))
    writer.put(make(2))
    wait(lambda: writer.figures.problem)
    assert "does not exist; create it first" in writer.figures.problem
    path.parent.with_name("elsewhere").rename(path.parent)
    wait(lambda: 2 in kept(path))
    assert set(kept(path)) == {1, 2}


def test_a_command_whose_log_was_taken_away_says_so(path):
    with EventLog(path) as log:
        log.put(make(1))
        path.unlink()
        with pytest.raises(EventLogError, match="was deleted, moved or replaced while"):
            log.commit()
    assert not path.exists()


def test_a_log_that_was_begun_in_the_place_of_another_is_left_whole(path):
    first = EventLog(path)
    first.put(make(1))
    delete_with_its_files(path)
    with EventLog(path) as second:
        second.put(make(2))
        second.commit()
        with pytest.raises(EventLogError, match="was deleted, moved or replaced"):
            first.close()
        second.put(make(3))
    assert set(kept(path)) == {2, 3}


def test_a_writer_that_never_wrote_stops_at_once(path):
    with EventLog(path) as log:
        assert EventWriter(log).stop(0.0)
