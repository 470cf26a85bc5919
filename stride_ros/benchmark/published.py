#!/usr/bin/env python3
"""Compare the engine with the authors' own code, from a checkout: CPU time per second of video.

    git clone https://github.com/interlive-team/STRIDE ../STRIDE
    python -m stride_ros.benchmark.published ../STRIDE live
    python -m stride_ros.benchmark.published ../STRIDE live --window 256
    python -m stride_ros.benchmark.published ../STRIDE offline

live: a decision for each frame pair, which is two seconds of video. Their code has no such loop, so its
functions are called for each pair; the context is as long as ours. offline: whole recordings and a decision
every 32 frames, in the way their code works: one recording after another, with a context that is encoded and
prefilled at each shift. Ours takes several at a time, as `stride-ros evaluate --data et-bench --concurrency
8` does. Theirs takes fewer recordings, since their content does not affect the cost.

Both have the same random weights and one thread of this process. FLOP are those of matrix products and
attention as counted by PyTorch; what a causal mask hides is left out if the kernel leaves it out. See
`stride_ros.benchmark.authors` for what stands in for FlashAttention and for their video processor.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.deferred_prompt import prompts_for
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.watch import ActivationUpdate
from stride_ros.benchmark.authors import LiveAuthors, check, load
from stride_ros.benchmark.floor import rates
from stride_ros.benchmark.measure import PARTS, QUERIES, frame
from stride_ros.benchmark.work import counted_flop
from stride_ros.errors import SourceError
from stride_ros.process.threads import use_threads

_EVERY = 32  # frames per decision, and frames that leave at a shift, in the authors' script
_PERIOD = 4  # number of their decisions that are measured, spread over the time between two shifts


@dataclass(frozen=True)
class Cost:
    """The cost of one method: CPU and video seconds, FLOP, passes per decision; for ours, shares by part."""

    cpu: float
    video: float
    flop: float
    passes: float
    parts: dict[str, float] = field(default_factory=dict)


def frames(count: int) -> np.ndarray:
    """Camera frames (count, 480, 640, 3) uint8."""
    return np.stack([frame(0, index) for index in range(count)])


def configured(theirs: Any, context: int, drop: int, every: int) -> ActivationConfig:
    """The same settings for both."""
    arguments = theirs.trigger_args
    arguments.chunk_size, arguments.max_window_size, arguments.stride = every, context, drop
    return ActivationConfig(
        max_frames=context,
        drop_frames=drop,
        decide_every=every,
        odd_frame="wait",
        trigger=TriggerConfig(0.0, 0.0),
    )


class CountedPasses:
    """Counts the passes of the authors' model while it is entered."""

    def __init__(self, model: Any) -> None:
        self._model, self._step, self.passes = model, model._denoise_step, 0

    def __enter__(self) -> CountedPasses:
        def counting(*given: Any) -> Any:
            self.passes += 1
            return self._step(*given)

        self._model._denoise_step = counting
        return self

    def __exit__(self, *_: object) -> None:
        self._model._denoise_step = self._step


def shares(updates: Sequence[ActivationUpdate]) -> dict[str, float]:
    """The share of the time of each part, over all decisions; those of one push report the same times."""
    pushes = {update.time: update.timings for update in updates}.values()
    total = sum(timings["total"] for timings in pushes)
    return {part: sum(timings[part] for timings in pushes) / total for part in PARTS if part != "host"}


def cost(work: Callable[[], float], video: float) -> Cost:
    """Measure `work`, which returns its passes per decision."""
    begin = clock.process_time()
    with torch.inference_mode(), counted_flop() as flop:
        passes = work()
    return Cost(clock.process_time() - begin, video, flop(), passes)


