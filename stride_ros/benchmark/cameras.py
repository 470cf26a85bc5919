"""Compare one engine for several cameras and queries with a session for each, in turns.

Both see the same frames of synthetic worlds, one world per camera, with full contexts. They take turns of a
few ticks in one process, so that other work on the machine affects both; CPU time is that of the process.
"""

from __future__ import annotations

import os
import statistics
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.session import ActivationSession
from stride_ros.activation.watch import UNSEEN, ActivationUpdate
from stride_ros.benchmark.measure import QUERIES, WARM_UP, Settings, peak_memory
from stride_ros.text.wording import counted
from stride_ros.world.world import World

TURN = 8  # ticks of one arm before the other's turn; even, since every second frame completes a pair
NEAR = 1e-4  # P(active) this close to 0.5 may give either label in batches of another size
ARMS = ("batched", "interleaved")

Frames = Sequence[NDArray[np.uint8]]


class Arm(Protocol):
    """One way to serve all cameras and queries."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of the state."""

    def update_config(self, config: ActivationConfig) -> None:
        """Apply settings from the next decision on."""

    def tick(self, frames: Frames, time: float) -> list[ActivationUpdate]:
        """Process a frame of each camera at one time (s); return decisions by camera, then query."""


class BatchedArm:
    """All cameras in one engine; like sessions, it keeps no features for watches that look back."""

    def __init__(self, model: ActivationModel, config: ActivationConfig, cameras: int, queries: int) -> None:
        self._engine = ActivationEngine(model, config, keep_features=False)
        self._streams = [self._engine.open_stream(f"camera{index}") for index in range(cameras)]
        for stream in self._streams:
            for query in QUERIES[:queries]:
                stream.watch(query)

    @property
    def memory_bytes(self) -> int:
        return self._engine.memory_bytes

    def update_config(self, config: ActivationConfig) -> None:
        self._engine.update_config(config)

    def tick(self, frames: Frames, time: float) -> list[ActivationUpdate]:
        pushed = {stream: (frame, time) for stream, frame in zip(self._streams, frames, strict=True)}
        return list(self._engine.push(pushed))


class InterleavedArm:
    """A session for each query of each camera, one after the other."""

    def __init__(self, model: ActivationModel, config: ActivationConfig, cameras: int, queries: int) -> None:
        self._sessions = [
            [ActivationSession(model, query, config) for query in QUERIES[:queries]] for _ in range(cameras)
        ]

    @property
    def memory_bytes(self) -> int:
        return sum(session.memory_bytes for sessions in self._sessions for session in sessions)

    def update_config(self, config: ActivationConfig) -> None:
        for sessions in self._sessions:
            for session in sessions:
                session.update_config(config)

    def tick(self, frames: Frames, time: float) -> list[ActivationUpdate]:
        updates = [
            session.push(frame, time)
            for sessions, frame in zip(self._sessions, frames, strict=True)
            for session in sessions
        ]
        return [update for update in updates if update is not None]


@dataclass
class Comparison:
    """Compares the decisions of two arms, in pairs.

    decisions: number compared; ties: watches that had other labels after a near-tie, and are left out from
    there; differ: decisions whose labels differ for another reason.
    """

    decisions: int = 0
    differ: int = 0
    apart: set[int] = field(default_factory=set)

    @property
    def ties(self) -> int:
        return len(self.apart)

    def add(self, one: Sequence[ActivationUpdate], other: Sequence[ActivationUpdate]) -> None:
        """Add the decisions of one tick, by camera and query."""
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            if index in self.apart:
                continue
            self.decisions += 1
            if np.array_equal(a.labels, b.labels):
                continue
            if _is_near_tie(a) or _is_near_tie(b):
                self.apart.add(index)
            else:
                self.differ += 1


def _is_near_tie(update: ActivationUpdate) -> bool:
    decided = update.probabilities[update.labels != UNSEEN]
    return bool(len(decided)) and float(np.abs(decided - 0.5).min()) < NEAR


