"""Time intervals in seconds: the overlap of two intervals, and matching pairs of two lists."""

from __future__ import annotations

from collections.abc import Callable


def overlap(start: float, end: float, other_start: float, other_end: float) -> float:
    """Intersection over union of two intervals in s, 0 if they do not overlap."""
    common = min(end, other_end) - max(start, other_start)
    union = max(end, other_end) - min(start, other_start)
    return common / union if common > 0 and union > 0 else 0.0


def pair_best_first(
    count: int, others: int, score: Callable[[int, int], float | None]
) -> list[tuple[int, int, float]]:
    """Pairs (i, j, score) of two lists of these lengths, best scores first, each item in at most one pair.

    `score(i, j)` is None if the two may not be paired. Of equal scores, the first in order counts.
    """
    candidates = sorted(
        (-value, i, j) for i in range(count) for j in range(others) if (value := score(i, j)) is not None
    )
    pairs: list[tuple[int, int, float]] = []
    taken: set[int] = set()
    taken_others: set[int] = set()
    for value, i, j in candidates:
        if i not in taken and j not in taken_others:
            taken.add(i)
            taken_others.add(j)
            pairs.append((i, j, -value))
    return pairs
