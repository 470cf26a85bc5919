"""Mining: each recording as `replay` has it, once, and what cannot be used is said."""

import json
import os
import shutil

import pytest

from stride_ros.text.wording import counted_found

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def inline(workers):
    """Workers in this process, but in the tests of processes."""


def test_every_recording_comes_out_as_replay_has_it(drives, mine, replayed, results, tmp_path):
    code, printed = mine(drives, "--out", tmp_path / "out", "--workers", 2, "--streams-per-worker", 3)
    assert code == 0, printed
    found = results(tmp_path / "out")
    recordings = [
        *(drives / "monday").iterdir(),
        drives / "sqlite",
        drives / "alone.mcap",
        drives / "clip.mp4",
    ]
    assert set(found.documents) == {str(path) for path in recordings}
    for path in recordings:
        expected = replayed(path, tmp_path)
        assert found.documents[str(path)].encode() == expected, path
        files = [name for name in found.runs if name.startswith(f"{path.name}-")]
        assert [found.runs[name] for name in files] == [expected]
    spans = sum(
        len(query["spans"])
        for path in recordings
        for query in json.loads(replayed(path, tmp_path))["queries"]
    )
    assert spans == len(found.events) > 5
    retracted = sum(event.state == "retracted" for event in found.events)
    summary = counted_found(spans - retracted, retracted, "event")
    assert f"\n{summary}: {tmp_path / 'out' / 'index.html'}\n" in printed
    assert "\n2.8 min of video in " in printed
    page = (tmp_path / "out" / "index.html").read_text()
    assert f"{summary} in 7 recordings, 2.8 min of video. Watched for: Tell me when a " in page
    assert all(found.pictures.values())


def test_events_tell_the_times_of_replay(drives, mine, replayed, results, tmp_path):
    path = drives / "monday" / "drive_1"
    assert mine(path, "--out", tmp_path / "out")[0] == 0
    document = json.loads(replayed(path, tmp_path))
    expected = {
        (query["query"], span["id"], span["start"], span["end"], span["state"], span["confidence"])
        for query in document["queries"]
        for span in query["spans"]
    }
    seen = results(tmp_path / "out").events
    assert expected == {
        (
            event.query,
            event.span_id,
            round((event.start_ns - event.first_ns) / 1e9, 4),
            round((event.end_ns - event.first_ns) / 1e9, 4),
            event.state,
            round(event.confidence, 4),
        )
        for event in seen
    }


def test_a_second_run_does_nothing(drives, mine, results, workers, tmp_path):
    mine(drives, "--out", tmp_path / "out")
    before = results(tmp_path / "out")
    workers.given.clear()
    code, printed = mine(drives, "--out", tmp_path / "out")
    assert code == 0
    assert "0 mined, 7 done before" in printed
    assert workers.given == []
    assert results(tmp_path / "out") == before


def test_only_what_is_new_or_has_changed_is_mined(drives, mine, results, workers, tmp_path):
    monday = drives / "monday"
    mine(monday, "--out", tmp_path / "out")
    workers.given.clear()
    shutil.rmtree(monday / "drive_1")
    shutil.copytree(drives / "sqlite", monday / "drive_1")
    shutil.copytree(drives / "sqlite", monday / "drive_9")
    next((tmp_path / "out" / "runs").glob("drive_0-*.json")).unlink()
    code, printed = mine(monday, "--out", tmp_path / "out")
    assert code == 0, printed
    assert sorted(workers.given) == [str(monday / "drive_0"), str(monday / "drive_1")]
    mine(monday, "--out", tmp_path / "anew")
    assert results(tmp_path / "out") == results(tmp_path / "anew")


def test_other_settings_mine_everything_again(drives, mine, results, tmp_path):
    monday = drives / "monday"
    mine(monday, "--out", tmp_path / "out")
    settings = ("--set", "trigger.min_confidence=0.9")
    printed = mine(monday, "--out", tmp_path / "out", *settings)[1]
    assert "4 mined" in printed
    assert "4 recordings had changed, or had results of other queries or settings" in " ".join(
        printed.split()
    )
    mine(monday, "--out", tmp_path / "anew", *settings)
    assert results(tmp_path / "out") == results(tmp_path / "anew")


