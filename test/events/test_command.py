"""`stride-ros find` names what was found with its evidence, and says in one sentence what cannot be done."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar

import pytest

from stride_ros.cli import build_parser, main
from stride_ros.events.log import EventLog
from stride_ros.events.mcap_export import write_mcap
from stride_ros.events.record import OPEN, RETRACTED, Pose
from stride_ros.events.stretch import replay_commands
from stride_ros.events.times import given_time, iso_time, local_time
from stride_ros.imaging.picture_file import encode_jpeg

from .conftest import BASE, SECOND, make

DAY = 86_400 * SECOND


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def file(path):
    import numpy as np

    with EventLog(path) as log:
        log.put(make(0, "A person opens the door.", origin="bags/a", first_ns=BASE - 10 * SECOND))
        log.put(make(1, "A cat comes in.", origin="bags/b", camera="left", confidence=0.5, watch="cat"))
        log.put(
            make(
                2,
                origin="robot",
                state=OPEN,
                end_ns=None,
                pose=Pose("map", (1.0, 2.0, 3.0), (0.0, 0.0, 0.0, 1.0)),
            )
        )
        log.put(make(3, "A person was no person.", origin="robot", state=RETRACTED))
        log.put(
            make(4, "A person much later.", origin="bags/b", start_ns=BASE + 2 * DAY, end_ns=BASE + 2 * DAY)
        )
        log.picture(make(0, origin="bags/a").key, encode_jpeg(np.zeros((8, 8, 3), np.uint8)))
        log.run("bags/a", '{"settings": {}, "source": {}}\n')
        log.run("other/a", '{"a": 2}\n')
        log.put(make(9, "An other person.", origin="other/a", start_ns=BASE - DAY))
    return path


@pytest.fixture
def find(file, capsys):
    def run(*arguments, code=0):
        assert main(["find", *arguments, "--events", str(file)]) == code
        out, err = capsys.readouterr()
        return err if code else out

    return run


def numbers(find, *arguments):
    return [event["span_id"] for event in json.loads(find(*arguments, "--json"))["events"]]


def test_an_answer_names_recording_time_and_picture(find):
    assert find('"opens the door" person', "--recording", "bags/a") == (
        "2026-09-21 14:13:20 UTC  0.75  A person opens the door.\n"
        "                         bags/a at 0:10.0 - 0:11.0; camera front; Tell me when the door opens.; "
        "with a picture\n"
        "1 event.\n"
    )
    assert "(open)  Tell me when the door opens." in find("--recording", "robot")


def test_nothing_found_is_no_failure(find):
    assert find("nobody") == "No events.\n"
    assert json.loads(find("nobody", "--json")) == {"schema": "stride_ros/events/1", "total": 0, "events": []}


def test_options_choose(find):
    assert numbers(find, "person") == [4, 0, 9]
    assert numbers(find, "person", "--retracted") == [4, 3, 0, 9]
    assert numbers(find, "--camera", "left") == [1]
    assert numbers(find, "--watch", "cat", "--watch", "door", "--recording", "bags/b") == [4, 1]
    assert numbers(find, "--min-confidence", "0.6", "--recording", "bags/b") == [4]
    assert numbers(find, "--limit", "2") == [4, 2]
    assert numbers(find, "--limit", "0") == [4, 2, 1, 0, 9]
    assert numbers(find, "--since", "2026-09-21") == [4, 2, 1, 0]
    assert numbers(find, "--since", "2026-09-21T14:13:21Z", "--until", "2026-09-21") == [2, 1]
    assert numbers(find, "--until", "2026-09-21T16:13:20+02:00") == [0, 9]
    assert numbers(find, "--since", "0.5s") == []
    assert numbers(find, "--since", "99999999999999d", "--until", "9999-12-30") == [4, 2, 1, 0, 9]
    assert "2 of 5 events, the newest; use --limit 0 to show all." in find("--limit", "2")


def test_json_has_times_in_three_forms(find):
    event = json.loads(find("--recording", "bags/a", "--json"))["events"][0]
    assert event["start"] == "2026-09-21T14:13:20.000000Z"
    assert event["start_ns"] == BASE
    assert (event["start_seconds"], event["end_seconds"]) == (10.0, 11.0)
    assert event["picture"] is True
    (still,) = json.loads(find("--recording", "robot", "--json"))["events"]
    assert (still["end"], still["end_ns"], still["state"]) == (None, None, "open")
    assert still["pose"]["position"] == [1.0, 2.0, 3.0]


def test_a_table_has_a_row_for_each_event(find, tmp_path):
    assert f"Wrote {tmp_path}/out.csv." in find("--csv", str(tmp_path / "out.csv"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row["span_id"] for row in rows] == ["4", "2", "1", "0", "9"]
    assert rows[3]["sentence"] == "A person opens the door."
    assert (rows[1]["end_ns"], rows[1]["pose_y"], rows[0]["pose_y"]) == ("", "2.0", "")


def test_a_report_shows_the_events_and_the_commands_that_replay_them(find, tmp_path):
    assert f"Report: {tmp_path}/report/index.html" in find("--report", str(tmp_path / "report"))
    page = (tmp_path / "report" / "index.html").read_text()
    assert "A person opens the door." in page
    assert "no person" not in page
    assert len(list((tmp_path / "report" / "pictures").iterdir())) == 1


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ({}, None),
        ({"first_ns": BASE}, "stride-ros replay my.bag --query 'Tell me when the door opens.' --duration 18"),
        (
            {"first_ns": BASE - 100 * SECOND, "origin": "a b"},
            "stride-ros replay 'a b' --query 'Tell me when the door opens.' --start 76 --duration 42",
        ),
    ],
)
def test_the_command_for_a_stretch_begins_before_the_event(given, command):
    assert replay_commands(lambda origin: None)(make(6, **{"origin": "my.bag", **given})) == command


def test_the_command_for_a_stretch_has_the_settings_of_its_run():
    document = '{"settings": {"model": "my model", "rate": 2.0}, "source": {"image topic": "/front"}}'
    assert replay_commands(lambda origin: document)(make(0, first_ns=BASE, origin="a", query="Look.")) == (
        "stride-ros replay a --query Look. --model 'my model' --image-topic /front --rate 2.0 --duration 12"
    )


def test_the_command_for_a_stretch_decides_as_its_run_did():
    from dataclasses import asdict

    from stride_ros.activation.config import ActivationConfig, TriggerConfig
    from stride_ros.parameters.tuning import read_tuning
    from stride_ros.replay.api import _changed

    config = ActivationConfig(
        unmasking_steps=2,
        confidence_threshold=None,
        span_mode="runs",
        max_frames=64,
        multi_event=False,
        trigger=TriggerConfig(min_active_seconds=0.5, min_confidence=0.25),
    )
    settings = {
        "model": "my model",
        "responder": "none",
        "rate": 1.0,
        **_changed(config, ActivationConfig()),
        "responder.history": 0,
    }
    document = json.dumps({"settings": settings, "source": {"image topic": "", "clock": "log"}})
    command = replay_commands(lambda origin: document)(make(0, first_ns=BASE, origin="a", query="Look."))
    arguments = build_parser().parse_args(shlex.split(command)[1:])
    assert arguments.clock == "log"
    assert asdict(read_tuning(None, arguments.set).config) == asdict(config)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"origin": "a #1?%20 b's"}, ["a #1?%20 b's", "--query", "Look."]),
        ({"origin": "bags/new\nline\x1b[31m1"}, ["bags/new\nline\x1b[31m1", "--query", "Look."]),
        ({"origin": r"bags/caf\xe9s \ 'x'"}, ["bags/caf\udce9s \\ 'x'", "--query", "Look."]),
        ({"origin": "-dash"}, ["./-dash", "--query", "Look."]),
        (
            {"origin": "a", "query": '-h $HOME `id` "x"; ! it\'s \u202e'},
            ["a", '--query=-h $HOME `id` "x"; ! it\'s \u202e'],
        ),
    ],
)
def test_the_command_is_what_a_shell_understands(given, words):
    command = replay_commands(lambda origin: None)(make(0, first_ns=BASE, **{"query": "Look.", **given}))
    assert command.isprintable()
    said = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True).stdout
    argv = [os.fsdecode(word) for word in said.split(b"\0")[1:-1]]
    assert argv == ["replay", *words, "--duration", "12"]
    assert len(build_parser().parse_args(argv).query) == 1


def test_mcap_has_spans_commentary_and_pictures(find, tmp_path):
    from rosbags.highlevel import AnyReader

    from stride_ros.bags.messages import typestore

    find("--mcap", str(tmp_path / "out.mcap"), "--retracted")
    with AnyReader([tmp_path / "out.mcap"], default_typestore=typestore()) as reader:
        read = [(c.topic, t, reader.deserialize(data, c.msgtype)) for c, t, data in reader.messages()]
    states = {}
    for topic, _, message in read:
        if topic == "/stride/activation/span":
            states.setdefault(message.span_id, []).append(message.state)
    assert states == {0: [0, 2], 1: [0, 2], 2: [0, 1], 3: [0, 3], 4: [0, 2], 9: [0, 2]}
    said = {m.span_id: (m.text, m.camera, m.final) for topic, _, m in read if topic == "/stride/commentary"}
    assert said[1] == ("A cat comes in.", "left", True)
    (picture,) = [m for topic, _, m in read if topic == "/stride/front/event/compressed"]
    assert bytes(picture.data).startswith(b"\xff\xd8")
    assert [t for _, t, _ in read] == sorted(t for _, t, _ in read)


def test_mcap_does_not_hold_all_pictures_at_once(tmp_path):
    class Picture(bytes):
        held: ClassVar = []

        def __del__(self):
            self.held.pop()

    most = 0

    def picture(key):
        nonlocal most
        Picture.held.append(key)
        most = max(most, len(Picture.held))
        return Picture(b"jpeg" + key.encode())

    events = [make(number, has_picture=True) for number in range(50)]
    write_mcap(tmp_path / "out.mcap", events, picture)
    assert most <= 2
    assert (tmp_path / "out.mcap").stat().st_size > 1000


def test_runs_are_written_as_a_replay_wrote_them(find, tmp_path, capsys):
    find("--runs", str(tmp_path / "runs"))
    assert {p.name: p.read_text() for p in (tmp_path / "runs").iterdir()} == {
        "a.json": '{"settings": {}, "source": {}}\n',
        "a-2.json": '{"a": 2}\n',
    }


def test_parquet_has_the_same_table(find, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    find("--parquet", str(tmp_path / "out.parquet"))
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["span_id"] for row in rows] == [4, 2, 1, 0, 9]
    assert rows[1]["pose_y"] == 2.0
    assert rows[3]["start"] == datetime.fromtimestamp(BASE // SECOND, timezone.utc)
    assert rows[1]["end"] is None


def test_odd_events_are_exported(find, file, tmp_path):
    with EventLog(file) as log:
        log.put(make(2**64 - 1, 'two\nlines, "quotes"\rand more', start_ns=-SECOND, end_ns=0))
    find("--csv", str(tmp_path / "out.csv"), "--mcap", str(tmp_path / "out.mcap"))
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as table:
        row = list(csv.DictReader(table))[-1]
    assert (row["span_id"], row["start_ns"]) == (str(2**64 - 1), str(-SECOND))
    assert row["sentence"] == 'two\nlines, "quotes"\rand more'
    assert (tmp_path / "out.mcap").stat().st_size > 1000
    parquet = pytest.importorskip("pyarrow.parquet")
    find("--parquet", str(tmp_path / "out.parquet"))
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist()[-1]["span_id"] == 2**64 - 1


def test_the_page_of_mined_recordings_is_not_replaced(find, tmp_path):
    from stride_ros.mining.output import JOURNAL

    (tmp_path / JOURNAL).write_text("")
    assert f"--report names {tmp_path}, whose page is that of" in find("--report", str(tmp_path), code=2)
    assert not (tmp_path / "index.html").exists()


def test_the_folder_of_a_log_is_answered_with_its_file(file, capsys):
    mined = file.rename(file.parent / "events.db")
    assert main(["find", "--events", str(mined.parent)]) == 2
    assert f"is a folder; give the file of an event log, such as {mined}." in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_readable_whatever_the_terminal_can_show(file, encoding):
    with EventLog(file) as log:
        log.put(make(7, "Ein Mann öffnet die Tür 🚪 人"))
    command = [sys.executable, "-m", "stride_ros", "find", "--events", str(file), "--json", "Mann"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    said = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    assert json.loads(said.decode("utf-8"))["events"][0]["sentence"] == "Ein Mann öffnet die Tür 🚪 人"


def test_a_table_on_standard_output_is_alone_there(file):
    command = [sys.executable, "-m", "stride_ros", "find", "--events", str(file), "--csv", "/dev/stdout"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == 5
    assert "5 events." in done.stderr
    both = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert (both.returncode, both.stdout) == (2, "")
    assert "--json and --csv both write to standard output; write one to a file." in both.stderr


def test_parquet_without_its_package_is_one_sentence(find, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = find("--parquet", str(tmp_path / "out.parquet"), code=2)
    assert told.endswith("needs the package 'pyarrow'; install it with: pip install pyarrow, or use --csv.\n")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--since", "yesterday"], "'yesterday' is not a time; write a date"),
        (["--until", "2026-13-01"], "'2026-13-01' is not a time"),
        (["--min-confidence", "2"], "The confidence cannot be 2.0"),
        (["--limit", "-1"], "--limit must be 0 (all) or more"),
        (["--csv", "/proc/x/y.csv"], "cannot be written"),
        (["***"], "There are no words in '***'"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(find, arguments, sentence):
    told = find(*arguments, code=2)
    assert sentence in told
    assert told.count("\n") == 1


def test_a_missing_log_is_one_sentence(tmp_path, capsys):
    assert main(["find", "--events", str(tmp_path / "none.db")]) == 2
    assert "none.db does not exist; write one with the event_log node" in capsys.readouterr().err


def test_finding_imports_neither_torch_nor_ros_nor_opencv(file):
    code = (
        "import sys\nfor name in ('torch', 'rclpy', 'cv2'): sys.modules[name] = None\n"
        "from stride_ros.cli import main\n"
        f"raise SystemExit(main(['find', 'person', '--events', {str(file)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "A person opens the door." in done.stdout


def test_times_without_an_offset_are_those_of_here(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert given_time("2026-11-01") == datetime(2026, 10, 31, 15, tzinfo=timezone.utc).timestamp() * SECOND
    assert local_time(0) == "1970-01-01 09:00:00 +09:00"


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/St_Johns", "Europe/Berlin"])
@pytest.mark.parametrize("stamp", [BASE, BASE + 100 * DAY, 0])
def test_a_time_that_was_printed_can_be_asked_for(zone, stamp, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    printed = local_time(stamp)
    assert printed.endswith(" UTC") is (zone == "UTC")
    assert given_time(printed) == given_time(printed.replace(" +", "+").replace(" -", "-")) == stamp


def test_the_terminal_the_page_and_what_is_asked_for_are_of_one_zone(find, tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    options = ("--recording", "robot", "--since", "2026-09-21T23:13:20", "--report", str(tmp_path / "page"))
    printed = find(*options)
    begin = printed.splitlines()[0].partition("  ")[0]
    assert begin == "2026-09-21 23:13:22 +09:00"
    page = (tmp_path / "page" / "index.html").read_text()
    assert f'"{begin}"' in page
    assert "from 2026-09-21 23:13:20 +09:00 on" in page


def test_the_page_of_a_search_says_what_was_asked_of_which_log(find, file, tmp_path):
    options = ("person", "--recording", "bags/b", "--min-confidence", "0.6", "--retracted", "--limit", "1")
    find(*options, "--report", str(tmp_path / "page"))
    page = (tmp_path / "page" / "index.html").read_text()
    assert f"<title>“person” in {file.name}</title>" in page
    assert f"1 event in {file}, recording bags/b, confidence at least 0.6." in page
    find("--report", str(tmp_path / "all"), "--limit", "2")
    page = (tmp_path / "all" / "index.html").read_text()
    assert f"<h1>Events in {file.name}</h1>" in page
    assert f"The newest 2 of 5 events in {file}." in page


def test_false_alarms_are_counted_apart(find):
    assert find("--recording", "robot", "--retracted").endswith("1 event (and 1 retracted).\n")
    assert find("--recording", "robot").endswith("1 event.\n")


def test_stamps_that_are_no_dates_are_shown_all_the_same():
    assert local_time(2**63 - 1) == "2262-04-11 23:47:16 UTC"
    assert local_time(-(2**63)) == "1677-09-21 00:12:43 UTC"
    assert iso_time(-5) == "1969-12-31T23:59:59.999999Z"
    assert iso_time(None) is None


@pytest.mark.parametrize("text", ["2026-11-01", "20261101", "2026-11-01Z", "2026-11-01 UTC"])
def test_a_date_in_any_form_includes_the_whole_day(text, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert given_time(text, end_of_day=True) - given_time(text) == DAY - 1


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
@pytest.mark.parametrize(("zone", "hours"), [("UTC", 0), ("AAA-14", -14), ("AAA+12", 12)])
def test_the_first_and_the_last_day_have_an_end(monkeypatch, zone, hours, day):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    assert given_time(day, end_of_day=True) - given_time(day) == DAY - 1
    assert given_time(day) - given_time(f"{day} UTC") == hours * DAY // 24


def test_a_range_that_ends_before_it_begins_is_one_sentence(find):
    told = find("--since", "2026-11-02", "--until", "2026-11-01", code=2)
    assert "--since 2026-11-02 is after --until 2026-11-01; swap them." in told


def test_a_recording_is_found_by_any_path_to_it(find):
    exact = numbers(find, "--recording", "bags/a")
    assert exact
    assert numbers(find, "--recording", "./bags/a/") == exact
    assert numbers(find, "--recording", os.path.abspath("bags/a")) == exact


@pytest.mark.parametrize("option", ["--recording", "--camera", "--watch"])
def test_a_name_that_the_log_does_not_have_is_told_with_those_it_has(file, capsys, option):
    assert main(["find", option, "nothing", "--events", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "No events." in out
    assert f"The log has no event of the {option[2:]} nothing; it has: " in " ".join(err.split())


def test_any_limit_may_be_given(find):
    assert numbers(find, "--limit", str(1 << 70)) == numbers(find)


def test_a_result_is_not_written_over_the_log_or_another_result(find, file, tmp_path):
    before = file.read_bytes()
    for option in ("--csv", "--mcap"):
        assert f"{option} names {file}, which --events reads" in find(option, str(file), code=2)
    both = str(tmp_path / "both")
    assert "--csv and --mcap both name" in find("--csv", both, "--mcap", both, code=2)
    assert file.read_bytes() == before
    assert not Path(both).exists()
