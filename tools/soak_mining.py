#!/usr/bin/env python3
"""Mines many small recordings, and again with a killed driver and a killed worker; both must find the same.

    python tools/soak_mining.py                         # 200 recordings of 60 s
    python tools/soak_mining.py --count 20 --no-ray     # plain processes also where Ray is installed
    python tools/soak_mining.py --ray auto              # on a cluster that is there

Of the recordings two are the same, one is in another format, one has no images, and three are broken in
different ways. Checks that the runs are those of `stride-ros replay`, byte for byte, that a second run does
nothing, and that what is kept after the kills equals the results of the undisturbed run: events, pictures,
runs and page. Exit code 1 when something is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stride_ros.bags.messages import commentary  # noqa: E402
from stride_ros.bags.writer import BagWriter  # noqa: E402
from stride_ros.events.search import EventReader, Search  # noqa: E402
from stride_ros.mining.ray_pool import has_ray  # noqa: E402
from stride_ros.sources.world_bag import write_bag  # noqa: E402
from stride_ros.world import World  # noqa: E402

PROGRAM = (sys.executable, str(ROOT / "scripts" / "stride-ros"))
QUERIES = ("Tell me when a hand is in view.", "Tell me when a red box is on the table.")
ASKED = [word for query in QUERIES for word in ("--query", query)]
SPECIAL = 6  # recordings beside the plain ones: a copy, one without images, one of SQLite, three broken


def make_bag(seed: int, seconds: float, folder: Path, storage: str = "mcap") -> Path:
    """Write a bag of the world; its path."""
    path = folder / f"drive_{seed:03}"
    write_bag(World(seed=seed, seconds=seconds, size=(160, 120), fps=5), path, storage=storage)
    return path


def make_recordings(count: int, seconds: float, folder: Path) -> None:
    """Write so many bags, a few of which are special."""
    folder.mkdir()
    with ProcessPoolExecutor(2) as makers:
        plain = count - SPECIAL
        list(makers.map(make_bag, range(plain), [seconds] * plain, [folder] * plain))
    shutil.copytree(folder / "drive_000", folder / "drive_000_again")
    make_bag(plain, seconds, folder, "sqlite3")
    with BagWriter(folder / "no_images", "mcap") as bag:
        bag.write("/said", commentary(1, "q", "t", stamp=1, frame_id="", model="m"), 1)
    whole = next((folder / "drive_001").glob("*.mcap")).read_bytes()
    (folder / "cut_off.mcap").write_bytes(whole[:40])
    (folder / "empty.mcap").write_bytes(b"")
    (folder / "noise.db3").write_bytes(random.Random(0).randbytes(5000))


class Results:
    """What is kept in a folder of results."""

    def __init__(self, folder: Path) -> None:
        with EventReader(folder / "events.db") as reader:
            self.events = reader.find(Search(limit=None, retracted=True)).events
            self.pictures = {event.key: reader.picture(event.key) for event in self.events}
            self.documents = {origin: reader.run(origin) for origin in reader.origins()}
        self.runs = {path.name: path.read_bytes() for path in (folder / "runs").iterdir()}
        self.page = (folder / "index.html").read_bytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Results) and not self.differences(other)

    __hash__ = None  # type: ignore[assignment]

    def differences(self, other: Results) -> list[str]:
        """The parts that are not the same."""
        return [name for name, value in vars(self).items() if vars(other)[name] != value]


class Mining:
    """Runs of `stride-ros mine` on the same recordings."""

    def __init__(self, recordings: Path, options: Sequence[str]) -> None:
        self._recordings, self._options = recordings, options

    def start(self, out: Path) -> subprocess.Popen[str]:
        """Start one that writes into `out`."""
        words = [*PROGRAM, "mine", str(self._recordings), *ASKED, "--out", str(out), *self._options]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, out: Path) -> tuple[str, float]:
        """Run one to its end; what it printed, and the seconds it took."""
        start = time.perf_counter()
        process = self.start(out)
        printed, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"mine ended with {process.returncode}: {printed}")
        return printed, time.perf_counter() - start


def entries(out: Path) -> dict[str, Any]:
    """What has been done, by place."""
    journal = out / "mining.jsonl"
    lines = journal.read_text().splitlines() if journal.exists() else []
    known: dict[str, Any] = {}
    for line in lines:
        try:
            entry = json.loads(line).get("entry")
        except ValueError:  # it is being written
            continue
        if entry:
            known[entry["place"]] = entry
    return known


def wait_for(process: subprocess.Popen[str], out: Path, count: int) -> None:
    """Wait until so many recordings are done."""
    while len(entries(out)) < count:
        if process.poll() is not None:
            raise SystemExit(
                f"mine has ended before {count} recordings were done: {process.communicate()[0]}"
            )
        time.sleep(0.02)


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and those they have started."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from descendants(child)


def workers(pid: int) -> list[int]:
    """The workers of a driver: Ray's or plain processes; on a cluster those of this machine."""
    names = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            names[path] = (path / "cmdline").read_bytes()
    actors = [int(path.name) for path, words in names.items() if b"ray::Actor" in words]
    plain = [child for child in descendants(pid) if b"spawn_main" in names.get(Path(f"/proc/{child}"), b"")]
    return actors or plain