def test_what_is_there_twice_is_mined_once_and_found_under_both_names(
    drives, mine, replayed, results, workers, tmp_path
):
    monday = drives / "monday"
    shutil.copytree(monday / "drive_0", monday / "same")
    assert mine(monday, "--out", tmp_path / "out", "--workers", 1)[0] == 0
    assert len(workers.given) == 4
    found = results(tmp_path / "out")
    for name in ("drive_0", "same"):
        assert found.documents[str(monday / name)].encode() == replayed(monday / name, tmp_path)
    keys = {
        name: [event.span_id for event in found.events if event.origin == str(monday / name)]
        for name in ("drive_0", "same")
    }
    assert keys["drive_0"] == keys["same"] != []


def test_what_cannot_be_used_is_said_and_the_rest_goes_on(drives, mine, results, workers, tmp_path):
    from stride_ros.bags.writer import BagWriter

    monday = drives / "monday"
    (monday / "empty.mcap").write_bytes(b"")
    (monday / "noise.db3").write_bytes(b"no database" * 100)
    whole = next((monday / "drive_3").glob("*.mcap"))
    whole.write_bytes(whole.read_bytes()[:40])
    with BagWriter(monday / "speech", "mcap") as bag:
        from stride_ros.bags.messages import commentary

        bag.write("/said", commentary(1, "q", "t", stamp=1, frame_id="", model="m"), 1)
    code, printed = mine(monday, "--out", tmp_path / "out")
    assert code == 0
    assert "3 mined, 4 could not be used" in printed
    page = (tmp_path / "out" / "index.html").read_text()
    for name in ("empty.mcap", "noise.db3", "drive_3", "speech"):
        sentence = next(line for line in printed.splitlines() if line.startswith("Note:") and name in line)
        assert sentence.endswith(".")
        assert name in page
    assert len(results(tmp_path / "out").documents) == 3
    workers.given.clear()
    assert mine(monday, "--out", tmp_path / "out", "--strict")[0] == 1
    assert workers.given == []
    assert mine(monday, "--out", tmp_path / "out", "--retry")[0] == 0
    assert len(workers.given) == 4


def test_a_recording_that_was_mended_is_mined(drives, mine, results, tmp_path):
    monday = drives / "monday"
    whole = next((monday / "drive_3").glob("*.mcap"))
    content = whole.read_bytes()
    whole.write_bytes(content[:40])
    mine(monday, "--out", tmp_path / "out")
    whole.write_bytes(content)
    assert "1 mined, 3 done before" in mine(monday, "--out", tmp_path / "out")[1]
    mine(monday, "--out", tmp_path / "anew")
    assert results(tmp_path / "out") == results(tmp_path / "anew")


def test_a_recording_that_broke_is_no_longer_found(drives, mine, results, tmp_path):
    monday = drives / "monday"
    mine(monday, "--out", tmp_path / "out")
    next((monday / "drive_3").glob("*.mcap")).write_bytes(b"")
    assert "1 could not be used" in mine(monday, "--out", tmp_path / "out")[1]
    found = results(tmp_path / "out")
    assert str(monday / "drive_3") not in {*found.documents, *(event.origin for event in found.events)}


