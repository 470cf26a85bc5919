"""Held-out clips of the synthetic world, and a detector's score on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stride_ros.evaluation.detectors import Detection, Detector
from stride_ros.evaluation.metrics import Outcome, Tally
from stride_ros.evaluation.sentences import SentenceScorer
from stride_ros.runs.onsets import match_onsets
from stride_ros.world.story import WorldConfig, WorldEvent
from stride_ros.world.world import USUAL, World

CLIP_SECONDS = 60.0
SIZE = (640, 480)
FIRST_SEED = 1_000_000  # seeds of evaluation; those of training are lower


@dataclass(frozen=True)
class Clip:
    """Frames (H, W, 3) uint8 RGB at `times` (s), the watched queries, and what happens."""

    frames: list[NDArray[np.uint8]]
    times: list[float]
    queries: tuple[str, ...]
    world: World

    def events_for(self, query: str) -> tuple[WorldEvent, ...]:
        """Ground truth that frames can show: events that have begun by the last frame."""
        return tuple(event for event in self.world.events_for(query) if event.start < self.times[-1] - 1.0)

    def outcome(self, query: str, found: Detection) -> Outcome:
        """The results for a query with its ground truth."""
        end = self.times[-1]
        truth = tuple((event.start, min(event.end, end)) for event in self.events_for(query))
        return Outcome(truth, found.spans, found.onsets, end - self.times[0])


def clips(
    seed: int,
    count: int,
    queries: int,
    seconds: float = CLIP_SECONDS,
    config: WorldConfig = USUAL,
    always: tuple[str, ...] = (),
) -> Iterator[Clip]:
    """Clips of world seeds from FIRST_SEED + 1000 * seed on, with one frame per second.

    Of `queries` watched in each, one asks for something that does not happen, and those of `always` are among
    the others.
    """
    for number in range(count):
        world = World(seed=FIRST_SEED + 1000 * seed + number, seconds=seconds, size=SIZE, config=config)
        rng = np.random.default_rng([0xE7, seed, number])
        times = [float(time) for time in np.arange(0.0, seconds + 1e-9)]
        present = [world.queries[i] for i in rng.permutation(len(world.queries))]
        absent = [world.negative_queries[i] for i in rng.permutation(len(world.negative_queries))]
        present = [*always, *(query for query in present if query not in always)]
        absent = [query for query in absent if query not in always]
        watched = (present[: max(1, queries - 1)] + absent)[:queries]
        yield Clip([world.frame(time) for time in times], times, tuple(watched), world)


def score(
    detector: Detector,
    clips: Iterator[Clip] | Sequence[Clip],
    scorer: SentenceScorer | None = None,
    report: Callable[[int], None] = lambda done: None,
) -> Tally:
    """Watch every clip and count.

    With `scorer`, each correct onset is described and the words are judged; `report` gets the number of clips
    done.
    """
    tally = Tally()
    for done, clip in enumerate(clips, 1):
        found = detector.watch(clip.frames, clip.times, clip.queries)
        for query, detection in zip(clip.queries, found, strict=True):
            outcome = clip.outcome(query, detection)
            tally.add(outcome)
            if scorer is not None:
                events = clip.events_for(query)
                for i, j in match_onsets(outcome.truth, outcome.onsets)[: scorer.per_query]:
                    accuracy = scorer.judge(query, events[i], clip.frames, clip.times, detection.onsets[j])
                    tally.word_accuracies.append(accuracy)
        report(done)
    return tally
