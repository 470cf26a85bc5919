"""The command line: help without heavy libraries, clear errors, exit codes."""

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stride_ros.cli import build_parser, main
from stride_ros.errors import about_path

ROOT = Path(__file__).resolve().parents[1]
BLOCKED = "import sys\nfor name in {names!r}: sys.modules[name] = None\n"


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_works_without_torch_transformers_ros_and_opencv():
    code = BLOCKED.format(names=["torch", "transformers", "rclpy", "cv2", "av", "matplotlib", "rosbags"])
    done = run_python(code + "from stride_ros.cli import main\nmain(['--help'])")
    assert done.returncode == 0, done.stderr
    for command in ("demo", "world"):
        assert command in done.stdout


@pytest.mark.parametrize("command", ["demo", "world"])
def test_every_option_is_explained(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert "--seed" in capsys.readouterr().out


def test_the_module_runs_as_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "stride_ros", "world", "--seconds", "20"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "is on the table." in done.stdout


def test_bad_input_is_one_sentence_with_exit_code_2(capsys):
    assert main(["world", "--seconds", "-3"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("stride-ros world: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err


# To look whether a file exists fails where the name is too long, and in a folder that is closed to the user.
LONG = "Tell me when a person is in view. " * 20


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", LONG, "--query", "x"],
        ["replay", "BAG", "--query", "x", "--model", LONG],
        ["replay", "BAG", "--query", "x", "--out", LONG],
        ["mine", LONG, "--query", "x", "--out", "found"],
        ["mine", "BAG", "--query", "x", "--out", LONG],
        ["find", "--events", LONG],
        ["bag", LONG, "b"],
        ["world", "--seconds", "1", "--bag", LONG],
        ["doctor", "--model", LONG],
        ["respond", LONG, "--to", "1", "--query", "x", "--model", "stride-tiny"],
        ["score", "et-bench", LONG],
    ],
    ids=" ".join,
)
def test_a_path_that_the_system_refuses_is_one_sentence(arguments, world_bag, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main([str(world_bag) if text == "BAG" else text for text in arguments]) == 2
    said = capfd.readouterr().err
    assert said.startswith(f"stride-ros {arguments[0]}: ")
    assert "(File name too long)" in said
    assert said.rstrip().endswith(".")


@pytest.mark.parametrize(
    "option", ["bag", "--model", "--responder", "--expect", "--json", "--out", "--events"]
)
def test_what_is_in_a_closed_folder_is_named(option, world_bag, tmp_path, capfd):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    if os.access(closed, os.X_OK):
        pytest.skip("this user, perhaps root, may enter every folder")
    place = str(closed / "x")
    given = [place] if option == "bag" else [str(world_bag), option, place]
    assert main(["replay", *given, *(["--query", "x"] if option != "--expect" else [])]) == 2
    said = capfd.readouterr().err
    assert f"{place} cannot be" in said
    assert "(Permission denied)" in said


def test_an_error_with_a_path_is_told_with_it_and_another_is_not():
    denied = about_path(PermissionError(errno.EACCES, "Permission denied", "/data/drive\n1"))
    assert denied == (
        "/data/drive\\n1 cannot be used (Permission denied); check its permissions, and those of the folders "
        "that it is in."
    )
    broken = about_path(OSError(errno.EIO, "Input/output error", "/data/drive"))
    assert broken is not None
    assert broken.endswith(
        "(Input/output error); give the path of another file or folder, or check the disk."
    )
    assert about_path(OSError(errno.EBADF, "Bad file descriptor")) is None
    assert about_path(OSError("something", "else", 3)) is None
    assert about_path(ValueError("x")) is None


def test_an_unknown_option_says_where_the_options_are(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["world", "--sede", "3"])
    assert "unrecognized arguments: --sede 3; see stride-ros world --help" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["no-such-command"], ["world", "--size", "640"]])
def test_wrong_usage_ends_with_exit_code_2(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert "usage: stride-ros" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error():
    code = "from stride_ros.cli import main\nraise SystemExit(main(['world', '--seconds', '600']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["world", "--video", "a", "--labels", "a"], "--video and --labels both name a;"),
        (["evaluate", "--model", "m", "--json", "a", "--report", "a"], "--json and --report both name a;"),
        (["benchmark", "--json", "a", "--picture", "a"], "--json and --picture both name a;"),
        (["doctor", "--json", "old", "--params-file", "old"], "which --params-file reads;"),
        (["score", "et-bench", "old", "--json", "old"], "--json names old, which is PREDICTIONS;"),
        (["respond", "old", "--to", "1", "--query", "a", "--model", "m", "--json", "old"], "is the video;"),
        (["bag", "old", "./old"], "BAG names old, which is the source;"),
    ],
)
def test_no_output_replaces_another_or_an_input(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").write_text("kept")
    assert main(arguments) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert os.listdir() == ["old"]
    assert (tmp_path / "old").read_text() == "kept"


WORLD = "{python} -m stride_ros world --seconds 5 --video clip.mp4"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("arguments", "code"), [("", 0), ("--seconds -3", 2), ("--no-such", 2)])
def test_a_command_does_its_work_without_standard_streams(closed, unbuffered, arguments, code, tmp_path):
    command = f"{WORLD.format(python=sys.executable)} {arguments} {closed}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert (tmp_path / "clip.mp4").exists() is (code == 0)
    assert b"Traceback" not in done.stderr


