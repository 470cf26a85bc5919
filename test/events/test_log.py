"""The log keeps what is written, once for each event, whatever ends its writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stride_ros.errors import ConfigError
from stride_ros.events.database import EventLogError
from stride_ros.events.log import EventLog
from stride_ros.events.record import OFFSET, OPEN, RETRACTED, Pose
from stride_ros.events.search import EventReader, Search

from .conftest import BASE, SECOND, make

ALL = Search(limit=None, retracted=True)


def events(path: Path, search: Search = ALL):
    with EventReader(path) as reader:
        return reader.find(search).events


def test_an_event_is_read_as_it_was_written(path):
    event = make(
        7,
        "A person opens the door.",
        pose=Pose("map", (1.0, 2.0, 3.0), (0.0, 0.0, 0.6, 0.8), BASE),
        onset_ns=BASE + 1,
        latest_ns=BASE + 2,
        stamp_ns=BASE + 3,
        first_ns=BASE,
        frame_id="camera",
        model="stride-tiny",
        respond=False,
        status="ok",
        speaker="qwen",
        shown_ns=(BASE, BASE + 1),
    )
    bare = make(8, camera="", end_ns=None, state=OPEN, confidence=0.123456789)
    with EventLog(path) as log:
        log.put(event)
        log.put(bare)
    assert events(path) == (bare, event)


def test_an_event_that_is_put_again_replaces_itself_and_keeps_what_only_the_former_tells(log, path):
    pose = Pose("map", (1.0, 2.0, 3.0), (0.0, 0.0, 0.0, 1.0))
    log.put(make(1, state=OPEN, end_ns=None, pose=pose, onset_ns=BASE))
    log.say("robot/front/door/1", "It opens.", speaker="qwen")
    log.picture("robot/front/door/1", b"jpeg")
    log.put(make(1, start_ns=BASE - SECOND, confidence=0.5))
    log.commit()
    (event,) = events(path)
    assert (event.start_ns, event.confidence, event.state) == (BASE - SECOND, 0.5, OFFSET)
    assert (event.sentence, event.speaker, event.pose, event.onset_ns) == ("It opens.", "qwen", pose, BASE)
    with EventReader(path) as reader:
        assert reader.picture(event.key) == b"jpeg"
        assert reader.find(Search("opens")).total == 1


def test_an_event_that_is_over_does_not_begin_again(log, path):
    for state in (OFFSET, RETRACTED):
        log.remove("robot")
        log.put(make(1, state=state))
        log.put(make(1, state=OPEN, end_ns=None))
        log.commit()
        assert [event.state for event in events(path)] == [state]


def test_what_is_said_of_an_event_that_is_not_there_is_left_alone(log, path):
    log.say("nobody", "Hello.")
    log.picture("nobody", b"jpeg")
    log.commit()
    assert events(path) == ()


def test_the_events_of_a_recording_are_replaced_together_or_not_at_all(path):
    with EventLog(path) as log:
        log.put(make(1, origin="a"))
        log.put(make(1, origin="b"))
        log.run("a", "{}")
        log.commit()
        log.remove("a")
        with EventReader(path) as reader:  # not yet
            assert reader.find(Search(origins=["a"])).total == 1
        log.put(make(2, origin="a"))
        log.commit()
    assert {(event.origin, event.span_id) for event in events(path)} == {("a", 2), ("b", 1)}
    with EventReader(path) as reader:
        assert reader.run("a") is None

    def fail() -> None:
        with EventLog(path) as log:
            log.remove("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(events(path)) == 2


def test_the_document_of_a_run_comes_back_byte_for_byte(log, path):
    log.run("a", '{"queries": ["ä 人"]}\n')
    log.commit()
    with EventReader(path) as reader:
        assert reader.run("a") == '{"queries": ["ä 人"]}\n'
        assert reader.run("b") is None
        assert reader.origins() == ("a",)


def test_events_that_begin_at_one_time_are_all_kept(log, path):
    for number in range(50):
        log.put(make(number, start_ns=BASE))
    for number in range(50, 60):
        log.put(make(number, start_ns=0))
        log.put(replace(make(number, start_ns=-5), key=f"before {number}"))
    log.commit()
    assert len(events(path)) == 70


def test_texts_that_are_no_texts_are_kept_readable(log, path):
    log.put(make(1, "a \ud800 b \0 c", query="\ud83d\ude00 opens"))
    log.commit()
    (event,) = events(path)
    assert (event.sentence, event.query) == ("a \ufffd b \ufffd c", "\U0001f600 opens")
    log.put(make(1, "gone"))  # the index lets go of what it had
    log.commit()
    assert events(path, Search("b c")) == ()


def test_events_that_nobody_saw_end_are_known(log):
    log.put(make(1, state=OPEN, end_ns=None))
    log.put(make(2, state=OPEN, end_ns=None, origin="other"))
    log.put(make(3))
    log.put(make(4, state=OPEN))
    assert [event.span_id for event in log.open_events("robot")] == [1]


def test_one_program_at_a_time_writes_a_log(path):
    with EventLog(path), pytest.raises(EventLogError, match=rf"another program \(process {os.getpid()}\)"):
        EventLog(path)
    EventLog(path).close()


_WRITER = """
import sys
sys.path[:0] = [{tests!r}]
from conftest import make
from stride_ros.events.log import EventLog
log = EventLog({path!r})
for number in range(10**6):
    log.put(make(number, f"sentence {{number}}"))
    if number % 20 == 19:
        log.commit()
        print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("commits", [1, 3, 17])
def test_what_was_committed_outlives_a_kill(path, commits):
    code = _WRITER.format(tests=str(Path(__file__).parent), path=str(path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        for _ in range(commits):
            last = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait()
    numbers = sorted(event.span_id for event in events(path))
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > last
    with EventLog(path) as log:  # the dead writer's lock is gone
        log.put(make(10**7))
    assert events(path, Search(limit=1))[0].span_id == 10**7


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"keep_days": 0}, "keep_days cannot be 0"),
        ({"keep_days": float("nan")}, "keep_days cannot be nan"),
        ({"keep_bytes": 1000}, "keep_bytes cannot be 1000"),
        ({"synchronous": "OFF"}, "synchronous cannot be 'OFF'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(path, given, sentence):
    with pytest.raises(ConfigError, match=sentence):
        EventLog(path, **given)
    assert not path.exists()
