"""Serve cameras and queries in one way, in a separate process; see `stride_ros.benchmark.revisions`.

Run by `revisions` with the modules of any checkout that has sessions, so it imports only what they all have.
Reads numbers of ticks from standard input, one per line, and answers each with a line of JSON: cpu_ms and
wall_ms (per tick of all cameras), labels (a checksum for each decision), resident and proportional (bytes of
memory, the latter with its share of what several processes map), state (bytes), package (its location).
"""

from __future__ import annotations

import argparse
import json
import sys
import time as clock
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import stride_ros
from stride_ros.activation import ActivationConfig, ActivationModel, ActivationSession
from stride_ros.world.world import World

Tick = Callable[[Sequence[Any], float], Sequence[Any]]


def serve(
    model: ActivationModel, config: ActivationConfig, cameras: int, queries: list[str], batched: bool
) -> tuple[Tick, Callable[[], int]]:
    """Return a function from a frame of each camera to decisions, and one for the bytes of the state."""
    if batched:
        from stride_ros.activation import ActivationEngine

        engine = ActivationEngine(model, config, keep_features=False)
        streams = [engine.open_stream(f"camera{index}") for index in range(cameras)]
        for stream in streams:
            for query in queries:
                stream.watch(query)

        def push(frames: Sequence[Any], time: float) -> Sequence[Any]:
            return engine.push({stream: (frame, time) for stream, frame in zip(streams, frames, strict=True)})

        return push, lambda: engine.memory_bytes
    sessions = [[ActivationSession(model, query, config) for query in queries] for _ in range(cameras)]

    def push_each(frames: Sequence[Any], time: float) -> Sequence[Any]:
        pairs = zip(sessions, frames, strict=True)
        return [session.push(frame, time) for of_camera, frame in pairs for session in of_camera]

    return push_each, lambda: sum(session.memory_bytes for each in sessions for session in each)


def memory() -> tuple[int, int]:
    """Resident and proportional bytes of this process."""
    rows = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    resident, proportional = (int(rows[name].split()[0]) * 1024 for name in ("Rss", "Pss"))
    return resident, proportional


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--cameras", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="number of the first camera")
    parser.add_argument("--query", action="append", dest="queries", required=True)
    parser.add_argument("--batched", action="store_true")
    options = parser.parse_args()
    model = ActivationModel.load(options.model, device="cpu", threads=1)
    tick, kept = serve(model, ActivationConfig(), options.cameras, options.queries, options.batched)
    worlds = [World(seed=options.first + index, seconds=3600.0) for index in range(options.cameras)]
    now = 0
    for line in sys.stdin:
        count = int(line)
        cpu = wall = 0.0
        labels = []
        for _ in range(count):
            frames = [world.frame(float(now)) for world in worlds]
            begin, begin_cpu = clock.perf_counter(), clock.process_time()
            updates = tick(frames, float(now))
            cpu += clock.process_time() - begin_cpu
            wall += clock.perf_counter() - begin
            labels.append([zlib.crc32(update.labels.tobytes()) for update in updates])
            now += 1
        resident, proportional = memory()
        answer = {
            "cpu_ms": 1e3 * cpu / count,
            "wall_ms": 1e3 * wall / count,
            "labels": labels,
            "resident": resident,
            "proportional": proportional,
            "state": kept(),
            "package": stride_ros.__path__[0],
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
