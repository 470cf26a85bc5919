#!/usr/bin/env python3
"""Compare ticks with the minimum time that the hardware allows, as a table for docs/performance.md.

    python -m stride_ros.benchmark.floor --preset 2b --windows 32 256          # on a GPU
    python -m stride_ros.benchmark.floor --preset small --windows 32           # on a CPU

On a GPU every row is measured with and without CUDA graphs. The floor of a piece of work is the larger of
its arithmetic at the rate of a large matrix product and its traffic (weights and cached keys and values,
read once) at the rate of a large copy; both rates are measured here first.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.random_model import random_model
from stride_ros.benchmark.measure import QUERIES, SOURCE_SIZE, WARM_UP, Settings, run_engine, summary
from stride_ros.benchmark.presets import architecture
from stride_ros.benchmark.work import Work
from stride_ros.qwen3_vl.architecture import Architecture
from stride_ros.qwen3_vl.patches import model_size
from stride_ros.training.tokenizer import build_tokenizer


def best_seconds(work: Callable[[], object], device: torch.device, repeat: int = 5) -> float:
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return min(times)


def rates(model: ActivationModel) -> tuple[float, float]:
    """FLOP/s of a matrix product and bytes/s of a copy on the model's device, in its dtype."""
    size = 8192 if model.device.type == "cuda" else 1024
    a = torch.randn(size, size, device=model.device).to(model.dtype)
    flops = 2 * size**3 / best_seconds(lambda: a @ a, model.device)
    b = torch.empty(2**28 if model.device.type == "cuda" else 2**26, device=model.device, dtype=torch.uint8)
    c = torch.empty_like(b)
    return flops, 2 * b.numel() / best_seconds(lambda: c.copy_(b), model.device)


class Floor:
    """Minimum seconds of the parts of a tick."""

    def __init__(self, shape: Architecture, model: ActivationModel, settings: Settings, tokens: int) -> None:
        self.flops, self.bytes_per_second = rates(model)
        self.work = Work(shape, settings.frames, settings.drop, tokens)
        self.width = model.dtype.itemsize
        self.cached = 2 * shape.text.layers * shape.text.kv_heads * shape.text.head_dim * self.work.prefix

    def seconds(self, flop: float, traffic: float) -> float:
        return max(flop / self.flops, traffic * self.width / self.bytes_per_second)

    def one_pass(self) -> float:
        return self.seconds(self.work.one_pass, self.work.weights + self.cached)

    def intake(self) -> float:
        """Minimum seconds for one frame: vision of a pair, and its share of the appends."""
        vision = self.seconds(self.work.vision, self.work.tower)
        return vision + self.seconds(self.work.append, self.work.weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="2b")
    parser.add_argument("--windows", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--frames", type=int, default=128)
    parser.add_argument("--ticks", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    print(
        "| preset | window | CUDA graphs | tick | passes | one pass: measured ms | floor ms "
        "| tick: measured ms | worst | floor ms | measured / floor |"
    )
    print("|---" * 11 + "|")
    for window in options.windows:
        shape = architecture(options.preset, window)
        tokenizer = build_tokenizer(QUERIES)
        model = random_model(shape, tokenizer, options.preset, device=options.device, dtype=options.dtype)

        height, width = model_size(*SOURCE_SIZE, shape.frame_max_tokens)
        modes = (True, False) if model.device.type == "cuda" else (False,)
        for (kind, fresh), graphs in itertools.product((("fresh", True), ("steady", False)), modes):
            settings = Settings(
                frames=options.frames,
                drop=options.frames // 2,
                steps=options.steps,
                ticks=options.ticks,
                reference_ticks=0,
                fresh=fresh,
                cuda_graphs=graphs,
            )
            floor = Floor(shape, model, settings, height * width // 1024)
            ticks = run_engine(model, settings, CachedPrompt, lambda: None)
            seconds = ticks.totals()[WARM_UP:]
            measured = 1e3 * statistics.median(seconds)
            passes = statistics.median(ticks.passes[WARM_UP:])
            least = 1e3 * (floor.intake() + passes * floor.one_pass())
            one = summary(ticks.parts[WARM_UP:])["denoise"]["median"] / passes
            print(
                f"| {options.preset} | {window} | {ticks.graphs or 'none'} | {kind} | {passes:g} | {one:.2f} "
                f"| {1e3 * floor.one_pass():.2f} | {measured:.1f} | {1e3 * max(seconds):.1f} | {least:.1f} "
                f"| {measured / least:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
