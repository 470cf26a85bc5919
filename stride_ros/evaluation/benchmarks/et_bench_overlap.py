"""Overlap of spans by ET-Bench's three rules, and the score of one answer.

The rules differ in the last bits, which matters since times with one decimal can meet thresholds exactly. TVG
and EPM: intersection over union of float32 numbers, compared as a double. TAL: the same, compared as float32.
DVC and SLC: doubles, with the union slightly enlarged, so that a threshold that is met exactly is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.evaluation.benchmarks.et_bench_answers import Span, events_in, spans_in
from stride_ros.evaluation.benchmarks.result import OfficialStops

THRESHOLDS = (0.1, 0.3, 0.5, 0.7)
SINGLE = ("tvg", "epm")  # tasks with one span
DENSE = ("dvc", "slc")  # tasks with a sentence for each span
_MOST = 1000  # predicted spans of a video that count in DVC and SLC
_TINY = 1e-8


@dataclass(frozen=True)
class Item:
    """The score of one answer. failed: it names no span; f1: at each threshold; in single tasks, 1 for a hit.

    iou: only in single tasks. precision and recall: only in dense tasks, at each threshold.
    """

    failed: bool
    f1: tuple[float, ...]
    iou: float | None = None
    precision: tuple[float, ...] = ()
    recall: tuple[float, ...] = ()


_NOTHING = (0.0,) * len(THRESHOLDS)


def score_item(task: str, answer: Any, truth: Any) -> Item:
    """The score of an answer; `truth` is a pair, or a list of pairs, in s.

    Raises OfficialStops where the official scorer does.
    """
    events = _events(truth, single=task in SINGLE)
    if task in DENSE:
        found = events_in(answer)
        return Item(True, _NOTHING) if found is None else dense([span for span, _ in found], events)
    spans = spans_in(answer)
    if spans is None:
        return Item(True, _NOTHING, 0.0 if task in SINGLE else None)
    return single(spans[0], events[0]) if task in SINGLE else several(spans, events)


def overlaps(events: Sequence[Span], spans: Sequence[Span]) -> NDArray[np.float32]:
    """Intersection over union of each event with each span, in float32; NaN if both have no length."""
    with np.errstate(invalid="ignore", over="ignore"):
        a, b = np.array(events, np.float32), np.array(spans, np.float32)
        end = np.minimum(a[:, None, 1], b[:, 1])
        common = np.maximum(end - np.maximum(a[:, None, 0], b[:, 0]), np.float32(0))
        lengths = (a[:, 1] - a[:, 0])[:, None] + (b[:, 1] - b[:, 0])
        result: NDArray[np.float32] = common / (lengths - common)
    return result


def dense_overlap(span: Span, event: Span) -> float:
    """Intersection over union as in DVC and SLC, in doubles."""
    common = max(0, min(span[1], event[1]) - max(span[0], event[0]))
    union = min(max(span[1], event[1]) - min(span[0], event[0]), (span[1] - span[0]) + (event[1] - event[0]))
    return common / (union + _TINY)


def single(span: Span, event: Span) -> Item:
    """The score of the first span of an answer to TVG or EPM."""
    iou = float(overlaps([event], [span])[0, 0])
    return Item(False, tuple(float(iou >= threshold) for threshold in THRESHOLDS), iou)


def several(spans: Sequence[Span], events: Sequence[Span]) -> Item:
    """The score of the spans of an answer to TAL."""
    table = overlaps(events, spans)
    best, best_of_event, best_of_span = table.max(), table.max(axis=1), table.max(axis=0)  # NaN prevails
    f1 = []
    for threshold in map(np.float32, THRESHOLDS):
        if best < threshold:
            f1.append(0.0)
            continue
        recall = float((best_of_event >= threshold).astype(np.float32).mean(dtype=np.float32))
        precision = float((best_of_span >= threshold).astype(np.float32).mean(dtype=np.float32))
        if not precision + recall:
            raise OfficialStops(
                "ZeroDivisionError", "a span and an event of no length at the same time have no overlap"
            )
        f1.append(2 * precision * recall / (precision + recall))
    return Item(False, tuple(f1))


def dense(spans: Sequence[Span], events: Sequence[Span]) -> Item:
    """The score of the spans of an answer to DVC or SLC."""
    spans = spans[:_MOST]
    table = [[dense_overlap(span, event) for event in events] for span in spans]
    precision, recall = [], []
    for threshold in THRESHOLDS:
        hits = [[value > threshold for value in row] for row in table]
        precision.append(sum(map(any, hits)) / len(spans))
        recall.append(sum(map(any, zip(*hits, strict=True))) / len(events))
    f1 = tuple(harmonic(p, r) for p, r in zip(precision, recall, strict=True))
    return Item(False, f1, precision=tuple(precision), recall=tuple(recall))


def harmonic(precision: float, recall: float) -> float:
    """F1 of precision and recall; 0 if both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _events(truth: Any, *, single: bool) -> list[Span]:
    pairs = [truth] if single else truth
    if not isinstance(pairs, list) or not pairs or not all(map(_is_pair, pairs)):
        raise OfficialStops("TypeError", "its annotation has no spans of two numbers in tgt")
    return [(pair[0], pair[1]) for pair in pairs]


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(part, int | float) and not isinstance(part, bool) for part in value)
    )
