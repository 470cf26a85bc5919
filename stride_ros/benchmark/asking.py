#!/usr/bin/env python3
"""Compare the engine with asking a model of the same size each second: CPU time per second of video.

    python -m stride_ros.benchmark.asking
    python -m stride_ros.benchmark.asking --preset small --resent 16 32 --frames 128

Asking one frame: the newest picture and the query, answered with yes or no. Re-sending: the last N frames, as
a client of a Video-LLM server does. Both run on this package's vision tower and language model with the same
random weights, prefill the prompt once and answer with one token, which is the minimum for such a model. It
uses one thread; the methods take turns of a few seconds of video. Ratios are relative to the engine: medians
over the turns, with lower and upper quartiles.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time as clock
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.prefix import Pair, Prefix
from stride_ros.activation.random_model import random_model
from stride_ros.activation.session import ActivationSession
from stride_ros.benchmark.measure import QUERIES, Settings, frame
from stride_ros.benchmark.presets import PRESETS, architecture
from stride_ros.process.threads import use_threads
from stride_ros.qwen3_vl.patches import prepare
from stride_ros.training.tokenizer import build_tokenizer

Image = NDArray[np.uint8]
_WARM_UP = 4  # s


class Asked:
    """A model that is shown the last `count` frames each second; a single frame fills a pair."""

    def __init__(self, model: ActivationModel, count: int) -> None:
        before = [prepare(frame(0, index), model.frame_max_tokens) for index in range(count)]
        self._model, self._frames = model, deque(before, maxlen=count)
        self._prefix = Prefix(model, QUERIES[0], "mrope", max(1, count // 2))

    def show(self, image: Image, time: float) -> None:
        """Encode, prefill and answer."""
        del time  # a prompt begins with its first frame
        self._frames.append(prepare(image, self._model.frame_max_tokens))
        images = list(self._frames)
        if len(images) % 2:
            images.append(images[-1])
        shown = [(images[index], images[index + 1]) for index in range(0, len(images), 2)]
        features = [feature for one in shown for feature in self._model.encode([one])]
        pairs = [Pair(2.0 * index, 2.0 * index + 1, feature) for index, feature in enumerate(features)]
        self._prefix.restart(0)
        self._model.slot_probabilities([replace(self._prefix.append(pairs, 0.0), wanted=1)])


def engine(model: ActivationModel, frames: int) -> Callable[[Image, float], object]:
    """A session with a full context, and a decision each second."""
    config = Settings(frames=frames, drop=ActivationConfig(max_frames=frames).drop_frames).config()
    session = ActivationSession(model, QUERIES[0], replace(config, decide_every=10**9))
    for index in range(frames):
        session.push(frame(0, index), float(index - frames))
    session.update_config(config)
    return session.push


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="small", choices=PRESETS, help="default: %(default)s")
    parser.add_argument("--window", type=int, default=32, help="slots (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=128, help="in our context (default: %(default)s)")
    parser.add_argument("--resent", type=int, nargs="+", default=[16, 32], help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=4, help="of a turn, even (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each (default: %(default)s)")
    options = parser.parse_args()
    use_threads(1)
    shape = architecture(options.preset, options.window)
    model = random_model(shape, build_tokenizer(QUERIES), options.preset, device="cpu")
    ways: dict[str, Callable[[Image, float], object]] = {"the engine": engine(model, options.frames)}
    ways["asking about the newest frame"] = Asked(model, 1).show
    for count in options.resent:
        ways[f"re-sending the last {count} frames"] = Asked(model, count).show
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for now in range(_WARM_UP):
        for show in ways.values():
            show(frame(1, now), float(now))
    now = _WARM_UP
    for number in range(options.rounds):
        images = [frame(1, now + second) for second in range(options.seconds)]
        for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
            begin = clock.process_time()
            for second, image in enumerate(images):
                ways[name](image, float(now + second))
            cpu[name].append(1e3 * (clock.process_time() - begin) / options.seconds)
        now += options.seconds
    print("| each second | CPU ms | relative to the engine |\n|---|---|---|")
    for name, times in cpu.items():
        ratios = [one / other for one, other in zip(times, cpu["the engine"], strict=True)]
        low, middle, high = np.percentile(ratios, (25, 50, 75))
        print(f"| {name} | {statistics.median(times):.0f} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{options.rounds} turns of {options.seconds} s. Load: {load}.")


if __name__ == "__main__":
    main()
