"""Which watch a goal uses: one that is there, or one of its own, which goes with its last user."""

from __future__ import annotations

from typing import Any

import pytest

from stride_ros.activation.waits import Until
from stride_ros.activation.watch_list import Refusal, Source, WatchEntry, WatchError, WatchSpec
from stride_ros.activation.watch_sharing import WatchSharing

QUERY, SECOND = "Tell me when they come.", 10**9
NOW = 100 * SECOND


def entry(id: str = "door", since: int = 0, expires: int = 0, problem: str = "", **spec: Any) -> WatchEntry:
    return WatchEntry(WatchSpec(QUERY, id, **spec), Source.ACTION, since * SECOND, expires, problem)


def choose(spec: WatchSpec, *entries: WatchEntry, **fields: Any) -> Any:
    options: dict[str, Any] = {"until": Until.ONSET, "accept_open": True, "now": NOW, **fields}
    return WatchSharing().choose(spec, list(entries), **options)


def test_an_id_alone_is_a_watch_that_is_there() -> None:
    there = entry(look_back=SECOND, min_confidence=0.5)
    assert choose(WatchSpec("", "door"), entry("window"), there) is there
    assert choose(WatchSpec("", "door", owner="me", look_back=SECOND), there) is there
    with pytest.raises(WatchError, match="no watch 'gate'"):
        choose(WatchSpec("", "gate"), there)
    with pytest.raises(WatchError, match="its model") as refused:
        choose(WatchSpec("", "door"), entry(problem="its model cannot"))
    assert refused.value.code is Refusal.INVALID


@pytest.mark.parametrize(
    ("asked", "there", "shared"),
    [
        ({}, {}, True),
        ({"owner": "me"}, {"owner": "you"}, True),
        ({"min_confidence": 0.5}, {"min_confidence": 0.5}, True),
        ({"min_confidence": 0.5}, {}, False),
        ({"respond": False}, {}, False),
        ({"cameras": ("front",)}, {}, False),
        ({"lifetime": SECOND}, {}, False),
        ({}, {"expires": NOW + SECOND, "lifetime": SECOND}, False),
        ({}, {"problem": "It cannot be."}, False),
        ({"look_back": 100 * SECOND}, {}, True),
        ({"look_back": 101 * SECOND}, {}, False),
        ({"look_back": 10 * SECOND}, {"since": 95}, False),
        ({"look_back": 10 * SECOND}, {"since": 95, "look_back": 5 * SECOND}, True),
    ],
)
def test_a_watch_for_the_same_is_shared(asked: Any, there: Any, shared: bool) -> None:
    known = entry(**there)
    chosen = choose(WatchSpec(QUERY, **asked), known)
    assert (chosen is known) == shared
    assert shared or chosen.query == QUERY


def test_a_name_of_a_watch_for_something_else_is_refused() -> None:
    known = entry()
    assert choose(WatchSpec(QUERY, "door"), known) is known
    with pytest.raises(WatchError, match="something else") as refused:
        choose(WatchSpec(QUERY, "door", respond=False), known)
    assert refused.value.code is Refusal.ID_TAKEN
    assert choose(WatchSpec(QUERY, "gate"), known) == WatchSpec(QUERY, "gate"), "a name is kept"


def test_a_watch_of_its_own_sees_what_reaches_into_the_look_back() -> None:
    spec = WatchSpec(QUERY, look_back=SECOND)
    assert choose(spec, accept_open=False) == spec
    assert choose(spec).look_back > 3600 * SECOND
    assert choose(spec, accept_open=False, until=Until.OFFSET).look_back > 3600 * SECOND
    assert choose(WatchSpec(QUERY)).look_back == 0


def test_the_last_user_is_told() -> None:
    sharing = WatchSharing()
    for id in ("door", "door", "gate"):
        sharing.use(id)
    assert [sharing.leave(id) for id in ("door", "gate", "door")] == [False, True, True]
