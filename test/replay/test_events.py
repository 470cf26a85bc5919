"""`stride-ros replay --events` keeps what is found, once, as the run has it, and `find` finds it."""

import json
import re
import subprocess
import sys

import pytest

from stride_ros.cli import main
from stride_ros.events.log import EventLog
from stride_ros.events.search import EventReader, Search

pytestmark = pytest.mark.slow

QUERIES = ("Tell me when a red box is on the table.", "Tell me when a blue box is on the table.")
ALL = Search(limit=None, retracted=True)


@pytest.fixture(scope="module")
def log(world_bag, checkpoint, tmp_path_factory):
    """The log and the JSON of a replay of two queries."""
    folder = tmp_path_factory.mktemp("events")
    run(world_bag, checkpoint, folder, "--responder", str(checkpoint))
    return folder


def run(bag, checkpoint, folder, *more, code=0):
    queries = [word for query in QUERIES for word in ("--query", query)]
    files = ("--events", str(folder / "events.db"), "--json", str(folder / "run.json"))
    assert main(["replay", str(bag), "--model", str(checkpoint), *queries, *files, *more]) == code


def kept(folder):
    with EventReader(folder / "events.db") as reader:
        return reader.find(ALL).events


def test_the_log_has_the_spans_of_the_run_with_sentences_and_pictures(log, world_bag):
    spans = {
        (query["query"], span["id"]): span
        for query in json.loads((log / "run.json").read_text())["queries"]
        for span in query["spans"]
    }
    events = {(event.query, event.span_id): event for event in kept(log)}
    assert events.keys() == spans.keys()
    assert len({query for query, _ in events}) == 2
    for key, span in spans.items():
        event = events[key]
        assert event.origin == str(world_bag)
        assert (event.state, event.status) == (span["state"], span["commentary"]["status"])
        assert round(event.confidence, 4) == span["confidence"]
        assert event.sentence == span["commentary"]["text"]
        assert event.has_picture
        assert round((event.start_ns - event.first_ns) / 1e9, 4) == span["start"]
        assert round((event.known_end_ns - event.first_ns) / 1e9, 4) == span["end"]


def test_find_answers_with_the_recording_and_its_time(log, world_bag, capsys):
    assert main(["find", "red", "--events", str(log / "events.db"), "--retracted"]) == 0
    assert re.search(
        rf"{re.escape(str(world_bag))} at \d+:\d\d\.\d - \d+:\d\d\.\d; .*with a picture", out(capsys)
    )


def out(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_the_run_is_exported_as_it_was_written(log, tmp_path):
    assert main(["find", "--events", str(log / "events.db"), "--runs", str(tmp_path), "--retracted"]) == 0
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == (log / "run.json").read_bytes()


def test_a_second_replay_takes_the_place_of_the_first(world_bag, checkpoint, tmp_path):
    run(world_bag, checkpoint, tmp_path)
    before = kept(tmp_path)
    assert before
    run(world_bag, checkpoint, tmp_path)
    assert kept(tmp_path) == before
    file = str(tmp_path / "events.db")
    model = ("--model", str(checkpoint))
    assert main(["replay", str(world_bag), *model, "--query", "Anything else.", "--events", file]) == 0
    assert {event.query for event in kept(tmp_path)} <= {"Anything else."}


def test_a_log_that_cannot_be_written_is_told_before_anything_is_replayed(world_bag, tmp_path, capsys):
    (tmp_path / "events.db").write_text("precious " * 100)
    run(world_bag, tmp_path / "no_model", tmp_path, code=2)
    assert "is a file of another program" in capsys.readouterr().err
    assert (tmp_path / "events.db").read_text() == "precious " * 100


def test_a_replay_that_fails_leaves_the_log_as_it_was(world_bag, checkpoint, tmp_path):
    run(world_bag, checkpoint, tmp_path)
    before = kept(tmp_path)
    run(world_bag, tmp_path / "no_model", tmp_path, code=2)
    assert kept(tmp_path) == before


def test_a_log_that_another_program_writes_is_told(world_bag, checkpoint, tmp_path):
    with EventLog(tmp_path / "events.db"):
        command = [sys.executable, "-m", "stride_ros", "replay", str(world_bag), "--query", "x"]
        done = subprocess.run(
            [*command, "--events", str(tmp_path / "events.db")], capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert "is being written by another program (process" in done.stderr
