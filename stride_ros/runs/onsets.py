"""Compare onsets, the moments at which events are reported, with ground truth. All times are in s."""

from __future__ import annotations

from collections.abc import Sequence

from stride_ros.runs.intervals import pair_best_first

ONSET_TOLERANCE = 2.0  # s between an event's start and the decision that reports it

Interval = tuple[float, float]


def match_onsets(truth: Sequence[Interval], onsets: Sequence[float]) -> list[tuple[int, int]]:
    """Pairs (event, onset) up to ONSET_TOLERANCE apart, each used once, nearest first."""

    def nearness(i: int, j: int) -> float | None:
        distance = abs(onsets[j] - truth[i][0])
        return -distance if distance <= ONSET_TOLERANCE else None

    return [(i, j) for i, j, _ in pair_best_first(len(truth), len(onsets), nearness)]


def near_event(onset: float, truth: Sequence[Interval]) -> bool:
    """Whether the onset is within an event or up to ONSET_TOLERANCE away; otherwise it is a false alarm."""
    return any(start - ONSET_TOLERANCE <= onset <= end + ONSET_TOLERANCE for start, end in truth)
