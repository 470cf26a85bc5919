#!/usr/bin/env python3
"""Measure the cost of further queries on one stream: vision runs once, each query has its own prompt.

    python -m stride_ros.benchmark.queries --preset vision --frames 32 --window 16     # measured
    python -m stride_ros.benchmark.queries --count --preset 2b --frames 128 --window 32

With --count, it only computes from the preset's sizes how many times the work of one query several queries
take, by the number of passes per decision.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.random_model import random_model
from stride_ros.benchmark.measure import PARTS, QUERIES, SOURCE_SIZE, WARM_UP, Settings, run_engine, summary
from stride_ros.benchmark.presets import architecture
from stride_ros.benchmark.work import Work
from stride_ros.qwen3_vl.patches import CELL, model_size
from stride_ros.training.tokenizer import build_tokenizer


def print_shares(options: argparse.Namespace) -> None:
    """Print the shares by count."""
    height, width = model_size(*SOURCE_SIZE, options.tokens)
    tokens = height // CELL * (width // CELL)
    shape = architecture(options.preset, options.window)
    work = Work(shape, options.frames, max(2, options.frames // 2), tokens)
    print("| passes | vision | append | passes | 2 queries | 4 queries | 8 queries |")
    print("|---" * 7 + "|")
    for passes in (1, 2, 4, 9):
        one = work.tick(1, passes)
        parts = [work.vision, work.append, passes * work.one_pass]
        cells = [f"{100 * part / one:.0f} %" for part in parts]
        cells += [f"{work.tick(queries, passes) / one:.2f}" for queries in (2, 4, 8)]
        print(f"| {passes} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="vision")
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--ticks", type=int, default=24)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--count", action="store_true", help="count the arithmetic instead of measuring")
    options = parser.parse_args()
    if options.count:
        print_shares(options)
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    shape = architecture(options.preset, options.window)
    model = random_model(shape, build_tokenizer(QUERIES), options.preset, device=options.device)
    first: float | None = None
    labels: list[np.ndarray] | None = None
    for count in (1, 2, 4):
        settings = Settings(
            frames=options.frames,
            drop=options.frames // 2,
            tokens=options.tokens,
            ticks=options.ticks,
            queries=count,
        )
        ticks = run_engine(model, settings, CachedPrompt, lambda: None)
        median = 1e3 * statistics.median(ticks.totals()[WARM_UP:])
        first = first or median
        labels = labels or ticks.labels
        same = all(np.array_equal(a[0], b[0]) for a, b in zip(labels, ticks.labels, strict=True))
        parts = summary(ticks.parts[WARM_UP:])
        split = ", ".join(f"{part} {parts[part]['median']:.1f}" for part in PARTS)
        print(f"{count} queries: {median:.1f} ms a tick ({split}), {median / first:.2f} times one query")
        print(f"  labels of the first query as alone: {'yes' if same else 'NO'}")


if __name__ == "__main__":
    main()
