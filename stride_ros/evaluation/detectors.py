"""The detectors to compare: the activation session, and simpler ones with the same model or without.

A detector watches the queries of one clip at one frame per second, and gives the spans and onsets of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.spans import SpanEvent, SpanState
from stride_ros.activation.stream import Stream
from stride_ros.runs.onsets import Interval

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Detection:
    """Completed spans (start, end) of one query, and when each published span was first reported (s)."""

    spans: tuple[Interval, ...]
    onsets: tuple[float, ...]


class Detector(Protocol):
    """Watches one clip; `tick_seconds` collects what each decision took."""

    tick_seconds: list[float]

    def watch(
        self, frames: Sequence[Image], times: Sequence[float], queries: Sequence[str]
    ) -> list[Detection]:
        """One detection for each query. frames (H, W, 3) uint8 RGB at `times` (s)."""


class Session:
    """STRIDE as a node runs it: a live stream with several queries."""

    def __init__(self, model: ActivationModel, config: ActivationConfig | None = None) -> None:
        self._model, self._config = model, config or ActivationConfig()
        self.tick_seconds: list[float] = []

    def watch(
        self, frames: Sequence[Image], times: Sequence[float], queries: Sequence[str]
    ) -> list[Detection]:
        """See Detector."""
        engine, stream = _watched(self._model, queries, self._config)
        events: list[SpanEvent] = []
        for frame, time in zip(frames, times, strict=True):
            updates = engine.push({stream: (frame, time)})
            for update in updates:
                events += update.events
            if updates:
                self.tick_seconds.append(updates[0].timings["total"])
        events += stream.close()
        return [_detection([event for event in events if event.query == query]) for query in queries]


def _watched(
    model: ActivationModel, queries: Sequence[str], config: ActivationConfig
) -> tuple[ActivationEngine, Stream]:
    """Decisions of an engine with one stream that is watched for all queries."""
    engine = ActivationEngine(model, config, keep_features=False)
    stream = engine.open_stream("clip")
    for query in queries:
        stream.watch(query)
    return engine, stream


def _detection(events: Sequence[SpanEvent]) -> Detection:
    return Detection(
        tuple((event.start, event.end) for event in events if event.state == SpanState.OFFSET),
        tuple(event.time for event in events if event.state == SpanState.ONSET),
    )


class NewestSlot:
    """Per-frame decisions with the same weights: only the newest slot of one fresh pass.

    A frame is active if P(active) of that slot, or the median of the last `smoothing` ones, is above
    `threshold`. A span is a run of active frames.
    """

    def __init__(self, model: ActivationModel, threshold: float = 0.5, smoothing: int = 1) -> None:
        self._model, self._threshold, self._smoothing = model, threshold, smoothing
        # The session's spans are not used: none is ever over, so none settles slots.
        self._config = ActivationConfig(unmasking_steps=1, confidence_threshold=None, margin_seconds=1e9)
        self.tick_seconds: list[float] = []

    def watch(
        self, frames: Sequence[Image], times: Sequence[float], queries: Sequence[str]
    ) -> list[Detection]:
        """See Detector."""
        decide = partial(active_runs, times=times, threshold=self._threshold, smoothing=self._smoothing)
        return [decide(values) for values in self.probabilities(frames, times, queries)]

    def probabilities(
        self, frames: Sequence[Image], times: Sequence[float], queries: Sequence[str]
    ) -> list[list[float]]:
        """P(active) of each frame, for each query; 0 where no decision was made."""
        probabilities: list[list[float]] = [[] for _ in queries]
        engine, stream = _watched(self._model, queries, self._config)
        newest = self._model.past - 1
        for frame, time in zip(frames, times, strict=True):
            updates = {update.query: update for update in engine.push({stream: (frame, time)})}
            for values, query in zip(probabilities, queries, strict=True):
                update = updates.get(query)
                values.append(float(update.probabilities[newest]) if update else 0.0)
        return probabilities


class Motion:
    """No model: reports an event whenever the picture changes by more than `threshold` grey levels.

    The change is the mean over the picture.
    """

    def __init__(self, threshold: float = 4.0) -> None:
        self._threshold = threshold
        self.tick_seconds: list[float] = []

    def watch(
        self, frames: Sequence[Image], times: Sequence[float], queries: Sequence[str]
    ) -> list[Detection]:
        """See Detector; every query gets the same result."""
        moving = [False]
        for before, after in pairwise(frames):
            change = np.abs(after[::4, ::4].astype(np.int16) - before[::4, ::4]).mean()
            moving.append(bool(change > self._threshold))
        return [runs_of(moving, times)] * len(queries)


class FixedInterval:
    """No model: reports an event every `period` seconds, lasting half a period."""

    def __init__(self, period: float = 10.0) -> None:
        self._period = period
        self.tick_seconds: list[float] = []

    def watch(
        self, frames: Sequence[Image], times: Sequence[float], queries: Sequence[str]
    ) -> list[Detection]:
        """See Detector; every query gets the same result."""
        return [runs_of([time % self._period < self._period / 2 for time in times], times)] * len(queries)


def active_runs(
    values: Sequence[float], times: Sequence[float], threshold: float, smoothing: int = 1
) -> Detection:
    """Runs of frames whose P(active), or the median of the last `smoothing` ones, is above `threshold`."""
    medians = [float(np.median(values[max(0, i - smoothing + 1) : i + 1])) for i in range(len(values))]
    return runs_of([value > threshold for value in medians], times)


def runs_of(active: Sequence[bool], times: Sequence[float]) -> Detection:
    """Each run of active frames as a span, from the frame before it to its last frame."""
    spans, onsets = [], []
    start: int | None = None
    for i, now in enumerate([*active, False]):
        if now and start is None:
            start = i
            onsets.append(times[i])
        elif not now and start is not None:
            spans.append((times[max(0, start - 1)], times[i - 1]))
            start = None
    return Detection(tuple(spans), tuple(onsets))
