"""The list of watches: who owns them, until when they are there, and which are the same."""

from __future__ import annotations

from stride_ros.activation.config import TriggerConfig
from stride_ros.activation.watch_list import Source, WatchList, WatchSpec

SECOND = 10**9
THIS, THAT, RAIN = "Say when it happens.", "Tell me when they come.", "Tell me when it rains."


class Listed:
    """A list at a time that the test sets, with a model that takes every query."""

    def __init__(self) -> None:
        self.now = 100 * SECOND
        self.list = WatchList(lambda: self.now, ("front", "left"))
        self.list.check_with(lambda spec: None)
        self.list.own([THIS], Source.PARAMETER)

    def add(self, id: str, query: str = THAT, **spec: object) -> None:
        self.list.add(WatchSpec(query, id, **spec), limit=10, replace_other=True)  # type: ignore[arg-type]

    def identities(self) -> dict[str, tuple[str, str, int]]:
        return {request.id: request.identity for request in self.list.requests(TriggerConfig(0.0, 0.0))}

    def expires(self) -> dict[str, int]:
        return {entry.spec.id: entry.expires // SECOND for entry in self.list.entries() if entry.expires}


def test_a_watch_that_was_gone_for_a_moment_is_another_one() -> None:
    listed = Listed()
    listed.add("door")
    first = listed.identities()["door"]
    listed.add("door", lifetime=SECOND)
    listed.add("door", cameras=("left",))
    assert listed.identities()["door"] == first, "it goes on with other settings"
    assert listed.list.remove("door")
    listed.add("door")
    again = listed.identities()["door"]
    assert again != first
    listed.add("door", RAIN)
    assert listed.identities()["door"] != again


def test_queries_of_the_parameters_that_stay_are_the_same_watches() -> None:
    listed = Listed()
    listed.list.own([THIS, THAT], Source.PARAMETER)
    before = {entry.spec.query: entry for entry in listed.list.entries()}
    listed.now += SECOND
    listed.list.own([THIS, RAIN], Source.TOPIC)
    after = {entry.spec.query: entry for entry in listed.list.entries()}
    assert (after[THIS].since, after[THIS].number) == (before[THIS].since, before[THIS].number)
    assert after[THIS].source is Source.TOPIC
    assert after[RAIN].since == listed.now
    listed.list.own([THIS, THAT], Source.TOPIC)
    assert listed.list.entries()[1].number != before[THAT].number


def test_what_is_left_of_a_lifetime_stays_when_the_clock_is_set() -> None:
    listed = Listed()
    listed.add("for_good")
    listed.add("30", lifetime=30 * SECOND)
    listed.add("5", lifetime=5 * SECOND)
    listed.now += 10 * SECOND
    listed.list.clock_was_set(listed.now, 0)
    listed.now = 0
    assert listed.expires() == {"30": 20}
    assert not listed.list.expire()
    listed.list.clock_was_set(0, 1000 * SECOND)
    listed.now = 1019 * SECOND
    assert not listed.list.expire()
    listed.now = 1020 * SECOND
    assert listed.list.expire()
    assert [entry.spec.id for entry in listed.list.entries()] == ["query", "for_good"]
