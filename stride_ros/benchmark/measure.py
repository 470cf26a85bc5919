"""Time the streaming engine tick by tick, and the two reference engines on some of the same ticks.

All three see the same frames and weights, and each tick's decision of a reference engine must have the
engine's labels. A reference is run at chosen ticks only, since one of its ticks may take minutes; at the
others it is given the answers that the engine computed, which lead to the same decisions and so to the same
state.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import Probabilities, SlotPass
from stride_ros.activation.engine import CachedEngine, FramePair, PassEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.reference import RebuildEngine, RecomputeEngine
from stride_ros.activation.stream import ActivationStream, ActivationUpdate, EngineFactory

SOURCE_SIZE = (480, 640)  # camera frames, (height, width)
PARTS = ("preprocess", "vision", "append", "denoise", "host")
WARM_UP = 4  # ticks that are run and not counted: first use of every shape, and the tick without a history
REFERENCES: dict[str, EngineFactory] = {"rebuild": RebuildEngine, "recompute": RecomputeEngine}
QUERIES = (
    "Tell me when a person is in view.",
    "Tell me when a red ball is on the table.",
    "Tell me when the lamp goes out.",
    "Tell me when something falls.",
    "Tell me when the door opens.",
    "Tell me when the robot arm moves.",
    "Tell me when a hand appears.",
    "Tell me when the cup is empty.",
)


@dataclass(frozen=True)
class Settings:
    """What to measure. frames: in context; drop: leave at a shift; tokens: of a frame pair, at most; ticks:
    measured ones, after the context is full; reference_ticks: ticks of each reference engine, 0 for none;
    fresh: denoise every slot at every tick instead of keeping what the baseline pass confirms; cuda_graphs:
    use them on a CUDA device."""

    frames: int = 128
    drop: int = 32
    tokens: int = 256
    steps: int = 8
    queries: int = 1
    ticks: int = 64
    reference_ticks: int = 2
    fresh: bool = False
    seed: int = 0
    cuda_graphs: bool = True

    def config(self) -> ActivationConfig:
        """The session's settings. No span is ever over, so that every tick is one diffusion."""
        return ActivationConfig(
            unmasking_steps=self.steps,
            confidence_threshold=None if self.fresh else 0.75,
            margin_seconds=1e9,
            max_frames=self.frames,
            drop_frames=self.drop,
            frame_max_tokens=self.tokens,
            cuda_graphs=self.cuda_graphs,
            trigger=TriggerConfig(0.0, 0.0),
        )


