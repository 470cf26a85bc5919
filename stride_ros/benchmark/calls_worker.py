"""Run ticks of one camera and one query in a separate process; see `stride_ros.benchmark.calls`.

Run by `calls` with the modules of any checkout that has `Settings.fresh`. Reads lines with a number of ticks
from standard input, and answers each with a line of JSON: cpu_ms (per tick), passes (mean), labels (a
checksum for each tick), calls (of operators, per tick, by name; counted, and so not timed, if the line ends
with `calls`), package (its location).
"""

from __future__ import annotations

import argparse
import json
import sys
import time as clock
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import stride_ros
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.random_model import random_model
from stride_ros.activation.session import ActivationSession
from stride_ros.benchmark.measure import QUERIES, Settings, frame
from stride_ros.benchmark.presets import PRESETS, architecture
from stride_ros.process.threads import use_threads
from stride_ros.training.tokenizer import build_tokenizer
from stride_ros.world.world import World

WARM_UP = 4  # ticks: first use of every shape, and the one without a history


def load(name: str, window: int) -> tuple[ActivationModel, Callable[[int], Any]]:
    """A model, and its camera: a synthetic world, or noise for a preset, whose weights are random."""
    if name not in PRESETS:
        world = World(seed=0, seconds=3600.0)
        return ActivationModel.load(name, device="cpu", threads=1), lambda index: world.frame(float(index))
    use_threads(1)
    model = random_model(architecture(name, window), build_tokenizer(QUERIES), name, device="cpu")
    return model, lambda index: frame(0, index)


def count_calls(work: Callable[[], object]) -> dict[str, int]:
    """Count the calls of each operator, including calls by operators."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as counted:
        work()
    return {event.key: event.count for event in counted.key_averages() if event.key.startswith("aten::")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--window", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    model, camera = load(options.model, options.window)
    settings = Settings(frames=options.frames, drop=options.frames // 2, fresh=options.fresh)
    session = ActivationSession(model, QUERIES[0], replace(settings.config(), decide_every=10**9))
    for index in range(options.frames):
        session.push(camera(index), float(index))
    session.update_config(settings.config())
    now = options.frames
    for now in range(options.frames, options.frames + WARM_UP):
        session.push(camera(now), float(now))
    for line in sys.stdin:
        number, _, how = line.strip().partition(" ")
        frames = [(camera(now + tick), float(now + tick)) for tick in range(1, int(number) + 1)]
        now += len(frames)
        updates: list[Any] = []
        run = partial(push, session, frames, updates)
        begin = clock.process_time()
        calls = count_calls(run) if how == "calls" else run()
        answer = {
            "cpu_ms": 1e3 * (clock.process_time() - begin) / len(frames),
            "passes": sum(update.steps for update in updates) / len(frames),
            "labels": [zlib.crc32(update.labels.tobytes()) for update in updates],
            "calls": {name: count / len(frames) for name, count in (calls or {}).items()},
            "package": stride_ros.__path__[0],
        }
        print(json.dumps(answer), flush=True)


def push(session: ActivationSession, frames: Sequence[tuple[Any, float]], updates: list[Any]) -> None:
    """Push frames at their times (s) to a session, and add its updates to the earlier ones."""
    updates += [session.push(image, time) for image, time in frames]


if __name__ == "__main__":
    main()
