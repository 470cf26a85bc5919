#!/usr/bin/env python3
"""Check that ticks and memory stay constant over hours, by comparing early with late ticks.

    python -m stride_ros.benchmark.flat_cost --ticks 2000 --picture flat.png

Prints medians of ticks 100-200 and of the last hundred, the worst tick, the ticks at which the window
shifted, and the growth of resident memory. CPU time is that of all threads; it shows what a busy machine
hides.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.random_model import random_model
from stride_ros.benchmark.measure import QUERIES, WARM_UP, Settings, run_engine
from stride_ros.benchmark.presets import architecture
from stride_ros.terminal import Progress
from stride_ros.training.tokenizer import build_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="small")
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--drop", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--ticks", type=int, default=600)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    model = random_model(
        architecture(options.preset, options.window), build_tokenizer(QUERIES), options.preset
    )
    settings = Settings(
        frames=options.frames,
        drop=options.drop,
        tokens=options.tokens,
        ticks=options.ticks,
        reference_ticks=0,
        fresh=True,
    )
    resident: list[int] = []
    with Progress("Ticks", settings.frames + settings.ticks + WARM_UP, "ticks") as progress:

        def step() -> None:
            resident.append(resident_bytes())
            progress.update(len(resident))

        ticks = run_engine(model, settings, CachedPrompt, step)
    for name, seconds in (("wall", ticks.totals()[WARM_UP:]), ("cpu", ticks.cpu[WARM_UP:])):
        report(name, [1e3 * value for value in seconds])
    shifts = {tick - WARM_UP for tick in ticks.shifts}
    cpu = [1e3 * value for value in ticks.cpu[WARM_UP:]]
    at_shifts = statistics.median(value for tick, value in enumerate(cpu) if tick in shifts)
    others = statistics.median(value for tick, value in enumerate(cpu) if tick not in shifts)
    print(f"cpu: median at {len(shifts)} shifts {at_shifts:.1f} ms, at all other ticks {others:.1f} ms")
    early, late = (resident[tick] / 2**20 for tick in (settings.frames + WARM_UP + 100, -1))
    growth = 100 * (late / early - 1)
    print(
        f"resident memory: {early:.1f} MiB after 100 ticks, {late:.1f} MiB at the end, growth {growth:.2f} %"
    )
    if options.picture:
        draw(options.picture, [1e3 * value for value in ticks.totals()[WARM_UP:]], sorted(shifts))


def report(name: str, ms: list[float]) -> None:
    early, late = statistics.median(ms[100:200]), statistics.median(ms[-100:])
    median = statistics.median(ms)
    print(
        f"{name}: ticks 100-200 {early:.1f} ms, last hundred {late:.1f} ms, ratio {late / early:.3f}; "
        f"median {median:.1f} ms, worst {max(ms):.1f} ms, ratio {max(ms) / median:.2f}"
    )


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def draw(path: Path, ms: list[float], shifts: list[int]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 3))
    for shift in shifts:
        axes.axvline(shift, color="#dddddd", linewidth=0.8)
    axes.plot(ms, linewidth=0.8, color="#2a6fbb")
    axes.set(xlabel="tick (grey: window shift)", ylabel="ms", ylim=(0, None))
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
