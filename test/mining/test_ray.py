"""Mining on Ray: on this machine and on a cluster of two nodes, with the results of plain processes."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest

from stride_ros.mining import ray_pool
from stride_ros.mining.ray_pool import RayPool

from .conftest import ASKED

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="Ray is missing; install it with: pip install -r requirements-fleet.txt")

EMBEDDED = ()  # Ray is used where it is installed


@pytest.fixture
def undisturbed(drives, mine, results, workers, tmp_path):
    """The results of workers in this process; not all paths are text."""
    shutil.copytree(drives / "sqlite", drives / os.fsdecode(b"dr\xefve"))
    assert mine(drives, "--out", tmp_path / "undisturbed")[0] == 0
    return results(tmp_path / "undisturbed")


def _processes(words=b""):
    """Number, parent and session of all running processes with these words in their command line."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX" and words in (path / "cmdline").read_bytes():
                yield int(path.name), int(fields[1]), int(fields[3])


def _of_session(session, words=b""):
    return [number for number, _, its_session in _processes(words) if its_session == session]


def _shared():
    return {name for name in os.listdir("/dev/shm") if "plasma" in name or "ray" in name.lower()}


@pytest.fixture
def tidy(tmp_path_factory, monkeypatch):
    """Ray leaves no files where it has them, in shared memory, and in the user's home."""
    folder = Path("/tmp").resolve() / f"stride-{os.getpid()}"  # short, as the names of sockets must be
    folder.mkdir()
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    monkeypatch.setenv("HOME", str(home))
    before = _shared()
    yield
    left = [path.name for path in folder.glob("ray-*")]
    shutil.rmtree(folder)
    assert not left
    assert _shared() <= before
    assert not (home / ".ray").exists()


class KillingPool(RayPool):
    """Kills a worker when the first recording is over."""

    killed: ClassVar[int] = 0
    session: ClassVar[int] = 0

    def wait(self, seconds):
        answers = super().wait(seconds)
        if not self.killed and any(getattr(answer, "results", ()) for _, answer in answers):
            type(self).session = self._process.pid
            type(self).killed = _of_session(self.session, b"ray::Actor")[0]
            os.kill(self.killed, signal.SIGKILL)
        return answers


def test_ray_on_this_machine_gives_the_same_and_replaces_what_is_killed(
    drives, mine, results, undisturbed, tmp_path, monkeypatch, tidy
):
    monkeypatch.setattr(ray_pool, "RayPool", KillingPool)
    monkeypatch.setenv("RAY_ADDRESS", "203.0.113.1:6379")  # for other programs
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "missing"))
    words = (drives, "--out", tmp_path / "out", "--workers", 2, "--streams-per-worker", 2)
    code, printed = mine(*words, ray=EMBEDDED)
    assert code == 0, printed
    assert KillingPool.killed
    assert results(tmp_path / "out") == undisturbed
    assert not _of_session(KillingPool.session)
    notes, lines = printed.splitlines()[3:], printed.splitlines()[:3]
    assert lines[0] == "8 recordings: 8 mined."
    assert [note[:17] for note in notes] == ["Note: stride-tiny"]  # and nothing that Ray has to say