def test_a_responder_says_what_happens_as_in_replay(drives, mine, results, checkpoint, tmp_path, capfd):
    from stride_ros.cli import main

    path = drives / "monday" / "drive_0"
    responder = ("--responder", str(checkpoint), "--set", "responder.max_new_tokens=4")
    assert mine(drives / "monday", "--out", tmp_path / "out", *responder)[0] == 0
    from .conftest import ASKED

    assert main(["replay", str(path), *ASKED, *responder, "--json", str(tmp_path / "run.json")]) == 0
    found = results(tmp_path / "out")
    assert found.documents[str(path)] == (tmp_path / "run.json").read_text()
    spans = [span for query in json.loads(found.documents[str(path)])["queries"] for span in query["spans"]]
    said = {(span["id"], *(span["commentary"][key] for key in ("text", "status", "error"))) for span in spans}
    events = [event for event in found.events if event.origin == str(path)]
    assert said == {(event.span_id, event.sentence, event.status, event.error) for event in events} != set()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("nowhere",), "There is no recording"),
        (("empty",), "contains no recordings"),
        (("drives/*.none",), "Nothing matches"),
        (("nothing.txt",), "lists no recordings"),
        (("drives", "--out", "drives/monday/out"), "inside drives"),
        (("drives", "--out", "drives"), "inside drives"),
        (("drives", "--workers", "0"), "of at least 1"),
        (("drives", "--rate", "0"), "--rate must be above 0"),
        (("drives", "--model", "nowhere"), "There is no checkpoint directory"),
        (("drives", "--query", "\t"), "query"),
        (("drives", "--ray", "auto"), "contradict"),
    ],
)
def test_bad_input_is_one_sentence(words, reason, drives, mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.txt").write_text("# none\n")
    out = () if "--out" in words else ("--out", "out")
    code, printed = mine(*words, *out, queries=() if "--query" in words else ("--query", "Tell me."))
    assert code == 2
    assert reason in printed
    assert len([line for line in printed.splitlines() if not line.startswith(("usage", " "))]) == 1


def test_a_folder_of_another_program_is_left_alone(drives, mine, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name, reason in (("events.db", "events.db"), ("mining.jsonl", "was not written by this version")):
        (out / name).write_text("mine\n" * 2000)
        code, printed = mine(drives, "--out", out)
        assert code == 2
        assert reason in printed
        assert (out / name).read_text() == "mine\n" * 2000
        (out / name).unlink()


def test_one_at_a_time_writes_a_folder(drives, mine, tmp_path):
    from stride_ros.mining.output import Output

    with Output(tmp_path / "out"):
        code, printed = mine(drives, "--out", tmp_path / "out")
    assert code == 2
    assert "events.db" in printed


def test_a_rate_that_does_not_fit_the_slots_is_reported_once(drives, mine, tmp_path):
    code, printed = mine(
        drives / "monday", "--out", tmp_path / "out", "--rate", 0.5, "--model", "stride-tiny"
    )
    assert code == 0, printed
    assert " ".join(printed.split()).count("only 50% of them have one; use --rate 1") == 1


@pytest.mark.parametrize("name", ["index.html", "runs/precious-0123456789abcdef.json"])
def test_a_folder_of_something_else_is_refused_before_anything_is_written(name, drives, mine, tmp_path):
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    code, printed = mine(drives, "--out", tmp_path / "out")
    assert code == 2
    assert "choose a new folder with --out" in printed
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [file]
    assert file.read_text() == "mine"


def test_a_pipe_is_an_error_and_a_damaged_run_file_is_written_again(drives, mine, results, tmp_path):
    os.mkfifo(drives / "monday" / "pipe.mcap")
    out = tmp_path / "out"
    assert "pipe.mcap is not a regular file" in mine(drives / "monday", "--out", out)[1]
    before = results(out)
    next((out / "runs").glob("drive_0-*.json")).write_text("garbage")
    assert "1 mined, 3 done before" in mine(drives / "monday", "--out", out)[1]
    assert results(out) == before


def test_copies_have_a_run_file_each_whatever_their_names(drives, mine, workers, tmp_path):
    folder = tmp_path / "copies"
    for name in ("a b", "s1/a_b", "s1/a%b", os.fsdecode(b"s1/a\xe4b")):
        shutil.copytree(drives / "monday" / "drive_0", folder / name)
    code, printed = mine(folder, "--out", tmp_path / "out")
    assert code == 0, printed
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 4
    workers.given.clear()
    assert "0 mined, 4 done before" in mine(folder, "--out", tmp_path / "out")[1]


def test_a_missing_model_or_query_is_told_before_the_folder_is_created(drives, mine, tmp_path):
    assert "--query" in mine(drives, "--out", tmp_path / "out", queries=())[1]
    assert "checkpoint" in mine(drives, "--out", tmp_path / "out", "--model", "nope")[1]
    assert not (tmp_path / "out").exists()


def test_what_is_missing_from_a_recording_is_told(drives, mine, tmp_path):
    metadata = drives / "monday" / "drive_0" / "metadata.yaml"
    metadata.write_text("a: 1\n")
    for _ in range(2):
        printed = " ".join(mine(drives / "monday", "--out", tmp_path / "out")[1].split())
        assert "drive_0: metadata.yaml is not the metadata of a recording" in printed