def unlike_replay(out: Path) -> tuple[int, list[str]]:
    """How many runs there are, and the recordings of those that `stride-ros replay` does not write."""
    mined = [entry for entry in entries(out).values() if entry["file"]]

    def differs(entry: dict[str, Any]) -> bool:
        written = out.with_name(f"{entry['key']}.json")
        words = [*PROGRAM, "replay", entry["origin"], *ASKED, "--json", str(written)]
        subprocess.run(words, check=True, capture_output=True)
        return written.read_bytes() != (out / entry["file"]).read_bytes()

    different = {entry["key"]: entry for entry in mined}
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(differs, different.values()))
    return len(answers), [
        entry["origin"] for entry, other in zip(different.values(), answers, strict=True) if other
    ]


def disturbed(mining: Mining, out: Path, count: int) -> None:
    """Mine, with the driver killed after 40 % of the recordings and a worker after 60 %."""
    process = mining.start(out)
    wait_for(process, out, count * 2 // 5)
    process.kill()
    process.communicate()
    print(f"driver killed after {len(entries(out))} of {count}")
    process = mining.start(out)
    wait_for(process, out, count * 3 // 5)
    victims = workers(process.pid)
    if not victims:
        raise SystemExit("mine ended before a worker could be killed; use more or longer recordings.")
    victim = victims[0]
    os.kill(victim, signal.SIGKILL)
    print(f"worker {victim} killed after {len(entries(out))} of {count}")
    print(process.communicate()[0].strip())
    if process.returncode:
        raise SystemExit(f"mine ended with {process.returncode}.")


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="recordings (default 200)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each (default 60)")
    parser.add_argument("--no-ray", action="store_true", help="see `stride-ros mine`")
    parser.add_argument("--ray", metavar="ADDRESS", help="see `stride-ros mine`")
    parser.add_argument(
        "--no-replay", action="store_true", help="do not compare the runs with those of replay"
    )
    parser.add_argument("--keep", metavar="DIR", help="keep everything there if something differs")
    options = parser.parse_args()
    if options.count < 2 * SPECIAL:
        parser.error(f"use at least {2 * SPECIAL} recordings")
    way = ["--no-ray"] if options.no_ray else ["--ray", options.ray] if options.ray else []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_recordings(options.count, options.seconds, folder / "drives")
        mining = Mining(folder / "drives", way)
        on = "plain processes" if options.no_ray or not has_ray() else f"Ray, {options.ray or 'embedded'}"
        printed, seconds = mining.run(folder / "undisturbed")
        print(f"on {on}, {seconds:.0f} s:\n{printed.strip()}\n")
        printed, seconds = mining.run(folder / "undisturbed")
        print(f"once more, {seconds:.1f} s:\n{printed.strip()}\n")
        known = entries(folder / "undisturbed")
        wrong = (
            []
            if f"{len([e for e in known.values() if e['file']])} done before" in printed
            else ["second run"]
        )
        if not options.no_replay:
            count, other = unlike_replay(folder / "undisturbed")
            print(f"{count} runs of different content compared with those of replay: {len(other)} differ\n")
            wrong += other
        disturbed(mining, folder / "disturbed", len(known))
        differences = Results(folder / "undisturbed").differences(Results(folder / "disturbed"))
        if differences and options.keep:
            shutil.copytree(folder, options.keep, dirs_exist_ok=True)
        print(f"\nparts that differ from the undisturbed results: {differences or 'none'}")
        return 1 if wrong or differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
