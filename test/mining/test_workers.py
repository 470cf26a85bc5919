"""Workers: those that end are replaced, the driver may be stopped or killed, and the result is the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest

from stride_ros.mining import pool
from stride_ros.mining.pool import ProcessPool

from .conftest import ASKED, InlinePool

pytestmark = pytest.mark.slow


@pytest.fixture
def undisturbed(drives, mine, results, workers, tmp_path):
    """The results of all recordings where nothing went wrong."""
    assert mine(drives, "--out", tmp_path / "undisturbed")[0] == 0
    workers.given.clear()
    return results(tmp_path / "undisturbed")


def test_what_a_worker_had_is_mined_by_another_one(drives, mine, results, workers, undisturbed, tmp_path):
    workers.deadly = {"drive_1": 1}
    code, printed = mine(drives, "--out", tmp_path / "out", "--workers", 2, "--streams-per-worker", 3)
    assert code == 0
    assert "7 mined" in printed
    assert results(tmp_path / "out") == undisturbed


def test_a_recording_that_ends_workers_is_given_up_and_those_beside_it_are_mined(
    drives, mine, results, workers, tmp_path
):
    workers.deadly = {"drive_1": 100}
    monday = drives / "monday"
    code, printed = mine(monday, "--out", tmp_path / "out", "--workers", 1, "--streams-per-worker", 4)
    assert code == 0
    assert "3 mined, 1 could not be used" in printed
    assert "drive_1 was not mined, since its worker ended 3 times in a row (SIGKILL)" in printed
    assert workers.given.count(str(monday / "drive_1")) == 3
    assert all(workers.given.count(str(monday / f"drive_{number}")) <= 2 for number in (0, 2, 3))
    workers.deadly = {}
    assert "1 mined, 3 done before" in mine(monday, "--out", tmp_path / "out")[1]
    mine(monday, "--out", tmp_path / "anew")
    assert results(tmp_path / "out") == results(tmp_path / "anew")


def test_workers_that_cannot_start_end_it(drives, mine, workers, tmp_path):
    workers.silent = 100
    code, printed = mine(drives, "--out", tmp_path / "out", "--workers", 1)
    assert code == 2
    assert "3 times in a row while loading the model" in printed


def test_a_worker_mines_several_recordings_together(drives, mine, workers, tmp_path):
    mine(drives, "--out", tmp_path / "out", "--workers", 1, "--streams-per-worker", 3)
    assert workers.together == 3


class SlowStart(InlinePool):
    """Workers in this process, of which all but the first are ready only when the first has begun."""

    shares: ClassVar[dict[int, int]] = {}  # how many recordings each has had

    def __init__(self, settings, size):
        super().__init__(settings, size)
        self._late = []

    def start(self, number):
        super().start(number)
        if number:
            self._late.append(self._answers.pop())

    def send(self, number, jobs):
        self.shares[number] = self.shares.get(number, 0) + len(jobs)
        super().send(number, jobs)
        self._answers += self._late
        self._late = []


def test_the_first_worker_that_is_ready_leaves_the_others_their_share(
    drives, mine, workers, tmp_path, monkeypatch
):
    monkeypatch.setattr(pool, "ProcessPool", SlowStart)
    monkeypatch.setattr("stride_ros.mining.worker.STEP_SECONDS", 0.01)  # so that both get on at the same pace
    SlowStart.shares.clear()
    mine(drives, "--out", tmp_path / "out", "--workers", 2, "--streams-per-worker", 8)
    assert sorted(SlowStart.shares.values()) == [3, 4]


class Killed(ProcessPool):
    """Plain processes, of which one is killed when the first recording is over."""

    kills = 1

    def wait(self, seconds):
        answers = super().wait(seconds)
        over = any(getattr(answer, "results", ()) for _, answer in answers)
        if over and self.kills:
            type(self).kills -= 1
            process = next(iter(self._workers.values()))[0]
            os.kill(process.pid, signal.SIGKILL)
        return answers


def test_a_worker_that_is_killed_is_replaced(drives, mine, results, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "ProcessPool", Killed)
    code, printed = mine(drives, "--out", tmp_path / "out", "--workers", 2, "--streams-per-worker", 2)
    assert code == 0, printed
    assert Killed.kills == 0
    assert results(tmp_path / "out") == undisturbed


def test_the_installed_program_can_start_workers(drives, results, undisturbed, tmp_path):
    # A worker imports the program that starts it, which must not run once more there.
    program = Path(__file__).parents[2] / "scripts" / "stride-ros"
    words = ["mine", drives, "--out", tmp_path / "out", *ASKED, "--no-ray", "--workers", 1]
    done = subprocess.run(
        [sys.executable, program, *map(str, words)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "out") == undisturbed


@pytest.fixture
def started(drives, undisturbed, tmp_path, hears_ctrl_c):
    """A run of its own that has mined its first recording, held there; SIGCONT lets it go on."""
    words = ["mine", str(drives), "--out", str(tmp_path / "out"), *ASKED, "--no-ray", "--workers", "1"]
    words += ["--streams-per-worker", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "stride_ros", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    journal = tmp_path / "out" / "mining.jsonl"
    deadline = time.monotonic() + 240
    while not (journal.exists() and '"entry"' in journal.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    yield process
    process.kill()
    process.communicate()


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def _await_end(pids):
    deadline = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_what_is_done_and_the_same_command_goes_on(
    number, started, drives, mine, results, undisturbed, tmp_path
):
    children = _children(started.pid)
    started.send_signal(number)
    started.send_signal(signal.SIGCONT)
    printed, told = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "run the same command to continue" in printed
    assert told.strip() == "stride-ros mine: stopped."
    _await_end(children)
    done = results(tmp_path / "out")
    assert 0 < len(done.documents) < 7
    assert all(undisturbed.documents[origin] == document for origin, document in done.documents.items())
    assert f"{len(done.documents)} done before" in mine(drives, "--out", tmp_path / "out")[1]
    assert results(tmp_path / "out") == undisturbed


def test_a_driver_that_is_killed_takes_its_workers_along_and_is_gone_on_with(
    started, drives, mine, results, undisturbed, tmp_path
):
    children = _children(started.pid)
    assert children
    started.kill()
    started.wait()
    _await_end(children)
    code, printed = mine(drives, "--out", tmp_path / "out")
    assert code == 0, printed
    assert "done before" in printed
    assert results(tmp_path / "out") == undisturbed


def test_what_a_killed_run_has_left_is_removed_and_what_others_have_put_there_stays(
    drives, mine, results, workers, undisturbed, tmp_path
):
    out = tmp_path / "undisturbed"
    left = [
        "runs/.drive_1-85a4679f373dff8b.0123456789abcdef.json",
        "runs/drive_9-0123456789abcdef.json",  # begun in the journal, and without an entry
        "pictures/.85a4679f373dff8b85a4679f.0123456789abcdef.jpg",
        ".index.0123456789abcdef.html",
    ]
    others = ["runs/notes.json", "runs/precious-0123456789abcdef.json", ".hidden", "pictures/cover.jpg"]
    for name in left + others:
        (out / name).write_text("cut o")
    with (out / "mining.jsonl").open("a") as journal:
        journal.write('{"begun":"runs/drive_9-0123456789abcdef.json"}\n')
    assert mine(drives, "--out", out)[0] == 0
    assert [name for name in left + others if (out / name).exists()] == others
    for name in others[:2]:
        (out / name).unlink()
    assert results(out) == undisturbed


def test_only_the_workers_load_torch(drives, results, undisturbed, tmp_path):
    """It takes a second, for which all workers would wait, and a driver needs no model."""
    program = tmp_path / "mine.py"
    program.write_text(
        "import sys\n"
        "if __name__ == '__main__':\n"
        "    sys.modules['torch'] = None\n"
        "    from stride_ros.cli import main\n"
        "    raise SystemExit(main(sys.argv[1:]))\n"
    )
    words = ["mine", drives, *ASKED, "--out", tmp_path / "out", "--no-ray"]
    done = subprocess.run(
        [sys.executable, program, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "out") == undisturbed
