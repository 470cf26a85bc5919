"""What a user gives as a path and is certainly none: one sentence, whatever the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stride_ros.bags.reader import BagReader
from stride_ros.cli import build_parser, main
from stride_ros.errors import SourceError
from stride_ros.sources import open_source
from stride_ros.user_files.paths import given_path

NONE = {
    "": "The path is empty",
    " \t": "The path is empty",
    "-": "'-' is not a path",
    "a\0b": "zero byte",
    "file:///data/my%20run.mcap": "give the path /data/my run.mcap",
    "rtsp://10.0.0.2:554/live": "ffmpeg -i rtsp://10.0.0.2:554/live -c copy clip.mkv",
    "https://example.com/a.mp4": "download the file first",
    "s3://bucket/a.mcap": "download the file first",
}
# A command line for each argument of each command that takes a path.
COMMANDS = [
    "replay PATH --query q",
    *(f"replay x --query q {option} PATH" for option in ("--params-file", "--out", "--json", "--report")),
    *(f"replay x --query q {option} PATH" for option in ("--expect", "--write-expect")),
    "replay --diff PATH x",
    "bag PATH out",
    "bag x PATH",
    *(f"world {option} PATH" for option in ("--bag", "--video", "--labels")),
    "train --data world --out PATH",
    *(f"train --data world --out x {option} PATH" for option in ("--bag", "--video", "--labels")),
    *(f"train --data world --out x {option} PATH" for option in ("--annotations", "--video-root")),
    "evaluate --json PATH",
    "evaluate --report PATH",
    "score et-bench PATH --annotations x",
    "score et-bench x --annotations PATH",
    "score et-bench x --annotations x --json PATH",
    "benchmark --json PATH",
    "benchmark --picture PATH",
    "doctor --params-file PATH",
    "doctor --json PATH",
    "respond PATH --to 1 --query q --model m",
    "respond x --to 1 --query q --model m --json PATH",
    "demo --out PATH",
    "demo --source PATH",
]


@pytest.mark.parametrize("path", NONE)
def test_what_is_no_path_gets_a_sentence_with_what_to_do(path):
    with pytest.raises(SourceError, match="(?s)^.*" + NONE[path].replace("?", r"\?")):
        given_path(path)
    with pytest.raises(SourceError):
        BagReader(path)
    with pytest.raises(SourceError):
        open_source(path)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_takes_an_empty_path_for_the_current_directory(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    arguments = ["" if word == "PATH" else word for word in command.split()]
    try:
        code = main(arguments)
    except SystemExit as error:
        code = error.code
    told = capsys.readouterr().err
    assert code == 2
    assert "path is empty" in told or "The source '' does not exist" in told
    assert list(tmp_path.iterdir()) == []


def test_every_path_of_every_command_is_checked():
    parser = build_parser()
    (commands,) = (action for action in parser._actions if action.choices)
    parsers = [*commands.choices.items()]
    for name, command in parsers:
        for action in command._actions:
            assert action.type is not Path, f"{name} {action.dest}"
            if isinstance(action.choices, dict):
                parsers += [(f"{name} {one}", each) for one, each in action.choices.items()]


def test_the_home_folder_is_found_without_a_shell(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert given_path("~/bag") == tmp_path / "bag"
    with pytest.raises(SourceError, match="give the whole path"):
        given_path("~nobody-of-that-name/bag")


def test_files_with_odd_names_are_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("~", "-", "a:b"):
        Path(name).touch()
    assert given_path("./-") == Path("-")
    assert given_path("~") == Path("~")
    assert given_path("a:b") == Path("a:b")
    assert given_path(Path("-").absolute()).exists()


def test_a_path_that_was_made_a_path_before_is_known_as_a_url_all_the_same():
    with pytest.raises(SourceError, match="network stream"):
        given_path(Path("rtsp://camera/1"))


def test_the_sentence_of_a_command(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "stride_ros", "bag", "rtsp://camera/1", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "network stream, which is not read; record it first" in ran.stderr.replace("\n", " ")
