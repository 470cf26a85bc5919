"""`stride-ros replay` on the command line: outputs, exit codes 0, 1 and 2, and --diff."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stride_ros.cli import main
from stride_ros.text.wording import counted
from stride_ros.training.checkpoint import create_checkpoint

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
QUERY = "Tell me when a red box is on the table."


@pytest.fixture(scope="module")
def first(world_bag, checkpoint, tmp_path_factory):
    """Folder with the results of one replay with every output."""
    folder = tmp_path_factory.mktemp("results")
    code = main(
        [
            *("replay", str(world_bag), "--query", QUERY, "--model", str(checkpoint)),
            *("--responder", str(checkpoint), "--json", str(folder / "run.json")),
            *("--report", str(folder / "report"), "--write-expect", str(folder / "spans.yaml")),
            *("--out", str(folder / "bag")),
        ]
    )
    assert code == 0
    return folder


def again(world_bag, checkpoint, *arguments):
    return main(["replay", str(world_bag), "--model", str(checkpoint), *map(str, arguments)])


def test_json_is_stable_and_has_no_measured_times(first, world_bag, checkpoint, tmp_path):
    arguments = ("--query", QUERY, "--responder", checkpoint, "--json", tmp_path / "again.json")
    assert again(world_bag, checkpoint, *arguments) == 0
    assert (tmp_path / "again.json").read_bytes() == (first / "run.json").read_bytes()
    document = json.loads((first / "run.json").read_text())
    assert "latencies" not in document
    assert document["queries"][0]["spans"]


def test_the_report_has_timeline_strip_and_histogram(first):
    html = (first / "report" / "report.html").read_text()
    assert 'class="timeline"' in html
    assert 'class="strip"' in html
    assert 'class="histogram"' in html
    assert (first / "report" / "timeline.png").is_file()


def test_ground_truth_that_may_have_been_corrected_is_not_overwritten(
    first, world_bag, checkpoint, tmp_path, capsys
):
    before = (first / "spans.yaml").read_bytes()
    assert again(world_bag, checkpoint, "--query", QUERY, "--write-expect", first / "spans.yaml") == 2
    assert "already exists" in capsys.readouterr().err
    assert (first / "spans.yaml").read_bytes() == before


def test_the_embedded_checkpoint_is_told_to_know_the_synthetic_world_alone(world_bag, tmp_path, capsys):
    from stride_ros.sources.world_bag import write_video
    from stride_ros.world import World

    write_video(World(seed=3, seconds=3, size=(96, 64), fps=5), tmp_path / "clip.mp4")
    for recording, told in ((world_bag, False), (tmp_path / "clip.mp4", True)):
        assert main(["replay", str(recording), "--query", QUERY, "--model", "stride-tiny"]) == 0
        assert ("only knows the synthetic world" in " ".join(capsys.readouterr().err.split())) is told


@pytest.mark.parametrize(("rate", "told"), [([], True), (["--rate", "2"], False)])
def test_a_rate_that_leaves_slots_of_the_model_empty_is_reported(rate, told, world_bag, tmp_path, capsys):
    short = create_checkpoint(tmp_path / "short", window=8, resolution=0.5)
    out = tmp_path / "run.json"
    words = ["--query", QUERY, "--model", str(short), "--duration", "4", "--json", str(out), *rate]
    assert main(["replay", str(world_bag), *words]) == 0
    assert ("slots are 0.5 s" in " ".join(capsys.readouterr().err.split())) is told
    assert any("use --rate 2, " in note for note in json.loads(out.read_text())["notes"]) is told
    truth = tmp_path / "truth.yaml"
    truth.write_text(f"- {{query: {QUERY}, none: [0, 40]}}\n")
    words = ["--model", str(short), "--duration", "4", "--expect", str(truth), "--phases", "2", *rate]
    assert main(["replay", str(world_bag), *words]) in (0, 1)
    assert " ".join(capsys.readouterr().err.split()).count("slots are 0.5 s") == told


def test_what_it_wrote_as_expectations_is_met(first, world_bag, checkpoint, capsys):
    assert again(world_bag, checkpoint, "--expect", first / "spans.yaml") == 0
    told = capsys.readouterr().out
    assert "Met." in told
    assert "\n1 span in 40 s of video, replayed" in told


def robot(chat_server, **settings) -> str:
    """A robot's parameter file, whose responder asks a server."""
    responder = {"backend": "openai", "base_url": chat_server.url, "model": "tiny", **settings}
    sections = {
        "activation": {"ros__parameters": {"query": QUERY}},
        "responder": {"ros__parameters": responder},
    }
    return json.dumps({"front": sections})


