"""Thousands of ONSETs in a burst: each has exactly one final Commentary, and memory and file stay small."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import numpy as np
import pytest

from stride_ros.response.commentary import Commentary, SpanReport, SpanState
from stride_ros.response.config import ResponseConfig
from stride_ros.response.dispatch import MAX_OPEN
from stride_ros.response.known_onsets import KnownOnsets
from stride_ros.response.responder import Responder

pytestmark = pytest.mark.slow

FLOOD = 10_000


class Counting:
    """Counts the final Commentaries of each span."""

    def __init__(self) -> None:
        self.finals: Counter[int] = Counter()

    def commentary(self, commentary: Commentary) -> None:
        self.finals[commentary.span.span_id] += commentary.final


def report(state: SpanState, span_id: int, same_watch: bool) -> SpanReport:
    """A report as it comes over the graph, published at a time of its own."""
    watch = "cup" if same_watch else str(span_id)
    return SpanReport(state, span_id, "the cup", 1, 1, 1, watch=watch, published=2 * span_id + state)


@pytest.fixture
def flooded(backend, tmp_path):
    """Makes a responder whose first answer takes as long as the test, and floods it with onsets."""
    made = []

    def flood(count: int, respond_on: str, same_watch: bool) -> tuple[Responder, Counting]:
        counting = Counting()
        answered = KnownOnsets(tmp_path / "answered")
        responder = Responder(backend, ResponseConfig(respond_on=respond_on), counting, answered=answered)
        made.append(responder)
        responder.frame(np.zeros((8, 16, 3), np.uint8), 1)
        for span_id in range(1, count + 1):
            responder.span(report(SpanState.ONSET, span_id, same_watch))
        return responder, counting

    yield flood
    for responder in made:
        assert responder.close("The test is over.")


@pytest.mark.parametrize(
    ("count", "respond_on", "same_watch"),
    [
        (FLOOD, "onset", False),
        (3 * MAX_OPEN, "onset", True),
        (3 * MAX_OPEN, "offset", False),
        (3 * MAX_OPEN, "both", False),
        (3 * MAX_OPEN, "both", True),
    ],
)
def test_each_onset_of_a_flood_has_one_final_whatever_comes_after(flooded, count, respond_on, same_watch):
    responder, counting = flooded(count, respond_on, same_watch)
    for span_id in range(1, count + 1):
        responder.span(report(SpanState.UPDATE, span_id, same_watch))
        responder.span(report(SpanState.OFFSET, span_id, same_watch))
    responder.stop("The test is over.")
    assert counting.finals == dict.fromkeys(range(1, count + 1), 1)


def test_memory_and_file_stay_small(flooded, tmp_path):
    tracemalloc.start()
    flooded(FLOOD, "both", False)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 20_000_000
    assert (tmp_path / "answered").stat().st_size < 5_000_000
