#!/usr/bin/env python3
"""How many recordings two cores mine in a given time, beside `replay` in a shell loop and with xargs.

    python -m stride_ros.benchmark.mining                             # 20 recordings of 10 minutes
    python -m stride_ros.benchmark.mining --count 20 --seconds 60 --rounds 3
    python -m stride_ros.benchmark.mining --model interlive/STRIDE-2B --recordings drives/

Makes bags of the synthetic world, or takes those in `--recordings`, and in turn

- runs `stride-ros replay BAG --json FILE` for one after another, as a shell loop does;
- runs the same with `xargs -P 2`;
- runs `stride-ros mine` on all of them, with plain processes and, where it is installed, on Ray.

Each starts from nothing: loading Python and the model is part of its time. All run with OMP_NUM_THREADS=1,
so that none takes more cores than its processes. Checks that all of them find the same runs, byte for byte,
and prints the hours of video that each gets through in an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from stride_ros.mining.finding import find_recordings
from stride_ros.mining.ray_pool import has_ray

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, str(ROOT / "scripts" / "stride-ros"))
QUERY = "Tell me when a hand is in view."
SIZE = 320, 240
FIRST = "replay in a loop"


def make_bag(seed: int, seconds: float, folder: Path) -> None:
    """Write a bag of the world with JPEG images, five a second."""
    from stride_ros.sources.world_bag import write_bag
    from stride_ros.world import World

    write_bag(World(seed=seed, seconds=seconds, size=SIZE, fps=5), folder / f"drive_{seed:03}")


def spent(command: Sequence[str | Path], standard_input: bytes = b"") -> float:
    """Seconds that a command takes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    subprocess.run(
        [str(word) for word in command],
        input=standard_input,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def video_seconds(run: bytes) -> float:
    """The length of the recording that a run is about."""
    return float(json.loads(run)["source"]["seconds"])


class Race:
    """The recordings, and the ways to get through them."""

    def __init__(self, recordings: Sequence[Path], folder: Path, options: Sequence[str]) -> None:
        self.recordings, self.folder, self.options = recordings, folder, list(options)
        self.ways = {
            FIRST: lambda out: self._replays(out, 1),
            "xargs -P 2 replay": lambda out: self._replays(out, 2),
            "mine --no-ray": lambda out: self._mine(out, "--no-ray"),
        }
        if has_ray():
            self.ways["mine on Ray"] = self._mine

    def _replays(self, out: Path, processes: int) -> float:
        lines = [
            shlex.join([*PROGRAM, "replay", str(path), *self.options, "--json", str(out / f"{number}.json")])
            for number, path in enumerate(self.recordings)
        ]
        every = ["xargs", "-P", str(processes), "-I{}", "-d", "\n", "sh", "-c", "{}"]
        return spent(every, "\n".join(lines).encode())

    def _mine(self, out: Path, *more: str) -> float:
        return spent([*PROGRAM, "mine", *self.recordings, *self.options, "--out", out, *more])

    def run(self, name: str, round_: int) -> tuple[float, list[bytes]]:
        """Seconds, and the runs that were written, in one order for all ways."""
        out = self.folder / f"{name.replace(' ', '_')}_{round_}"
        out.mkdir()
        seconds = self.ways[name](out)
        return seconds, sorted(path.read_bytes() for path in out.rglob("*.json"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each way."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="recordings to make (default 20)")
    parser.add_argument("--seconds", type=float, default=600, help="length of each (default 600)")
    parser.add_argument("--recordings", nargs="+", default=[], metavar="PATH", help="use these instead")
    parser.add_argument("--rounds", type=int, default=1, help="default 1")
    parser.add_argument("--query", default=QUERY, help=f'default "{QUERY}"')
    parser.add_argument("--model", default="stride-tiny", help="default stride-tiny")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        paths: list[str | Path] = chosen.recordings
        if not paths:
            bags = folder / "drives"
            bags.mkdir()
            with ProcessPoolExecutor(2) as makers:
                list(
                    makers.map(
                        make_bag, range(chosen.count), [chosen.seconds] * chosen.count, [bags] * chosen.count
                    )
                )
            paths = [bags]
        recordings = [recording.path for recording in find_recordings(paths, folder / "none")]
        race = Race(recordings, folder, ["--query", chosen.query, "--model", chosen.model])
        took: dict[str, list[float]] = {name: [] for name in race.ways}
        hours = 0.0
        found: list[bytes] | None = None
        for round_ in range(chosen.rounds):
            for name in race.ways:
                seconds, runs = race.run(name, round_)
                took[name].append(seconds)
                if found is None:
                    found = runs
                    hours = sum(video_seconds(run) for run in runs) / 3600
                if runs != found:
                    raise SystemExit(f"{name} found other runs than the first way; please report it.")
    print(f"{len(recordings)} recordings, {hours:.2f} h of video, load {os.getloadavg()[0]:.1f} at the end\n")
    print("| | s | hours of video an hour | times the loop |\n|---|---|---|---|")
    middle = {name: statistics.median(seconds) for name, seconds in took.items()}
    for name, seconds in middle.items():
        print(f"| {name} | {seconds:.0f} | {hours * 3600 / seconds:.0f} | {middle[FIRST] / seconds:.2f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
