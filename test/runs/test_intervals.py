"""Intervals of time: overlap, and pairs."""

import pytest

from stride_ros.runs.intervals import overlap, pair_best_first


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ((0, 10), (5, 15), 1 / 3),
        ((0, 10), (10, 20), 0.0),
        ((0, 10), (2, 4), 0.2),
        ((0, 10), (12, 20), 0.0),
        ((3, 3), (3, 3), 0.0),
    ],
)
def test_overlap_is_intersection_over_union(a, b, iou):
    assert overlap(*a, *b) == pytest.approx(iou)


def test_the_best_pair_goes_first_and_leaves_the_rest_to_others():
    scores = {(0, 0): 0.8, (0, 1): 0.9, (1, 0): None, (1, 1): 0.7}
    assert pair_best_first(2, 2, lambda i, j: scores[i, j]) == [(0, 1, 0.9)]
    scores[1, 0] = 0.1
    assert pair_best_first(2, 2, lambda i, j: scores[i, j]) == [(0, 1, 0.9), (1, 0, 0.1)]


def test_of_equal_scores_the_first_in_order_counts():
    assert pair_best_first(2, 1, lambda i, j: 1.0) == [(0, 0, 1.0)]
