"""Measure how well onsets, spans and sentences agree with ground truth.

All times are in s. Everything is counted over all watched queries of all clips together (micro average).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stride_ros.runs.intervals import overlap, pair_best_first
from stride_ros.runs.onsets import Interval, match_onsets, near_event

BOUNDARY_IOU = 0.5  # minimum overlap of spans that count in the boundary error
IOUS = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Outcome:
    """The ground truth and the results for one query of one clip.

    truth and spans: (start, end) of events and of completed spans; onsets: when each published span was first
    reported; seconds: how long the query was watched.
    """

    truth: tuple[Interval, ...]
    spans: tuple[Interval, ...]
    onsets: tuple[float, ...]
    seconds: float


@dataclass
class Tally:
    """Sums over outcomes; `metrics` computes the metrics from them."""

    events: int = 0
    spans: int = 0
    onsets: int = 0
    seconds: float = 0.0
    hits: dict[float, int] = field(default_factory=lambda: dict.fromkeys(IOUS, 0))
    told: int = 0
    false_alarms: int = 0
    boundary_errors: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    word_accuracies: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Add one outcome."""
        self.events += len(outcome.truth)
        self.spans += len(outcome.spans)
        self.onsets += len(outcome.onsets)
        self.seconds += outcome.seconds
        pairs = match_spans(outcome.truth, outcome.spans)
        for threshold in IOUS:
            self.hits[threshold] += sum(iou >= threshold for _, _, iou in pairs)
        for i, j, iou in pairs:
            if iou >= BOUNDARY_IOU:
                errors = (abs(a - b) for a, b in zip(outcome.truth[i], outcome.spans[j], strict=True))
                self.boundary_errors.extend(errors)
        told = match_onsets(outcome.truth, outcome.onsets)
        self.told += len(told)
        self.delays += [outcome.onsets[j] - outcome.truth[i][0] for i, j in told]
        self.false_alarms += sum(not near_event(onset, outcome.truth) for onset in outcome.onsets)

    def metrics(self) -> dict[str, float | None]:
        """The metrics by their documented names; None if there is nothing to count."""
        return {
            **{f"span_f1_{round(100 * t)}": _f1(self.hits[t], self.events, self.spans) for t in IOUS},
            "onset_recall": _ratio(self.told, self.events),
            "onset_precision": _ratio(self.told, self.onsets),
            "false_alarms_per_minute": _ratio(60.0 * self.false_alarms, self.seconds),
            "boundary_error_s": _mean(self.boundary_errors),
            "onset_delay_s": _mean(self.delays),
            "text_accuracy": _mean(self.word_accuracies),
        }


def match_spans(truth: Sequence[Interval], spans: Sequence[Interval]) -> list[tuple[int, int, float]]:
    """Pairs (event, span, overlap), each used once, largest overlap first."""
    return pair_best_first(len(truth), len(spans), lambda i, j: overlap(*truth[i], *spans[j]) or None)


def word_accuracy(said: str, expected: str) -> float:
    """1 minus the word error rate (edits over expected words), at least 0; ignores case and punctuation."""
    a, b = _words(said), _words(expected)
    if not b:
        return float(not a)
    distance = np.arange(len(b) + 1)
    for i, word in enumerate(a, 1):
        previous, distance[0] = distance.copy(), i
        for j, other in enumerate(b, 1):
            distance[j] = min(previous[j] + 1, distance[j - 1] + 1, previous[j - 1] + (word != other))
    return max(0.0, 1.0 - float(distance[-1]) / len(b))


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def _ratio(count: float, total: float) -> float | None:
    return count / total if total else None


def _f1(hits: int, events: int, spans: int) -> float | None:
    return 2.0 * hits / (events + spans) if events + spans else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