def _rounds(settings: Settings) -> tuple[int, int]:
    """The number of rounds, and of ticks in each."""
    return -(-settings.ticks // TURN), min(TURN, settings.ticks)


def ticks_of(settings: Settings) -> int:
    """The number of times that `measure_cameras` calls `step`."""
    rounds, length = _rounds(settings)
    return settings.frames + WARM_UP + rounds * length


def measure_cameras(
    model: ActivationModel, settings: Settings, cameras: int, step: Callable[[], None]
) -> dict[str, Any]:
    """Measure; return the report as JSON values. `step` is called after each tick of both.

    Keys: cameras, queries (of each); rounds, each of as many `ticks` of both arms; batched and interleaved
    with cpu_ms and wall_ms (median over rounds, a tick of all cameras), ticks_per_second (of wall time),
    state_bytes, passes (mean of a decision), rounds_cpu_ms and rounds_wall_ms; cpu_ratio and wall_ratio (of
    the medians, interleaved by batched), cpu_ratios (by round); decisions (compared ones), labels_differ,
    near_ties, labels_equal; weights_bytes, peak_memory_bytes (of the process, with both arms); load_average.
    """
    filling = replace(settings.config(), decide_every=10**9)
    arms: dict[str, Arm] = {
        "batched": BatchedArm(model, filling, cameras, settings.queries),
        "interleaved": InterleavedArm(model, filling, cameras, settings.queries),
    }
    rounds, length = _rounds(settings)
    seconds = ticks_of(settings) + 1.0
    worlds = [World(seed=settings.seed + index, seconds=seconds) for index in range(cameras)]

    def frames_at(index: int) -> Frames:
        return [world.frame(float(index)) for world in worlds]

    for index in range(settings.frames):
        frames = frames_at(index)
        for arm in arms.values():
            arm.tick(frames, float(index))
        step()
    compared = Comparison()
    for arm in arms.values():
        arm.update_config(settings.config())
    for index in range(settings.frames, settings.frames + WARM_UP):
        frames = frames_at(index)
        compared.add(*(arms[name].tick(frames, float(index)) for name in ARMS))
        step()
    cpu: dict[str, list[float]] = {name: [] for name in ARMS}
    wall: dict[str, list[float]] = {name: [] for name in ARMS}
    steps: dict[str, list[int]] = {name: [] for name in ARMS}
    for number in range(rounds):
        first = settings.frames + WARM_UP + number * length
        shown = [frames_at(first + tick) for tick in range(length)]
        decided: dict[str, list[list[ActivationUpdate]]] = {}
        for name in ARMS if number % 2 == 0 else reversed(ARMS):
            begin, begin_cpu = clock.perf_counter(), clock.process_time()
            decided[name] = [
                arms[name].tick(frames, float(first + tick)) for tick, frames in enumerate(shown)
            ]
            cpu[name].append(1e3 * (clock.process_time() - begin_cpu) / length)
            wall[name].append(1e3 * (clock.perf_counter() - begin) / length)
            steps[name] += [update.steps for updates in decided[name] for update in updates]
        for one, other in zip(decided["batched"], decided["interleaved"], strict=True):
            compared.add(one, other)
            step()
    result: dict[str, Any] = {
        "cameras": cameras,
        "queries": settings.queries,
        "rounds": rounds,
        "ticks": length,
    }
    for name in ARMS:
        median = statistics.median(wall[name])
        result[name] = {
            "cpu_ms": statistics.median(cpu[name]),
            "wall_ms": median,
            "ticks_per_second": 1e3 / median,
            "state_bytes": arms[name].memory_bytes,
            "passes": statistics.fmean(steps[name]),
            "rounds_cpu_ms": cpu[name],
            "rounds_wall_ms": wall[name],
        }
    for kind in ("cpu", "wall"):
        result[f"{kind}_ratio"] = result["interleaved"][f"{kind}_ms"] / result["batched"][f"{kind}_ms"]
    return {
        **result,
        "cpu_ratios": [b / a for a, b in zip(cpu["batched"], cpu["interleaved"], strict=True)],
        "decisions": compared.decisions,
        "labels_differ": compared.differ,
        "near_ties": compared.ties,
        "labels_equal": not compared.differ,
        "weights_bytes": model.memory_bytes,
        "peak_memory_bytes": peak_memory(model),
        "load_average": list(os.getloadavg()),
    }


def camera_table(report: dict[str, Any]) -> str:
    """Format the numbers of a report for a terminal."""
    settings, mebi = report["settings"], 2**20
    cameras, queries = report["cameras"], report["queries"]
    sessions = cameras * queries
    rows = {
        "batched": "one engine, batched",
        "interleaved": counted(sessions, "session") + (" in turn" if sessions > 1 else ""),
    }
    lines = [
        f"{report['model']} on {report['device']} ({report['dtype']}, "
        f"{counted(report['threads'], 'thread')}): {counted(cameras, 'camera')} with "
        f"{counted(queries, 'query', 'queries')} each, window {report['window']}, "
        f"{counted(settings['frames'], 'frame')}",
        f"{'a tick of all, medians':<24}"
        + "".join(f"{name:>10}" for name in ("CPU ms", "wall ms", "ticks/s", "passes", "state MiB")),
    ]
    for name, title in rows.items():
        arm = report[name]
        lines.append(
            f"{title:<24}{arm['cpu_ms']:>10.1f}{arm['wall_ms']:>10.1f}{arm['ticks_per_second']:>10.1f}"
            f"{arm['passes']:>10.1f}{arm['state_bytes'] / mebi:>10.1f}"
        )
    ratios = report["cpu_ratios"]
    lines += [
        f"batched takes {report['cpu_ratio']:.2f} times less CPU ({min(ratios):.2f} to {max(ratios):.2f} in "
        f"{counted(report['rounds'], 'round')} of {counted(report['ticks'], 'tick')}), "
        f"{report['wall_ratio']:.2f} times less wall time",
        f"memory: weights {report['weights_bytes'] / mebi:.0f} MiB, peak with both "
        f"{report['peak_memory_bytes'] / mebi:.0f} MiB",
        f"labels equal: {'yes' if report['labels_equal'] else 'NO'}, {report['labels_differ']} of "
        f"{counted(report['decisions'], 'decision')} differ, {counted(report['near_ties'], 'near-tie')}",
    ]
    return "\n".join(lines)