@dataclass
class Ticks:
    """Decisions of one engine: seconds by part and in total, CPU seconds of all threads, passes, labels;
    `shifts` are tick numbers at which the oldest frames left; graphs: CUDA graphs that passes came from."""

    parts: list[dict[str, float]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    probabilities: list[np.ndarray] = field(default_factory=list)
    shifts: list[int] = field(default_factory=list)
    answers: list[list[dict[int, Probabilities]]] = field(default_factory=list)
    state_bytes: int = 0
    peak_bytes: int = 0
    graphs: int = 0

    def totals(self) -> list[float]:
        """Seconds of each tick."""
        return [parts["total"] for parts in self.parts]


class _Recorder:
    """Runs an engine and notes its answers; or, where it is told to, gives noted answers instead."""

    def __init__(self, engine: PassEngine) -> None:
        self._engine = engine
        self.timings = engine.timings
        self.noted: list[dict[int, Probabilities]] = []
        self.replay: list[dict[int, Probabilities]] | None = None

    @property
    def memory_bytes(self) -> int:
        return self._engine.memory_bytes

    @property
    def graphs(self) -> int:
        return self._engine.recordings if isinstance(self._engine, CachedEngine) else 0

    def memory_limit(self, height: int, width: int) -> int:
        return self._engine.memory_limit(height, width)

    def shift(self) -> None:
        self._engine.shift()

    def advance(self, pair: FramePair | None) -> None:
        self._engine.advance(pair)

    def answer(self, requests: Mapping[int, SlotPass]) -> dict[int, Probabilities]:
        answers = self._engine.answer(requests) if self.replay is None else self.replay.pop(0)
        self.noted.append(answers)
        return answers


def frame(seed: int, index: int) -> np.ndarray:
    """Camera frame `index` (480, 640, 3) uint8: noise, since the content changes no cost."""
    return np.random.default_rng((seed, index)).integers(0, 256, (*SOURCE_SIZE, 3), dtype=np.uint8)


def run_engine(
    model: ActivationModel,
    settings: Settings,
    factory: EngineFactory,
    step: Callable[[], None],
    noted: Sequence[list[dict[int, Probabilities]]] | None = None,
    live: Sequence[int] = (),
) -> Ticks:
    """Fill the context, then decide at each tick; with `noted` answers compute the `live` ticks only."""
    recorder: list[_Recorder] = []

    def make(
        model: ActivationModel, queries: Sequence[str], config: ActivationConfig, context: Context
    ) -> _Recorder:
        recorder.append(_Recorder(factory(model, queries, config, context)))
        return recorder[-1]

    config = settings.config()
    stream = ActivationStream(
        model, QUERIES[: settings.queries], replace(config, decide_every=10**9), engine=make
    )
    ticks = Ticks()
    for index in range(settings.frames):
        stream.push(frame(settings.seed, index), float(index))
        step()
    stream.update_config(config)
    last = settings.ticks + WARM_UP if noted is None else max(live) + 1
    for tick in range(last):
        index = settings.frames + tick
        recorder[0].noted = []
        recorder[0].replay = None if noted is None or tick in live else list(noted[tick])
        before = stream.context_frames
        image = frame(settings.seed, index)
        begin = clock.process_time()
        updates = stream.push(image, float(index))
        ticks.cpu.append(clock.process_time() - begin)
        if stream.context_frames < before:
            ticks.shifts.append(tick)
        ticks.parts.append(_parts(updates[0]))
        ticks.passes.append(max(update.steps for update in updates))
        if settings.reference_ticks:  # else nothing is compared, and a long run shall not grow by its records
            ticks.labels.append(np.stack([update.labels for update in updates]))
            ticks.probabilities.append(np.stack([update.probabilities for update in updates]))
            ticks.answers.append(recorder[0].noted)
        step()
    ticks.state_bytes = stream.memory_bytes
    ticks.graphs = recorder[0].graphs
    ticks.peak_bytes = peak_memory(model)
    return ticks


def _parts(update: ActivationUpdate) -> dict[str, float]:
    timings = {part: update.timings.get(part, 0.0) for part in (*PARTS, "total")}
    timings["host"] = timings["total"] - sum(timings[part] for part in PARTS)
    return timings


def peak_memory(model: ActivationModel) -> int:
    """Bytes that were in use at most: on the device for CUDA, resident in this process otherwise."""
    if model.device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(model.device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def typical_ticks(ticks: Ticks, count: int) -> list[int]:
    """Counted ticks with the usual number of passes, as many with a provisional pair as without."""
    usual = statistics.median_low(ticks.passes[WARM_UP:])
    numbers = sorted(range(WARM_UP, len(ticks.passes)), key=lambda tick: abs(ticks.passes[tick] - usual))
    by_parity = [[tick for tick in numbers if tick % 2 == parity] for parity in (0, 1)]
    return sorted((by_parity[0][: (count + 1) // 2] + by_parity[1][: count // 2])[:count])


def measure(model: ActivationModel, settings: Settings, step: Callable[[], None]) -> dict[str, Any]:
    """Everything the report says, as JSON values. `step` is called after every frame.

    Keys: tick_ms (median) and tick_p95_ms, tick_worst_ms; parts_ms by part, median and p95; passes (median);
    cuda_graphs, how many the engine replays its passes from, 0 for none; ticks_ms, ticks_cpu_ms (of all
    threads) and shifts for a plot; state_bytes, weights_bytes, peak_memory_bytes; and for each reference R:
    R_tick_ms, R_parts_ms, speedup_vs_R, R_labels_equal, R_largest_difference in P(active); labels_equal over
    all.
    """
    engine = run_engine(model, settings, CachedEngine, step)
    seconds = engine.totals()[WARM_UP:]
    result: dict[str, Any] = {
        "tick_ms": 1e3 * statistics.median(seconds),
        "tick_p95_ms": 1e3 * float(np.percentile(seconds, 95)),
        "tick_worst_ms": 1e3 * max(seconds),
        "parts_ms": summary(engine.parts[WARM_UP:]),
        "cuda_graphs": engine.graphs,
        "passes": statistics.median(engine.passes[WARM_UP:]),
        "ticks_ms": [1e3 * value for value in seconds],
        "ticks_cpu_ms": [1e3 * value for value in engine.cpu[WARM_UP:]],
        "shifts": [tick - WARM_UP for tick in engine.shifts if tick >= WARM_UP],
        "state_bytes": engine.state_bytes,
        "weights_bytes": model.memory_bytes,
        "peak_memory_bytes": engine.peak_bytes,
    }
    for name, factory in REFERENCES.items() if settings.reference_ticks else ():
        live = typical_ticks(engine, settings.reference_ticks)
        other = run_engine(model, settings, factory, step, engine.answers, live)
        median = statistics.median(other.totals()[tick] for tick in live)
        result[f"{name}_tick_ms"] = 1e3 * median
        result[f"{name}_parts_ms"] = summary([other.parts[tick] for tick in live])
        result[f"speedup_vs_{name}"] = 1e3 * median / result["tick_ms"]
        result[f"{name}_labels_equal"] = all(
            np.array_equal(engine.labels[tick], other.labels[tick]) for tick in live
        )
        result[f"{name}_largest_difference"] = max(
            float(np.abs(engine.probabilities[tick] - other.probabilities[tick]).max()) for tick in live
        )
    result["labels_equal"] = all(value for key, value in result.items() if key.endswith("_labels_equal"))
    return result


def summary(parts: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Median and p95 (ms) of each part."""
    return {
        part: {
            "median": 1e3 * statistics.median(tick[part] for tick in parts),
            "p95": 1e3 * float(np.percentile([tick[part] for tick in parts], 95)),
        }
        for part in PARTS
    }
