"""Compare the spans that were found with the ones that were expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stride_ros.replay.record import RETRACTED, Expected, Span


@dataclass(frozen=True)
class Match:
    """An expected span and the found one that is taken for it; either may be missing."""

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
    """Pair each expected span with at most one found span, the largest overlaps first; by start time.

    Retracted spans count as false alarms only when nothing expected overlaps them.
    """
    pairs = sorted(
        (
            (overlap(item.start, item.end, span.start, span.end), i, j)
            for i, item in enumerate(expected)
            for j, span in enumerate(spans)
            if span.state != RETRACTED
        ),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    taken: dict[int, tuple[int, float]] = {}
    used: set[int] = set()
    for iou, i, j in pairs:
        if iou > 0 and i not in taken and j not in used:
            taken[i] = (j, iou)
            used.add(j)
    matches = [
        Match(item, spans[taken[i][0]], taken[i][1]) if i in taken else Match(item, None, 0.0)
        for i, item in enumerate(expected)
    ]
    for j, span in enumerate(spans):
        hits = any(overlap(item.start, item.end, span.start, span.end) > 0 for item in expected)
        if j not in used and not (span.state == RETRACTED and hits):
            matches.append(Match(None, span, 0.0))
    return sorted(matches, key=_start)


def overlap(start: float, end: float, other_start: float, other_end: float) -> float:
    """Intersection over union of two intervals in s, 0 when they do not overlap."""
    common = min(end, other_end) - max(start, other_start)
    union = max(end, other_end) - min(start, other_start)
    return common / union if common > 0 and union > 0 else 0.0


def _start(match: Match) -> float:
    item = match.expected or match.span
    return item.start if item is not None else 0.0