def test_output_that_cannot_be_written_is_an_error(tmp_path):
    command = f"{WORLD.format(python=sys.executable)} >/dev/full"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"no space left" in b" ".join(done.stderr.split())


def test_files_do_not_get_the_numbers_of_closed_streams(tmp_path):
    code = (
        "from stride_ros.process.streams import prepare_streams; prepare_streams();"
        "import os; file = open('a', 'w'); print(file.fileno(), file=file); os.write(2, b'x')"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = f'{sys.executable} -c "{code}" <&- >&- 2>&-'
    subprocess.run(command, shell=True, cwd=tmp_path, env=environment, check=True, timeout=60)
    assert int((tmp_path / "a").read_text()) > 2


@pytest.mark.parametrize("module", ["stride_ros.cli", "stride_ros.terminal", "stride_ros.mining.command"])
@pytest.mark.parametrize("start", ["run_path('scripts/stride-ros'", "run_module('stride_ros'"])
def test_an_interrupt_during_the_imports_is_one_word(module, start):
    code = f"""
import runpy, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
sys.argv = ["stride-ros", "world"]
runpy.{start}, run_name="__main__")
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (130, "stride-ros: stopped.\n")


def test_without_ros_the_demo_names_the_remedy():
    code = BLOCKED.format(names=["rclpy"])
    done = run_python(code + "from stride_ros.cli import main\nraise SystemExit(main(['demo']))")
    assert done.returncode == 2
    assert "make demo" in done.stderr
    assert done.stderr.count("\n") == 1


def test_commands_are_listed_only_where_their_module_exists(monkeypatch):
    modules = ("stride_ros.sources.world_command", "stride_ros.no_such_module")
    monkeypatch.setattr("stride_ros.cli.COMMANDS", modules)
    assert "{world}" in build_parser().format_usage() or "COMMAND" in build_parser().format_usage()
    assert build_parser().parse_args(["world"]).command == "world"


ACTS = "e\x1b[2J\x1b]0;own\x07\nFORGED\r\u202eabc\u2066\u200b\ufeff\u2028\x85\x9b31m<b>$x$"
# What names of others are given to commands; {} is a file whose name acts.
NAMES = [
    ["replay", ACTS, "--query", ACTS],
    ["replay", "{}", "--query", "a", "--image-topic", ACTS],
    ["replay", "{}", "--query", ACTS, "--model", ACTS],
    ["replay", "--diff", "{}", "{}"],
    ["replay", "{}", "--params-file", ACTS],
    ["replay", "{}", "--query", "a", "--set", f"rate={ACTS}"],
    ["replay", f"--{ACTS}"],
    ["bag", "{}", "out", "--topic", f"/{ACTS}"],
    ["bag", ACTS, "{}"],
    ["world", "--seconds", "1", "--video", "{}.mp4"],
    ["world", "--seconds", "1", "--bag", "{}.bag"],
    ["world", "--kinds", ACTS],
    ["train", "--data", "annotations", "--annotations", "{}", "--out", "out"],
    ["score", "et-bench", "{}"],
    ["respond", "{}", "--to", "1", "--query", ACTS, "--model", ACTS],
    ["respond", "{}", "--to", "1", "--query", "a", "--model", ACTS, "--base-url", ACTS],
    ["demo", "--source", ACTS],
    [ACTS],
]


@pytest.mark.parametrize("arguments", NAMES, ids=lambda arguments: " ".join(arguments[:1] + arguments[-2:-1]))
def test_a_name_that_acts_is_shown_as_escapes(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    file = tmp_path / ACTS
    file.write_bytes(b"no recording")
    with contextlib.suppress(SystemExit):
        main([part.replace("{}", str(file)) for part in arguments])
    captured = capsys.readouterr()
    lines = (captured.out + captured.err).split("\n")
    assert "".join(lines)
    assert all(line.isprintable() for line in lines), lines
    assert not any(line.startswith("FORGED") for line in lines)


def test_a_bag_whose_name_cannot_be_written_into_it_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["world", "--seconds", "1", "--bag", "caf\udce9"]) == 2
    assert "name is not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("topic", ["/a b", "//a", "/a/", "/1a", "", "/a\udcff", "~/a", "/" + "a" * 300])
def test_a_topic_that_ros_does_not_know_is_refused(topic, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["world", "--bag", str(tmp_path / "bag"), "--topic", topic])
    assert stopped.value.code == 2
    assert "is not a topic name" in " ".join(capsys.readouterr().err.split())
