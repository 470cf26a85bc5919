"""What commands write is whole under its name or not there; pipes and devices are written to."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stride_ros.errors import ConfigError, SourceError
from stride_ros.user_files.output import is_stdout, make_folder, refuse_same_files, whole_file, write_whole


def test_a_text_is_written_and_nothing_else_is_left(tmp_path):
    write_whole(tmp_path / "a.txt", "ä \udce4")
    assert (tmp_path / "a.txt").read_text("utf-8") == "ä \\udce4"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_has_the_rights_of_any_new_file_and_an_old_one_keeps_its_own(tmp_path):
    (tmp_path / "other").touch()
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(0o640)
    for name in ("new", "old"):
        write_whole(tmp_path / name, b"x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a.txt")
    write_whole(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "x"


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "a.mp4").write_text("old")
    names = []

    def fail() -> None:
        with whole_file(tmp_path / "a.mp4") as beside:
            beside.write_text("half")
            names.append(beside.suffix)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names == [".mp4"]
    assert (tmp_path / "a.mp4").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("place", ["missing/a.txt", "file/a.txt", "folder"])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match=r"cannot be written \(.+\); choose another place\.$"):
        write_whole(tmp_path / place, "x")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    with pytest.raises(SourceError, match="cannot be written"):
        make_folder(tmp_path / "file" / "b")


def test_a_pipe_without_a_reader_is_a_sentence_and_not_a_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match=r"pipe cannot be written \(No such device or address\)"):
        write_whole(tmp_path / "pipe", "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_pipe_with_a_reader_gets_everything(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    heard: list[bytes] = []
    descriptor = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)

    def read() -> None:
        with os.fdopen(descriptor, "rb") as file:
            heard.append(file.read())

    # The reader begins with the first bytes: before them the pipe seems to be at its end.
    writer = threading.Thread(target=write_whole, args=(tmp_path / "pipe", b"x" * 1_000_000))
    writer.start()
    while not heard or not heard[-1]:
        if heard:
            descriptor = os.open(tmp_path / "pipe", os.O_RDONLY)
            heard.clear()
        read()
    writer.join()
    assert heard == [b"x" * 1_000_000]


def written(folder: Path, script: str, *, limit: int | None = None, **options) -> subprocess.CompletedProcess:
    """Run a script in a process that may write files of so many bytes."""

    def restrict() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, preexec_fn=restrict, text=True, timeout=300, **options
    )


def test_standard_output_is_written_to_and_not_replaced(tmp_path):
    script = (
        "from stride_ros.user_files.output import write_whole\n"
        "print('before', flush=True); write_whole('/dev/stdout', 'x\\n'); print('after')"
    )
    with (tmp_path / "out").open("ab") as out:
        done = written(tmp_path, script, stdout=out, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "before\nx\nafter\n"
    piped = written(tmp_path, script, capture_output=True)
    assert piped.stdout == "before\nx\nafter\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (Path("/dev/stdout"), True),
        (Path("/dev/fd/1"), True),
        (Path("/proc/self/fd/1"), True),
        (Path("/dev/stderr"), False),
        (Path("/dev/fd/12"), False),
        (Path("stdout"), False),
        ("/dev/stdout", False),  # a query, for example
        (None, False),
    ],
)
def test_standard_output_is_known_by_its_names(path, expected):
    assert is_stdout(path) == expected


WRITERS = {
    "write_json": "write_json(run, 'a')",
    "report.html": "write_report(run, '.')",
    "write_expectations": "write_expectations(run, 'a')",
    "labels": "write_labels(World(seed=1, seconds=600.0), 'a.yaml')",
    "video": "write_video(World(seed=1, seconds=3.0), 'a.mp4')",
}
PREPARE = """
import sys
from stride_ros.errors import SourceError
from stride_ros.runs.expectations import write_expectations
from stride_ros.runs.record import QueryRun, Run, Span
from stride_ros.runs.report import write_report
from stride_ros.sources.world_bag import write_labels, write_video
from stride_ros.world import World
write_json = lambda run, path: run.write_json(path, latencies=False)
run = Run('a', 9.0, [QueryRun('Tell me.' * 9, [Span(i, 1.0, 2.0, 1.0, 0.9) for i in range(99)])])
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_no_half_file(tmp_path, name):
    script = (
        f"{PREPARE}\ntry:\n    {WRITERS[name]}\nexcept SourceError as error:\n    sys.exit(str(error))\n"
        "sys.exit('nothing went wrong')"
    )
    done = written(tmp_path, script, limit=1000, capture_output=True)
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_without_room_is_one_sentence():
    command = [sys.executable, "-m", "stride_ros", "doctor", "--model", "stride-tiny", "--responder", "none"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2, done.stderr
    assert "there is no space left for the output" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_two_outputs_in_one_file_are_refused_however_they_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").touch()
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "dangling").symlink_to("new")
    os.link("there", "hard")
    for second in ("there", "./there", tmp_path / "there", "link", "hard"):
        with pytest.raises(ConfigError, match="--json and --events both name there; use different files"):
            refuse_same_files({"--json": Path("there"), "--csv": None, "--events": Path(second)}, {})
    with pytest.raises(ConfigError, match="both name new"):
        refuse_same_files({"--json": Path("new"), "--events": Path("dangling")}, {})
    refuse_same_files({"--json": Path("there"), "--events": Path("new")}, {"--expect": Path("other")})


def test_an_output_that_is_an_input_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.db").touch()
    with pytest.raises(ConfigError) as refused:
        refuse_same_files({"--csv": Path("events.db")}, {"--set": None, "--events": tmp_path / "events.db"})
    assert str(refused.value) == "--csv names events.db, which --events reads; write to another file."
    recordings = [Path("other"), Path("events.db")]
    with pytest.raises(ConfigError, match=r"names events\.db, which is one of the recordings; write"):
        refuse_same_files({"--json": Path("events.db")}, {"one of the recordings": recordings})
    with pytest.raises(ConfigError, match=r"names events\.db, which is the recording; write"):
        refuse_same_files({"--json": Path("events.db")}, {"the recording": Path("events.db")})


def test_what_a_bag_consists_of_is_an_input_and_what_lies_beside_it_is_none(tmp_path):
    for name in ("metadata.yaml", "bag_0.mcap", "run.json"):
        (tmp_path / name).touch()
    for name in ("metadata.yaml", "bag_0.mcap"):
        with pytest.raises(ConfigError, match=f"{name}, which belongs to the recording;"):
            refuse_same_files({"--json": tmp_path / name}, {"the recording": tmp_path})
    refuse_same_files({"--json": tmp_path / "run.json"}, {"the recording": tmp_path})


@pytest.mark.parametrize("device", ["/dev/null", "/dev/stdout", "pipe"])
def test_pipes_and_devices_may_be_named_repeatedly(device, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    refuse_same_files({"--json": Path(device), "--csv": Path(device)}, {"--events": Path(device)})
