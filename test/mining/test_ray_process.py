"""The process that talks to Ray, with packages of that name that misbehave as Ray may: no Ray is needed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stride_ros.errors import ConfigError
from stride_ros.mining import ray_pool
from stride_ros.mining.ray_actor import Actor, Home
from stride_ros.mining.ray_address import read_address, refuse_silence
from stride_ros.mining.ray_errors import ended, lacking, refusal
from stride_ros.mining.ray_pool import has_ray
from stride_ros.mining.ray_session import end_session, make_folder

from .conftest import ASKED

pytestmark = pytest.mark.slow

HANGS = """
import os, signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
def init(**options):
    print("chatter"); print("chatter", file=sys.stderr)
    child = subprocess.Popen(["sleep", "600"])
    subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"])
    with open(os.environ["STARTED"] + ".part", "w") as file:
        file.write(f"{os.getpid()} {child.pid} {os.getcwd()}")
    os.rename(os.environ["STARTED"] + ".part", os.environ["STARTED"])
    time.sleep(600)
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Makes a package `ray` of this text, for this process and those it starts."""

    def make(text):
        (tmp_path / "fake" / "ray").mkdir(parents=True)
        (tmp_path / "fake" / "ray" / "__init__.py").write_text(text)
        before = os.environ.get("PYTHONPATH", "")
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'fake'}{os.pathsep}{before}")
        monkeypatch.syspath_prepend(tmp_path / "fake")
        monkeypatch.setenv("STARTED", str(tmp_path / "started"))

    return make


@pytest.fixture
def started(fake, drives, tmp_path, hears_ctrl_c):
    """A command whose Ray hangs while it starts, with the processes that it has by then, and their folder."""
    fake(HANGS)
    words = ["mine", str(drives), "--out", str(tmp_path / "out"), *ASKED]
    process = subprocess.Popen(
        [sys.executable, "-m", "stride_ros", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "started").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    host, child, folder = (tmp_path / "started").read_text().split()
    yield process, int(host), int(child), Path(folder)
    process.kill()
    process.communicate()
    for pid in (int(host), int(child)):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_whose_ray_hangs_and_nothing_is_left(number, started):
    process, host, child, folder = started
    os.killpg(process.pid, number)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == "0 of 7 recordings are mined; run the same command to continue.\n"
    assert told == "stride-ros mine: stopped.\n"
    assert not _is_running(host)
    assert not _is_running(child)
    assert not folder.exists()


def test_ray_that_ends_is_one_sentence_and_nothing_is_left(started):
    process, host, child, folder = started
    os.kill(host, signal.SIGKILL)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert printed == ""
    assert told.startswith("stride-ros mine: Ray on this machine ended unexpectedly (SIGKILL")
    assert "--no-ray" in told
    assert not _is_running(child)
    assert not folder.exists()


@pytest.mark.parametrize(
    "text",
    ["raise ImportError('libfoo.so: cannot open shared object file')", "x = 1"],
    ids=["error", "no init"],
)
def test_ray_that_is_broken_is_one_sentence(text, fake, drives, mine, tmp_path):
    fake(text)
    code, printed = mine(drives, "--out", tmp_path / "out", ray=())
    assert code == 2
    assert "Ray is installed but cannot be imported (" in printed
    assert "--no-ray" in printed
    assert len(printed.splitlines()) == 1


def test_a_cluster_that_says_nothing_is_given_up(fake, drives, mine, tmp_path, monkeypatch):
    fake(HANGS)
    monkeypatch.setattr(ray_pool, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        code, printed = mine(drives, "--out", tmp_path / "out", ray=("--ray", address))
    assert code == 2
    assert f"The Ray cluster at {address} cannot be used (no answer within 0.5 s)" in printed
    assert "ray status" in printed


def test_nothing_that_listens_is_refused_before_ray_waits_for_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        refuse_silence(address)
    with pytest.raises(ConfigError, match=f"No Ray cluster can be reached at {address}.*refused.*ray start"):
        refuse_silence(address)


@pytest.mark.parametrize("address", ["auto", "head:6379", "10.0.0.1:6379", "[fd00::1]:6379"])
def test_an_address_is_auto_or_a_host_with_a_port(address):
    assert read_address(address) == address


def test_local_is_this_machine_alone():
    assert read_address("local") is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("", "is not an address; use auto or HOST:PORT"),
        ("head", "--ray head is not an address"),
        (":6379", "is not an address"),
        ("head:0", "is not an address"),
        ("head:65536", "is not an address"),
        ("fd00::1:6379", "is not an address"),
        ("ray://head:10001", "run this command on a node of the cluster, with --ray auto"),
        ("http://head:8265", "run this command on a node of the cluster"),
    ],
)
def test_another_address_is_one_sentence(address, reason, drives, mine, tmp_path):
    code, printed = mine(drives, "--out", tmp_path / "out", ray=("--ray", address))
    assert code == 2
    assert reason in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", ["1.5", "inf", "nan", "-1"])
def test_a_number_of_gpus_that_ray_cannot_reserve_is_one_sentence(count, drives, mine, tmp_path):
    code, printed = mine(drives, "--out", tmp_path / "out", "--gpus-per-worker", count, ray=())
    assert code == 2
    assert "--gpus-per-worker must be " in printed


def test_a_folder_named_ray_is_not_ray(tmp_path, monkeypatch):
    (tmp_path / "ray").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert not has_ray()


def test_the_whole_session_ends_and_no_other_process(tmp_path):
    script = "sleep 600 & sh -c 'sleep 600 & sleep 600' & echo; wait"
    other = subprocess.Popen(["sleep", "600"])
    leader = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)
    leader.stdout.read(1)
    folder = tmp_path / "folder"
    folder.mkdir()
    leader.kill()
    end_session(leader.pid, str(folder))
    stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if _is_running(path.parent.name)]
    assert not [stat for stat in stats if stat.rpartition(")")[2].split()[3] == str(leader.pid)]
    assert not folder.exists()
    assert other.poll() is None
    other.kill()
    other.wait()
    leader.communicate()


def test_files_go_where_the_names_of_sockets_are_short_enough(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(deep))
    folder = Path(make_folder())
    assert folder.parent != deep
    assert not list(deep.iterdir())
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    monkeypatch.setattr("stride_ros.mining.ray_session.LONGEST", 5)
    with pytest.raises(ConfigError, match="RAY_TMPDIR"):
        make_folder()


def test_a_worker_says_what_its_node_cannot_read(drives, checkpoint, tmp_path, monkeypatch):
    from stride_ros.mining.jobs import Job
    from stride_ros.mining.settings import Settings

    monkeypatch.setattr("stride_ros.mining.ray_actor._node", lambda: "10.0.0.2")
    actor = Actor(Settings(queries=("Tell me.",), model=str(checkpoint)), Home.here())
    assert actor.load().problem == ""
    there, missing = (
        Job(number, str(path), "", "") for number, path in ((1, drives / "sqlite"), (2, tmp_path / "no"))
    )
    report = actor.step((there, missing))
    assert (report.unread, report.node) == ((missing.path,), "10.0.0.2")


def test_another_model_on_a_node_is_one_sentence(checkpoint, monkeypatch):
    from stride_ros.mining.settings import Settings

    monkeypatch.setattr("stride_ros.mining.ray_actor._node", lambda: "10.0.0.2")
    settings = Settings(queries=("Tell me.",), model=str(checkpoint), weights="of another one")
    home = Home(os.getcwd(), {}, node="10.0.0.1")
    assert (
        Actor(settings, home)
        .load()
        .problem.startswith(f"On node 10.0.0.2: the model in {checkpoint} differs")
    )
    assert Actor(settings, Home(os.getcwd(), {}, node="10.0.0.2")).load().problem == ""


def test_a_worker_has_the_folder_and_threads_of_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    Home("/", {"MKL_NUM_THREADS": "3"}).enter()
    assert os.getcwd() == "/"
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ.pop("MKL_NUM_THREADS") == "3"


CREATION = (
    "The actor died because of an error raised in its creation task, \x1b[36mray::Actor.__init__()\x1b[39m "
    "(pid=26267, ip=10.0.0.2, actor_id=f1, repr=<x>)\n"
)


def test_a_module_that_a_node_lacks_is_named():
    error = RuntimeError(f"{CREATION}ModuleNotFoundError: No module named 'stride_ros'\n")
    assert lacking(error).startswith(
        "Node 10.0.0.2 of the cluster lacks the Python module stride_ros; install"
    )
    assert lacking(RuntimeError("The actor died unexpectedly.")) == ""


def test_the_end_of_a_worker_is_its_error():
    assert ended(RuntimeError(f"{CREATION}  File x\nMemoryError: no room.")).reason == "MemoryError: no room"
    assert ended(OSError("\x1b[36mfirst\x1b[39m\nsecond")).reason == "OSError: first"


@pytest.mark.parametrize(
    ("error", "address", "expected"),
    [
        (RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.59\n    Python: 3.11"),
         "a:1", "The Ray cluster at a:1 has other versions (Version mismatch: The cluster was started with: "
         "Ray: 2.59 Python: 3.11); install the same on every node."),
        (RuntimeError(f"Token authentication is enabled but no token was found. {'More. ' * 100}"), "auto",
         "copy ~/.ray/auth_token of its first machine here."),
        (ConnectionError("Could not find any running Ray instance."), "auto",
         "No Ray cluster runs on this machine; start one with `ray start --head`, or name one with --ray."),
        (OSError("No space left on device"), None,
         "Ray cannot be started on this machine (No space left on device); free "),
        (ValueError(""), None, "Ray cannot be started on this machine (ValueError); free "),
    ],
)  # fmt: skip
def test_why_ray_cannot_be_used_is_one_sentence_with_the_remedy(error, address, expected):
    sentence = refusal(error, address)
    assert expected in sentence
    assert len(sentence) < 420
    assert "\n" not in sentence
