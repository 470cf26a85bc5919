#!/usr/bin/env python3
"""Compare ticks with different `drop_frames`: CPU time and tokens run, with the settings in turns.

    python -m stride_ros.benchmark.drop_frames
    python -m stride_ros.benchmark.drop_frames --models small --drops 32 64 --rounds 6

There is one process with one thread; each setting is a session with a full context, and they take turns of a
few ticks, so that other work on the machine affects all. CPU time is that of the process, without drawing
frames. Ratios are relative to the first setting: medians over the turns, with lower and upper quartiles. For
the effect on quality, use `stride-ros evaluate --set drop_frames=N`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time as clock
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from stride_ros.activation.model import ActivationModel
from stride_ros.activation.session import ActivationSession
from stride_ros.benchmark.calls_worker import WARM_UP, load
from stride_ros.benchmark.measure import QUERIES, Settings
from stride_ros.qwen3_vl.checkpoint import EMBEDDED


class Turns:
    """A session with a full context, and the time of its ticks."""

    def __init__(self, model: ActivationModel, camera: Callable[[int], Any], frames: int, drop: int) -> None:
        self._camera, self._now = camera, 0
        config = Settings(frames=frames, drop=drop).config()
        self._session = ActivationSession(model, QUERIES[0], replace(config, decide_every=10**9))
        self.cpu_ms: list[float] = []  # of a tick, by turn
        self.run(frames)
        self._session.update_config(config)
        self.run(WARM_UP)
        self.cpu_ms.clear()
        self.memory = self._session.memory_limit(*camera(0).shape[:2])

    def run(self, ticks: int) -> None:
        """Run one turn."""
        images = [self._camera(self._now + tick) for tick in range(ticks)]
        begin = clock.process_time()
        for tick, image in enumerate(images):
            self._session.push(image, float(self._now + tick))
        self.cpu_ms.append(1e3 * (clock.process_time() - begin) / ticks)
        self._now += ticks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[EMBEDDED, "small"], help="presets or checkpoints")
    parser.add_argument("--drops", type=int, nargs="+", default=[32, 16, 64], help="default: %(default)s")
    parser.add_argument("--window", type=int, default=32, help="slots of a preset (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=128, help="in context (default: %(default)s)")
    parser.add_argument("--ticks", type=int, default=16, help="of a turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each (default: %(default)s)")
    options = parser.parse_args()
    print(
        "| model | drop_frames | pairs appended a tick | CPU ms a tick | by the first | state at most, MB |"
    )
    print("|---" * 6 + "|", flush=True)
    for name in options.models:
        model, camera = load(name, options.window)
        ways = {drop: Turns(model, camera, options.frames, drop) for drop in options.drops}
        for number in range(options.rounds):
            for drop in options.drops[:: 1 if number % 2 == 0 else -1]:
                ways[drop].run(options.ticks)
        first = ways[options.drops[0]].cpu_ms
        for drop, turns in ways.items():
            ratios = [one / other for one, other in zip(turns.cpu_ms, first, strict=True)]
            low, middle, high = np.percentile(ratios, (25, 50, 75))
            appended = 1 + (options.frames - drop) / (2 * drop)  # a pair or a provisional one, and the next
            print(
                f"| {name} | {drop} | {appended:.2f} | {statistics.median(turns.cpu_ms):.1f} "
                f"| {middle:.2f} ({low:.2f} to {high:.2f}) | {turns.memory / 1e6:.1f} |",
                flush=True,
            )
    load_average = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{options.rounds} turns of {options.ticks} ticks. Load: {load_average}.")


if __name__ == "__main__":
    main()