def test_the_responder_of_a_robots_file_answers_with_its_settings(
    world_bag, checkpoint, chat_server, tmp_path
):
    pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")
    settings = {"max_frames": 2, "system_prompt": "Sing it.", "respond_on": "offset", "max_new_tokens": 9}
    file = tmp_path / "robot.yaml"
    file.write_text(robot(chat_server, **settings))
    written = tmp_path / "run.json"
    options = ("--params-file", file, "--set", "responder.max_frames=3", "--json", written, "--responder")
    assert again(world_bag, checkpoint, *options) == 0
    assert chat_server.requests
    for request in chat_server.requests:
        system, user = request["messages"]
        assert system["content"] == "Sing it."
        assert sum(part["type"] == "image_url" for part in user["content"]) == 3
        assert (request["max_tokens"], request["temperature"]) == (9, 0.0)
    document = json.loads(written.read_text())
    assert document["settings"]["responder"] == "tiny"
    assert document["settings"]["responder.respond_on"] == "offset"
    (query,) = document["queries"]
    spoken = [span["commentary"]["text"] for span in query["spans"] if span["state"] == "offset"]
    assert spoken == ["A cup falls."] * len(chat_server.requests)


def test_with_a_file_nobody_answers_unless_asked_to(world_bag, checkpoint, chat_server, tmp_path):
    (tmp_path / "robot.yaml").write_text(robot(chat_server))
    assert again(world_bag, checkpoint, "--params-file", tmp_path / "robot.yaml") == 0
    assert chat_server.requests == []


def test_a_responder_without_a_model_is_refused_with_the_remedy(world_bag, checkpoint, capsys):
    assert again(world_bag, checkpoint, "--query", QUERY, "--responder") == 2
    assert "write --responder MODEL" in capsys.readouterr().err


def test_unmet_expectations_end_with_1_and_say_why(world_bag, checkpoint, tmp_path, capsys):
    (tmp_path / "spans.yaml").write_text(f'- {{query: "{QUERY}", start: 39.0, end: 39.5}}')
    assert again(world_bag, checkpoint, "--expect", tmp_path / "spans.yaml") == 1
    printed = capsys.readouterr().out
    assert "inexact" in printed
    assert printed.count("ot met") == 1
    assert "0:39.0 - 0:39.5" in printed


def test_phases_are_judged_one_by_one_and_together(first, world_bag, checkpoint, capsys):
    assert again(world_bag, checkpoint, "--expect", first / "spans.yaml", "--phases", 2) in (0, 1)
    printed = capsys.readouterr().out
    assert re.findall(r"^From (.*) s on:", printed, re.M) == ["0.00", "0.50"]
    each = re.findall(r"^onset within 2 s of the start: (\d+) of (\d+)\b[^;]*; (\d+) onset", printed, re.M)
    *parts, total = [tuple(map(int, numbers)) for numbers in each]
    assert len(parts) == 2
    assert total == tuple(map(sum, zip(*parts, strict=True)))
    assert f" of {total[1]} ({counted(total[1] // 2, 'event')} at 2 starts)" in printed
    assert re.search(r"^The ground truth was met in [12] of 2 replays\.$", printed, re.M)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--phases", 0), "--phases must be at least 1"),
        (("--query", QUERY, "--phases", 2), "add --expect"),
        (("--expect", "x.yaml", "--json", "x.json", "--phases", 2), "--json is for one replay"),
        (
            ("--expect", "x.yaml", "--report", "x", "--phases", 4),
            "replace --phases 4 with its start, such as --start 0.25.",
        ),
        (
            ("--expect", "x.yaml", "--out", "x", "--phases", 2, "--start", 3, "--rate", 2),
            "such as --start 3.25.",
        ),
    ],
)
def test_phases_that_make_no_sense_are_refused(world_bag, checkpoint, capsys, arguments, told):
    assert again(world_bag, checkpoint, *arguments) == 2
    assert told in capsys.readouterr().err


