"""Ids of watches and spans as outsiders see them."""

from __future__ import annotations

import re

import pytest

from stride_ros.activation.identity import MAX_NUMBER, SpanIds, span_number, watch_ids


def test_ids_of_one_life_share_a_prefix_and_count_on():
    ids = SpanIds()
    made = [ids(count) for count in (1, 2, 3)]
    assert [span_number(span_id) for span_id in made] == [1, 2, 3]
    assert len({span_id >> 21 for span_id in made}) == 1
    assert ids(2) == made[1], "the same span, the same id"


def test_ids_of_two_lives_differ():
    lives = [SpanIds()(1) >> 21 for _ in range(20)]
    assert len(set(lives)) == 20
    assert 0 not in lives, "0 is the prefix of replays"


def test_ids_stay_exact_in_javascript_and_sqlite_and_unique_beyond_the_lower_bits():
    ids = SpanIds()
    made = [ids(count) for count in (1, MAX_NUMBER, MAX_NUMBER + 1, 2 * MAX_NUMBER + 1)]
    assert all(0 < span_id < 2**53 for span_id in made)
    assert all(float(span_id) == span_id for span_id in made)
    assert len(set(made)) == 4
    assert [span_number(span_id) for span_id in made] == [1, MAX_NUMBER, 1, 1]
    assert len({span_id >> 21 for span_id in made}) == 3


@pytest.mark.parametrize("count", [1, 2, 30])
def test_each_query_has_a_watch_with_a_valid_id(count):
    ids = watch_ids([f"Query {i}" for i in range(count)])
    assert len(set(ids)) == count
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", watch) for watch in ids)
