#!/usr/bin/env python3
"""What further queries on one stream cost: vision runs once, each query has its own cached prompt.

python -m stride_ros.benchmark.queries --preset vision --frames 32 --window 16
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.random_model import random_model
from stride_ros.benchmark.measure import PARTS, QUERIES, WARM_UP, Settings, run_engine, summary
from stride_ros.benchmark.presets import architecture
from stride_ros.training.tokenizer import build_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="vision")
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--ticks", type=int, default=24)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
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
