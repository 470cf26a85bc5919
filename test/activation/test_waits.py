"""Which spans end a wait, and what is remembered of spans."""

from __future__ import annotations

import random

import pytest

from stride_ros.activation.spans import SpanState
from stride_ros.activation.waits import Sighting, SpanHistory, Until, Wait, WaitTerms

ONSET, UPDATE, OFFSET, RETRACTED = SpanState
QUERY = "Tell me when they come."


def sighting(span_id: int, state: SpanState, start: int = 0, end: int = 0, **fields: str) -> Sighting[str]:
    watch, camera = fields.get("watch", "door"), fields.get("camera", "")
    query = fields.get("query", QUERY)
    return Sighting(watch, camera, query, span_id, state, start, end, f"{span_id} {state.name}")


def wait(until: Until = Until.ONSET, *, accept_open: bool = True, since: int | None = None) -> Wait[str]:
    return Wait(WaitTerms("door", QUERY, until, accept_open, None if since is None else {"": since}))


def test_an_onset_ends_a_wait_and_its_newest_state_is_the_result() -> None:
    waiting = wait()
    waiting.see(sighting(1, UPDATE))
    waiting.see(sighting(1, OFFSET))
    assert waiting.found is None, "this one began before"
    waiting.see(sighting(2, ONSET))
    waiting.see(sighting(2, UPDATE))
    assert waiting.found == sighting(2, UPDATE)
    waiting.see(sighting(3, ONSET))
    assert waiting.found == sighting(3, ONSET), "of several, the last"


def test_an_offset_is_awaited_through_a_retraction() -> None:
    waiting = wait(Until.OFFSET)
    for state in (ONSET, UPDATE, RETRACTED):
        waiting.see(sighting(1, state))
    assert waiting.found is None
    waiting.see(sighting(2, ONSET))
    waiting.see(sighting(2, OFFSET))
    assert waiting.found == sighting(2, OFFSET)


def test_other_watches_and_queries_do_not_count() -> None:
    waiting = wait()
    waiting.see(sighting(1, ONSET, watch="window"))
    waiting.see(sighting(2, ONSET, query="Tell me when it rains."))
    assert waiting.found is None


@pytest.mark.parametrize(
    ("until", "accept_open", "since", "found"),
    [
        (Until.ONSET, True, None, 3),
        (Until.ONSET, False, None, None),
        (Until.ONSET, False, 30, 3),
        (Until.ONSET, False, 31, None),
        (Until.ONSET, True, 31, 3),
        (Until.OFFSET, True, None, None),
        (Until.OFFSET, True, 25, 2),
        (Until.OFFSET, False, 10, 2),
        (Until.OFFSET, True, 26, None),
    ],
)
def test_what_was_there_before_counts_where_it_is_asked_for(
    until: Until, accept_open: bool, since: int | None, found: int | None
) -> None:
    waiting = wait(until, accept_open=accept_open, since=since)
    waiting.recall([sighting(1, OFFSET, 0, 15), sighting(2, OFFSET, 20, 25), sighting(3, UPDATE, 30, 40)])
    assert (waiting.found and waiting.found.span_id) == found


def test_history_keeps_the_newest_state_of_the_last_spans() -> None:
    history: SpanHistory[str] = SpanHistory()
    history.record(sighting(1, ONSET))
    assert history.is_open("door", QUERY, "")
    history.record(sighting(1, OFFSET))
    history.record(sighting(2, ONSET))
    history.record(sighting(2, RETRACTED))
    assert history.of("door", QUERY) == [sighting(1, OFFSET)]
    assert not history.is_open("door", QUERY, "")
    assert history.of("door", "Tell me when it rains.") == []
    history.record(sighting(3, ONSET, watch="window"))
    history.keep_only(["window"])
    assert history.of("door", QUERY) == []
    assert history.is_open("window", QUERY, "")
    history.clear()
    assert not history.is_open("window", QUERY, "")


def test_history_tells_cameras_apart() -> None:
    history: SpanHistory[str] = SpanHistory()
    history.record(sighting(1, ONSET, camera="front"))
    history.record(sighting(2, ONSET, camera="rear"))
    assert [span.span_id for span in history.of("door", QUERY)] == [1, 2]
    assert [span.span_id for span in history.of("door", QUERY, "rear")] == [2]
    history.clear("front")
    assert not history.is_open("door", QUERY, "front")
    assert history.is_open("door", QUERY, "rear")


def test_history_is_bounded_and_never_forgets_what_goes_on() -> None:
    history: SpanHistory[str] = SpanHistory()
    history.record(sighting(1, ONSET))
    for number in range(2, 1000):
        history.record(sighting(number, ONSET))
        history.record(sighting(number, OFFSET))
    spans = history.of("door", QUERY)
    assert len(spans) <= 101
    assert spans[0].span_id == 1
    assert spans[-1].span_id == 999


def test_each_camera_is_looked_back_at_on_its_own_clock() -> None:
    waiting = Wait[str](WaitTerms("door", QUERY, accept_open=False, since={"front": 30, "left": 3600}))
    seen = [sighting(1, OFFSET, 3590, 3595, camera="left"), sighting(2, OFFSET, 31, 40, camera="front")]
    waiting.recall(seen)
    assert waiting.found == seen[1]
    waiting.recall([sighting(3, OFFSET, 5, 6, camera="rear")])
    assert waiting.found == sighting(3, OFFSET, 5, 6, camera="rear"), "it had shown nothing when this began"


def test_a_wait_that_comes_late_ends_with_what_one_that_was_early_saw() -> None:
    """Looking back over all there was finds an event whenever an early wait has found one that was real."""
    rng = random.Random(1)
    for _ in range(300):
        history: SpanHistory[str] = SpanHistory()
        early = wait(since=0)
        is_open, number = False, 0
        for time in range(rng.randrange(1, 12)):
            number += not is_open
            state = rng.choice([UPDATE, OFFSET, RETRACTED]) if is_open else ONSET
            is_open = state in (ONSET, UPDATE)
            change = sighting(number, state, time, time)
            early.see(change)
            history.record(change)
        late = wait(since=0)
        late.recall(history.of("door", QUERY))
        assert early.found is not None
        if early.found.state is not RETRACTED:
            assert late.found == early.found
