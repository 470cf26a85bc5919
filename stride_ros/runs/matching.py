"""Compare found spans with the ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from stride_ros.runs.intervals import overlap, pair_best_first
from stride_ros.runs.record import RETRACTED, Expected, Span


class _Interval(Protocol):
    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...


_Wanted = TypeVar("_Wanted", bound=_Interval)


@dataclass(frozen=True)
class Match:
    """An event of the ground truth and the span matched to it; either may be missing."""

    expected: Expected | None
    span: Span | None
    iou: float  # intersection over union of the two, 0 to 1

    @property
    def verdict(self) -> str:
        """One of found, inexact (found, but they overlap by less than half), missed, and false alarm."""
        if self.expected is None:
            return "false alarm"
        if self.span is None:
            return "missed"
        return "found" if self.iou >= 0.5 else "inexact"


def match_spans(expected: Sequence[Expected], spans: Sequence[Span]) -> list[Match]:
    """Pair each event of the ground truth with at most one span, by start time.

    Retracted spans count as false alarms only if no event overlaps them.
    """
    pairs = pair_up(expected, spans, lambda item, span, iou: iou > 0 and span.state != RETRACTED)
    matches = []
    for i, item in enumerate(expected):
        span = spans[pairs[i]] if i in pairs else None
        matches.append(Match(item, span, _iou(item, span) if span is not None else 0.0))
    for j, span in enumerate(spans):
        hits = any(_iou(item, span) > 0 for item in expected)
        if j not in pairs.values() and not (span.state == RETRACTED and hits):
            matches.append(Match(None, span, 0.0))
    return sorted(matches, key=_start)


def pair_up(
    expected: Sequence[_Wanted], spans: Sequence[Span], accept: Callable[[_Wanted, Span, float], bool]
) -> dict[int, int]:
    """Index of the found span by index of the expected one, each span once, the largest overlaps first.

    `accept(expected, span, iou)` says whether the two may be paired.
    """

    def score(i: int, j: int) -> float | None:
        iou = _iou(expected[i], spans[j])
        return iou if accept(expected[i], spans[j], iou) else None

    return {i: j for i, j, _ in pair_best_first(len(expected), len(spans), score)}


def _iou(item: _Interval, span: Span) -> float:
    return overlap(item.start, item.end, span.start, span.end)


def _start(match: Match) -> float:
    item = match.expected or match.span
    return item.start if item is not None else 0.0
