"""A folder of small recordings, and what a folder of results holds."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stride_ros.errors import StrideError
from stride_ros.mining import pool
from stride_ros.mining.jobs import Death, Job, Report
from stride_ros.mining.worker import Worker

if TYPE_CHECKING:
    from stride_ros.mining.settings import Settings

pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
QUERIES = ("Tell me when a hand is in view.", "Tell me when a red box is on the table.")
ASKED = tuple(word for query in QUERIES for word in ("--query", query))


@pytest.fixture(scope="session")
def made_drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of 24 s: bags as folders and as files, in both formats, and a video."""
    from stride_ros.sources.world_bag import write_bag, write_video
    from stride_ros.world import World

    folder = tmp_path_factory.mktemp("made") / "drives"
    (folder / "monday").mkdir(parents=True)

    def world(seed: int) -> World:
        return World(seed=seed, seconds=24, size=(96, 64), fps=5)

    for seed in range(4):
        write_bag(world(seed), folder / "monday" / f"drive_{seed}")
    write_bag(world(4), folder / "sqlite", storage="sqlite3")
    write_bag(world(5), folder / "single")
    shutil.move(next((folder / "single").glob("*.mcap")), folder / "alone.mcap")
    shutil.rmtree(folder / "single")
    write_video(world(6), folder / "clip.mp4")
    return folder


@pytest.fixture
def drives(made_drives: Path, tmp_path: Path) -> Path:
    """The same in a folder of the test's own."""
    return Path(shutil.copytree(made_drives, tmp_path / "drives"))


class InlinePool:
    """Workers in this process: what they are given is seen, and they end where a test says so.

    `given`: the paths of all jobs, `together`: the most that a worker had at a time. `deadly`: by the end of
    a path, how often its worker ends. `silent`: how many workers end before they are ready.
    """

    given: list[str]
    deadly: dict[str, int]
    together: int
    silent: int

    def __init__(self, settings: Settings, size: int) -> None:
        self.size, self._settings = size, settings
        self._workers: dict[int, Worker] = {}
        self._paths: dict[int, dict[int, str]] = {}
        self._answers: list[tuple[int, Report | Death]] = []

    def start(self, number: int) -> None:
        cls = type(self)
        self._paths[number] = {}
        if cls.silent:
            cls.silent -= 1
            self._answers.append((number, Death("SIGKILL")))
            return
        try:
            self._workers[number] = Worker(self._settings)
            self._answers.append((number, Report()))
        except StrideError as error:
            self._answers.append((number, Report(problem=str(error))))

    def send(self, number: int, jobs: Sequence[Job]) -> None:
        cls = type(self)
        paths = self._paths[number]
        paths.update({job.number: job.shown for job in jobs})
        cls.given += [job.shown for job in jobs]
        cls.together = max(cls.together, len(paths))
        for path in paths.values():
            end = next((end for end in cls.deadly if path.endswith(end)), None)
            if end is not None and cls.deadly[end]:
                cls.deadly[end] -= 1
                self._answers.append((number, Death("SIGKILL")))
                return
        report = self._workers[number].step(jobs)
        for result in report.results:
            del paths[result.number]
        self._answers.append((number, report))

    def wait(self, seconds: float) -> list[tuple[int, Report | Death]]:
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        self._workers.clear()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> type[InlinePool]:
    """Lets mining use workers in this process."""
    InlinePool.given, InlinePool.deadly, InlinePool.together, InlinePool.silent = [], {}, 0, 0
    monkeypatch.setattr(pool, "ProcessPool", InlinePool)
    return InlinePool


@pytest.fixture
def mine(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs `stride-ros mine` with plain processes; its exit code and what it printed."""
    from stride_ros.cli import main

    def run(*words: Any, queries: tuple[str, ...] = ASKED, ray: tuple[str, ...] = ("--no-ray",)) -> Any:
        capfd.readouterr()
        try:
            code = main(["mine", *map(str, words), *queries, *ray])
        except SystemExit as told:  # by argparse
            code = told.code
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    return run


@pytest.fixture(scope="session")
def replayed() -> Callable[[Path, Path], bytes]:
    """What `stride-ros replay --json` writes about a recording."""
    from stride_ros.cli import main

    known: dict[Path, bytes] = {}

    def run(recording: Path, folder: Path) -> bytes:
        if recording not in known:
            with contextlib.redirect_stdout(io.StringIO()):
                assert main(["replay", str(recording), *ASKED, "--json", str(folder / "run.json")]) == 0
            known[recording] = (folder / "run.json").read_bytes()
        return known[recording]

    return run


@pytest.fixture
def results() -> type[Any]:
    """Reads a folder of results, to be compared with another one's."""
    from soak_mining import Results

    return Results