def offline(theirs: Any, ours: ActivationModel, context: int, seconds: int, recordings: int) -> list[Cost]:
    """Measure whole recordings."""
    config, images = configured(theirs, context, _EVERY, _EVERY), frames(seconds)
    decisions, parts = -(-seconds // _EVERY), dict[str, float]()

    def their_way() -> float:
        with CountedPasses(theirs) as counted:
            theirs.start_stream(QUERIES[0], True)
            theirs.detect(images, np.arange(seconds, dtype=np.float64))
        return counted.passes / decisions

    def our_way() -> float:
        engine = ActivationEngine(ours, config, keep_features=False, prompts=prompts_for(ours, config))
        streams = [engine.open_stream(str(number)) for number in range(recordings)]
        for stream in streams:
            stream.watch(QUERIES[0])
        updates: list[ActivationUpdate] = []
        for index, image in enumerate(images):
            updates += engine.push(dict.fromkeys(streams, (image, float(index))))
        parts.update(shares(updates))
        return sum(update.steps for update in updates) / len(updates)

    return [cost(their_way, seconds), replace(cost(our_way, seconds * recordings), parts=parts)]


def live(theirs: Any, ours: ActivationModel, context: int) -> list[Cost]:
    """Measure a decision for each pair from one shift to the next, with a full context."""
    drop = ActivationConfig(max_frames=context).drop_frames
    config, images = configured(theirs, context, drop, 2), frames(context + drop)
    stream = LiveAuthors(theirs, images, QUERIES[0])
    engine = ActivationEngine(ours, config, keep_features=False)
    camera = engine.open_stream("camera")
    camera.watch(QUERIES[0])
    for index in range(context):
        engine.push({camera: (images[index], float(index))})
    parts: dict[str, float] = {}
    ends = np.linspace(context + 2, context + drop, min(_PERIOD, drop // 2)).astype(int) // 2 * 2

    def their_way(end: int) -> float:
        with CountedPasses(theirs) as counted:
            stream.decide(end)
        return counted.passes

    def our_way() -> float:
        updates: list[ActivationUpdate] = []
        for index in range(context, context + drop):
            updates += engine.push({camera: (images[index], float(index))})
        parts.update(shares(updates))
        return sum(update.steps for update in updates) / len(updates)

    their = []
    for end in ends:
        with torch.inference_mode():
            stream.decide(int(end) - 2)  # what it retains is from the previous pair
        their.append(cost(partial(their_way, int(end)), 2.0))
    passes = sum(each.passes for each in their) / len(their)
    cpu, flop = sum(each.cpu for each in their), sum(each.flop for each in their)
    return [Cost(cpu, 2.0 * len(their), flop, passes), replace(cost(our_way, drop), parts=parts)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="of the authors' code")
    parser.add_argument("way", choices=("live", "offline"))
    parser.add_argument("--preset", default="small", help="default: %(default)s")
    parser.add_argument("--window", type=int, default=32, help="slots (default: %(default)s)")
    parser.add_argument("--contexts", type=int, nargs="+", help="frames (default: 32 64 128, offline 64 128)")
    parser.add_argument("--seconds", type=int, default=256, help="of a recording (default: %(default)s)")
    parser.add_argument("--recordings", type=int, default=8, help="at a time (default: %(default)s)")
    options = parser.parse_args()
    try:
        check(options.checkout)
    except SourceError as error:
        parser.error(str(error))
    use_threads(1)
    told: list[str] = []
    np.random.seed(0)  # the authors' code draws the slots that it unmasks
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = load(options.checkout.resolve(), Path(folder), options.preset, options.window)
        print(
            "| context | passes: theirs | ours | CPU ms of a second: theirs | ours | times less "
            "| GFLOP of a second: theirs | ours | times less |\n" + "|---" * 9 + "|",
            flush=True,
        )
        for context in options.contexts or ([64, 128] if options.way == "offline" else [32, 64, 128]):
            if options.way == "live":
                costs = live(theirs, ours, context)
            else:
                costs = offline(theirs, ours, context, options.seconds, options.recordings)
            cpu = [1e3 * each.cpu / each.video for each in costs]
            flop = [1e-9 * each.flop / each.video for each in costs]
            print(
                f"| {context} | {costs[0].passes:.1f} | {costs[1].passes:.1f} | {cpu[0]:.0f} | {cpu[1]:.0f} "
                f"| {cpu[0] / cpu[1]:.1f} | {flop[0]:.1f} | {flop[1]:.1f} | {flop[0] / flop[1]:.1f} |",
                flush=True,
            )
            told += [f"{context}: " + ", ".join(f"{k} {100 * v:.0f} %" for k, v in costs[1].parts.items())]
        flop_rate, _ = rates(ours)
    print("\nOurs by part, for each context\n" + "\n".join(told))
    print(f"\nA product of large matrices reaches {1e-9 * flop_rate:.0f} GFLOP/s.")
    print("\nLoad: " + ", ".join(f"{value:.1f}" for value in os.getloadavg()) + ".")


if __name__ == "__main__":
    main()