def test_a_malformed_file_ends_with_2(world_bag, checkpoint, tmp_path, capsys):
    (tmp_path / "spans.yaml").write_text("- {query: a, start: 9, end: 3}")
    assert again(world_bag, checkpoint, "--expect", tmp_path / "spans.yaml") == 2
    assert "Item 1" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["replay"], ["replay", "/no/such/bag", "--query", "a"]])
def test_nothing_to_replay_ends_with_2(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("stride-ros replay: ")


def test_diff_says_what_changed(first, tmp_path, capsys):
    before = first / "run.json"
    assert main(["replay", "--diff", str(before), str(before)]) == 0
    assert "No changes." in capsys.readouterr().out

    document = json.loads(before.read_text())
    spans = document["queries"][0]["spans"]
    spans[0]["end"] += 1.0
    spans.append(spans[-1] | {"id": 99, "start": 500.0, "end": 505.0})
    document["settings"]["model"] = "another"
    (tmp_path / "after.json").write_text(json.dumps(document))
    assert main(["replay", "--diff", str(before), str(tmp_path / "after.json")]) == 1
    printed = capsys.readouterr().out
    assert "changed" in printed
    assert "new      8:20.0 - 8:25.0" in printed
    assert "-> another" in printed


@pytest.mark.parametrize("content", ["no json", "{}", "[]"])
def test_diff_refuses_what_is_no_run(first, tmp_path, content, capsys):
    (tmp_path / "x.json").write_text(content)
    assert main(["replay", "--diff", str(first / "run.json"), str(tmp_path / "x.json")]) == 2


def test_the_fixture_for_users_works(world_bag, checkpoint, tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["stride_ros.replay.pytest_plugin"]')
    (tmp_path / "test_drive.py").write_text(
        f"""
def test_drive(replay_bag):
    result = replay_bag({str(world_bag)!r}, {QUERY!r})
    assert result.spans()
    assert result.ok, result.table
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(tmp_path), f"--stride-model={checkpoint}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_expectations_about_other_queries_are_an_error_and_no_pass(world_bag, checkpoint, tmp_path, capsys):
    (tmp_path / "spans.yaml").write_text('- {query: "Tell me when the light is off.", none: [0, 5]}\n')
    arguments = ("--query", QUERY, "--expect", tmp_path / "spans.yaml")
    assert again(world_bag, checkpoint, *arguments) == 2
    assert "Tell me when the light is off." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--events", "a.db", "--json", "./a.db"],
            "--json and --events both name a.db; use different files.",
        ),
        (["--report", "r", "--out", "r"], "--out and --report both name r;"),
        (["--write-expect", "s.yaml", "--json", "s.yaml"], "--json and --write-expect both name s.yaml;"),
        (["--json", "{bag}/metadata.yaml"], "which belongs to the recording;"),
        (["--report", "{bag}"], "which is the recording; write to another file."),
        (["--json", "p.yaml", "--params-file", "p.yaml"], "--json names p.yaml, which --params-file reads;"),
        (["--json", "p.yaml", "--expect", "p.yaml"], "--json names p.yaml, which --expect reads;"),
    ],
)
def test_an_output_that_is_another_or_an_input_is_refused_before_anything_is_written(
    arguments, told, world_bag, checkpoint, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").touch()
    arguments = [argument.format(bag=world_bag) for argument in arguments]
    assert again(world_bag, checkpoint, "--query", QUERY, *arguments) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert os.listdir(tmp_path) == ["p.yaml"]
