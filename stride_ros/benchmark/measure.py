"""Time the streaming engine tick by tick, and two reference engines on some of the same ticks.

All three see the same frames and weights, and each tick's decision of a reference engine must have the
engine's labels. A reference runs only at chosen ticks, since one of its ticks may take minutes; at the others
it gets the answers that the engine computed, which lead to the same decisions and state.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import Probabilities, SlotPass
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.graphs import RecordedPasses
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.passes import FramePair, PromptFactory, PromptPasses
from stride_ros.activation.prefix import Pair
from stride_ros.activation.reference import RebuiltPrompt, RecomputedPrompt
from stride_ros.activation.watch import ActivationUpdate
from stride_ros.qwen3_vl.decoder import TokenBlock
from stride_ros.qwen3_vl.paged_cache import PagePool

SOURCE_SIZE = (480, 640)  # camera frames, (height, width)
PARTS = ("preprocess", "vision", "append", "denoise", "host")
WARM_UP = 4  # ticks that are not counted: first use of every shape, and the tick without a history
REFERENCES: dict[str, PromptFactory] = {"rebuild": RebuiltPrompt, "recompute": RecomputedPrompt}
QUERIES = (
    "Tell me when a person is in view.",
    "Tell me when a red ball is on the table.",
    "Tell me when the lamp goes out.",
    "Tell me when something falls.",
    "Tell me when the door opens.",
    "Tell me when the robot arm moves.",
    "Tell me when a hand appears.",
    "Tell me when the cup is empty.",
    "Tell me when a car stops.",
    "Tell me when the light turns green.",
    "Tell me when a dog runs by.",
    "Tell me when the box is closed.",
    "Tell me when somebody waves.",
    "Tell me when the screen is on.",
    "Tell me when water boils.",
    "Tell me when the shelf is full.",
)


@dataclass(frozen=True)
class Settings:
    """What to measure.

    frames: in context; drop: frames that leave at a shift; tokens: maximum in a frame pair; ticks: number
    measured, after the context is full; reference_ticks: ticks of each reference engine, 0 for none; fresh:
    denoise every slot at every tick instead of keeping what the baseline pass confirms; cuda_graphs: use them
    on a CUDA device.
    """

    frames: int = 128
    drop: int = 64
    tokens: int = 256
    steps: int = 8
    queries: int = 1
    ticks: int = 64
    reference_ticks: int = 2
    fresh: bool = False
    seed: int = 0
    cuda_graphs: bool = True

    def config(self) -> ActivationConfig:
        """The session's settings, in which no span is ever over, so that every tick is one diffusion."""
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
    """Decisions of one engine: seconds by part and in total, CPU seconds of all threads, passes, labels.

    `shifts` are the ticks at which the oldest frames left; graphs: CUDA graphs that ran the passes.
    """

    parts: list[dict[str, float]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    probabilities: list[np.ndarray] = field(default_factory=list)
    shifts: list[int] = field(default_factory=list)
    answers: list[list[list[Probabilities]]] = field(default_factory=list)
    state_bytes: int = 0
    peak_bytes: int = 0
    graphs: int = 0

    def totals(self) -> list[float]:
        """Seconds of each tick."""
        return [parts["total"] for parts in self.parts]


class _NotedPrompt:
    """Runs a prompt and records its answers, or returns recorded answers instead."""

    def __init__(self, prompt: PromptPasses) -> None:
        self._prompt = prompt
        self.encoded, self.timings = prompt.encoded, prompt.timings
        self.noted: list[Probabilities] = []
        self.given: list[Probabilities] | None = None

    @property
    def memory_bytes(self) -> int:
        return self._prompt.memory_bytes

    @property
    def pages(self) -> PagePool | None:
        return self._prompt.pages

    @property
    def recordings(self) -> RecordedPasses | None:
        return self._prompt.recordings

    @property
    def kept_pairs(self) -> Sequence[Pair | FramePair]:
        return self._prompt.kept_pairs

    @property
    def graphs(self) -> int:
        return self._prompt.recordings.count if self._prompt.recordings is not None else 0

    def memory_limit(self, tokens: int) -> int:
        return self._prompt.memory_limit(tokens)

    def shift(self) -> None:
        self._prompt.shift()

    def advance(self, pair: FramePair | None) -> list[TokenBlock]:
        return self._prompt.advance(pair)

    def settle(self) -> None:
        self._prompt.settle()

    @property
    def waiting(self) -> Sequence[FramePair]:
        return self._prompt.waiting

    def fill(self) -> list[TokenBlock]:
        return self._prompt.fill()

    def ask(self, request: SlotPass) -> TokenBlock | None:
        return self._prompt.ask(request) if self.given is None else None

    def answer(self, values: Probabilities | None) -> Probabilities:
        answer = self._prompt.answer(values) if self.given is None else self.given.pop(0)
        self.noted += [answer] if answer.ndim == 1 else list(answer)
        return answer


def frame(seed: int, index: int) -> np.ndarray:
    """Camera frame `index` (480, 640, 3) uint8: noise, since the content does not affect the cost."""
    return np.random.default_rng((seed, index)).integers(0, 256, (*SOURCE_SIZE, 3), dtype=np.uint8)


def run_engine(
    model: ActivationModel,
    settings: Settings,
    factory: PromptFactory,
    step: Callable[[], None],
    noted: Sequence[list[list[Probabilities]]] | None = None,
    live: Sequence[int] = (),
) -> Ticks:
    """Fill the context, then decide at each tick; with `noted` answers, compute only the `live` ticks."""
    prompts: list[_NotedPrompt] = []

    def make(model: ActivationModel, query: str, config: ActivationConfig, context: Context) -> _NotedPrompt:
        prompts.append(_NotedPrompt(factory(model, query, config, context)))
        return prompts[-1]

    config = settings.config()
    engine = ActivationEngine(model, replace(config, decide_every=10**9), keep_features=False, prompts=make)
    stream = engine.open_stream("camera")
    for query in QUERIES[: settings.queries]:
        stream.watch(query)
    ticks = Ticks()
    for index in range(settings.frames):
        engine.push({stream: (frame(settings.seed, index), float(index))})
        step()
    engine.update_config(config)
    last = settings.ticks + WARM_UP if noted is None else max(live) + 1
    for tick in range(last):
        index = settings.frames + tick
        for i, prompt in enumerate(prompts):
            prompt.noted = []
            prompt.given = None if noted is None or tick in live else list(noted[tick][i])
        before = stream.context_frames
        image = frame(settings.seed, index)
        begin = clock.process_time()
        updates = engine.push({stream: (image, float(index))})
        ticks.cpu.append(clock.process_time() - begin)
        if stream.context_frames < before:
            ticks.shifts.append(tick)
        ticks.parts.append(_parts(updates[0]))
        ticks.passes.append(max(update.steps for update in updates))
        if settings.reference_ticks:  # otherwise nothing is compared, and records would grow in long runs
            ticks.labels.append(np.stack([update.labels for update in updates]))
            ticks.probabilities.append(np.stack([update.probabilities for update in updates]))
            ticks.answers.append([prompt.noted for prompt in prompts])
        step()
    ticks.state_bytes = engine.memory_bytes
    ticks.graphs = sum(prompt.graphs for prompt in prompts)
    ticks.peak_bytes = peak_memory(model)
    return ticks


def _parts(update: ActivationUpdate) -> dict[str, float]:
    timings = {part: update.timings.get(part, 0.0) for part in (*PARTS, "total")}
    timings["host"] = timings["total"] - sum(timings[part] for part in PARTS)
    return timings


def peak_memory(model: ActivationModel) -> int:
    """Peak number of bytes in use: on the device for CUDA, resident in this process otherwise."""
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
    """Measure; return the report as JSON values. `step` is called after every frame.

    Keys: tick_ms (median) and tick_p95_ms, tick_worst_ms; parts_ms by part, median and p95; passes (median);
    cuda_graphs, how many the engine replays its passes from, 0 for none; ticks_ms, ticks_cpu_ms (of all
    threads) and shifts for a plot; state_bytes, weights_bytes, peak_memory_bytes; and for each reference R:
    R_tick_ms, R_parts_ms, speedup_vs_R, R_labels_equal, R_largest_difference in P(active); labels_equal over
    all.
    """
    engine = run_engine(model, settings, CachedPrompt, step)
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