def test_modules_in_the_current_folder_are_not_mistaken_for_ours(
    drives, results, undisturbed, tmp_path, tidy
):
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("json", "queue", "torch", "ray"):
        (folder / f"{name}.py").write_text("raise SystemExit('not this one')")
    program = Path(__file__).parents[2] / "scripts" / "stride-ros"
    words = [os.path.relpath(drives, folder), "--out", tmp_path / "out", *ASKED]
    done = subprocess.run(
        [sys.executable, program, "mine", *map(os.fspath, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Note: stride-tiny only knows")
    assert len(done.stderr.splitlines()) == 1
    found = results(tmp_path / "out")
    assert sorted(found.documents.values()) == sorted(undisturbed.documents.values())


@pytest.fixture
def started(drives, undisturbed, tmp_path, hears_ctrl_c, tidy):
    """A command in a session of its own."""
    words = ["mine", str(drives), "--out", str(tmp_path / "out"), *ASKED, "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "stride_ros", *words, "--streams-per-worker", "1"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    process.kill()
    process.communicate()


def _host(process):
    """The session of the process that talks to Ray, once it has one."""
    found = (
        number for number, parent, session in _processes() if parent == process.pid and session == number
    )
    return next(found, 0)


def _has_entry(out):
    return '"entry"' in (out / "mining.jsonl").read_text()


MOMENTS = {
    "Ray's first process": lambda host, out: _of_session(host, b"gcs_server"),
    "its raylet": lambda host, out: _of_session(host, b"raylet/raylet"),
    "a worker that loads": lambda host, out: _of_session(host, b"ray::Actor"),
    "a recording that is mined": lambda host, out: _has_entry(out),
}


def _await(process, moment, out):
    """Wait for a moment; the session of Ray."""
    deadline = time.monotonic() + 240
    while not ((host := _host(process)) and MOMENTS[moment](host, out)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return host


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_any_moment_ends_ray_and_keeps_what_is_done(
    number, moment, started, drives, mine, results, undisturbed, tmp_path
):
    session = _await(started, moment, tmp_path / "out")
    os.killpg(started.pid, number)
    printed, told = started.communicate(timeout=60)
    assert not _of_session(session)
    assert started.returncode == 130
    assert "run the same command to continue" in printed
    assert told == "stride-ros mine: stopped.\n"
    done = results(tmp_path / "out").documents
    assert f"{len(done)} of 8 " in printed
    assert all(undisturbed.documents[origin] == document for origin, document in done.items())
    assert mine(drives, "--out", tmp_path / "out")[0] == 0
    assert results(tmp_path / "out") == undisturbed


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_driver_that_is_killed_takes_ray_along(moment, started, tmp_path):
    session = _await(started, moment, tmp_path / "out")
    started.kill()
    started.wait()
    deadline = time.monotonic() + 120
    while _of_session(session):
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Nodes:
    """A cluster of two nodes with one CPU each, as `ray start` makes it, each in a session of its own."""

    def __init__(self):
        self._nodes = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._start("--head", f"--port={port}", "--include-dashboard=false")
        self._start(f"--address={self.address}")

    def _start(self, *words):
        options = ["--num-cpus=1", "--object-store-memory=100000000", "--block"]
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *words, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            cwd="/",  # where relative paths must not begin
        )
        self._nodes.append(process)
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ray runtime started" in line:
                return
        raise AssertionError(lines)

    def workers(self):
        """How many are on each node."""
        return [len(_of_session(node.pid, b"ray::Actor")) for node in self._nodes]

    def kill(self, number):
        """End a node at once."""
        for process in _of_session(self._nodes[number].pid):
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)

    def end(self):
        """End all nodes."""
        for number, node in enumerate(self._nodes):
            self.kill(number)
            node.communicate()


@pytest.fixture
def cluster(tidy, monkeypatch):
    """A cluster with a token."""
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")  # 60 by default
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
    nodes = Nodes()
    yield nodes
    nodes.end()


@pytest.fixture
def when_one_is_mined(monkeypatch):
    """Things to do when the first recording is over."""
    happens = []

    class WatchedPool(RayPool):
        def wait(self, seconds):
            answers = super().wait(seconds)
            if happens and any(getattr(answer, "results", ()) for _, answer in answers):
                happens.pop()()
            return answers

    monkeypatch.setattr(ray_pool, "RayPool", WatchedPool)
    return happens


def test_the_work_is_spread_over_the_nodes_of_a_cluster(
    drives, mine, results, undisturbed, tmp_path, cluster, when_one_is_mined
):
    seen = []
    when_one_is_mined.append(lambda: seen.append(cluster.workers()))
    words = (drives, "--out", tmp_path / "out", "--streams-per-worker", 1)
    code, printed = mine(*words, ray=("--ray", cluster.address))
    assert code == 0, printed
    assert seen == [[1, 1]]
    assert results(tmp_path / "out") == undisturbed


def test_a_node_that_ends_is_done_without(
    drives, mine, results, undisturbed, tmp_path, cluster, when_one_is_mined
):
    when_one_is_mined.append(lambda: cluster.kill(1))
    words = (drives, "--out", tmp_path / "out", "--streams-per-worker", 1)
    code, printed = mine(*words, ray=("--ray", cluster.address))
    assert code == 0, printed
    assert results(tmp_path / "out") == undisturbed


def test_a_cluster_that_ends_is_one_sentence_and_what_is_done_is_kept(
    drives, mine, results, undisturbed, tmp_path, monkeypatch, cluster, when_one_is_mined
):
    def end():
        cluster.kill(0)
        monkeypatch.setattr(ray_pool.RayPool, "send", lambda *job: None)  # what is left is not soon done

    when_one_is_mined.append(end)
    words = (drives, "--out", tmp_path / "out", "--streams-per-worker", 1)
    code, printed = mine(*words, ray=("--ray", cluster.address))
    assert code == 2
    assert f"The connection to Ray on {cluster.address} was lost; check" in printed
    assert len(printed.splitlines()) == 1
    done = len(list((tmp_path / "out" / "runs").iterdir()))
    assert 0 < done < 8
    assert f"{done} done before" in mine(drives, "--out", tmp_path / "out")[1]
    assert results(tmp_path / "out") == undisturbed


def test_a_model_is_found_from_the_folder_of_the_command(
    drives, mine, results, checkpoint, tmp_path, monkeypatch, cluster
):
    shutil.copytree(checkpoint, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    words = ("drives/monday", "--model", "model")
    for out, ray in (("plain", ("--no-ray",)), ("out", ("--ray", cluster.address))):
        code, printed = mine(*words, "--out", out, ray=ray)
        assert code == 0, printed
    assert results(tmp_path / "out") == results(tmp_path / "plain")


TAKES_ALL = """
import ray, sys
ray.init(sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=1)
class Other:
    def here(self): pass
others = [Other.remote() for _ in range(2)]
ray.get([other.here.remote() for other in others])
print("taken", flush=True)
sys.stdin.read()
"""


def test_a_full_cluster_is_said_and_waited_for(
    drives, mine, results, undisturbed, tmp_path, monkeypatch, cluster
):
    other = subprocess.Popen(
        [sys.executable, "-c", TAKES_ALL, cluster.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "taken\n"

    class WatchedPool(RayPool):
        def __init__(self, *arguments, tell, **options):
            def told(text):
                tell(text)
                other.stdin.close()  # with which it ends

            super().__init__(*arguments, tell=told, **options)

    monkeypatch.setattr(ray_pool, "RayPool", WatchedPool)
    code, printed = mine(drives, "--out", tmp_path / "out", ray=("--ray", cluster.address))
    other.stdin.close()
    other.wait()
    other.stdout.close()
    assert code == 0, printed
    assert "Note: All CPUs of the cluster are reserved by others" in printed
    assert results(tmp_path / "out") == undisturbed


def test_more_gpus_than_there_are_is_one_sentence(drives, mine, tmp_path, tidy):
    code, printed = mine(drives, "--out", tmp_path / "out", "--gpus-per-worker", 64, ray=EMBEDDED)
    assert code == 2
    assert "needs 64 GPUs" in printed
    assert len(printed.splitlines()) == 1
