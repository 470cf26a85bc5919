"""The desk: which span events are answered, and one last word for each onset."""

from __future__ import annotations

import random

import pytest

from stride_ros.errors import BackendError, ConfigError
from stride_ros.response.desk import SpanDesk
from stride_ros.response.scheduler import AnswerScheduler, Outcome


@pytest.fixture
def desk_of(scheduler_of, make_request, monotonic):
    """A desk whose requests say in their query which span begins or ends."""

    class Desk(SpanDesk):
        def begin(self, key: str, query: str = "q") -> None:
            self.onset(key, f"{query}", lambda: make_request(query=f"{key} begins"), monotonic(), key)

        def finish(self, key: str) -> None:
            self.offset(key, lambda: make_request(query=f"{key} ends"))

    return lambda respond_on="onset", **options: Desk(scheduler_of(**options), respond_on)


def queries(backend) -> list[str]:
    return [request.query for request in backend.requests]


def test_on_onset_the_end_is_not_answered(desk_of, backend, record):
    desk = desk_of()
    backend.say("it begins", None)
    desk.begin("a")
    desk.finish("a")
    record.wait_for(lambda r: r.final("a"))
    assert queries(backend) == ["a begins"]


def test_on_offset_the_answer_waits_for_the_end(desk_of, backend, record):
    desk = desk_of("offset")
    backend.say("it is over", None)
    desk.begin("a")
    assert record.said == []
    desk.finish("a")
    record.wait_for(lambda r: r.final("a"))
    assert queries(backend) == ["a ends"]


def test_on_both_the_second_answer_is_the_final_one(desk_of, backend, record):
    desk = desk_of("both")
    backend.say("it begins", None)
    desk.begin("a")
    record.wait_for(lambda r: any(answer.ended for answer in r.of("a")))
    assert record.final("a") is None
    backend.say("it is over", None)
    desk.finish("a")
    record.wait_for(lambda r: r.final("a"))
    assert queries(backend) == ["a begins", "a ends"]
    assert record.final("a").text == "it is over"


@pytest.mark.parametrize("respond_on", ["onset", "offset", "both"])
def test_a_retracted_span_that_waits_is_skipped(desk_of, backend, record, respond_on):
    desk = desk_of(respond_on)
    backend.say("x")
    desk.begin("busy", "other")
    if respond_on == "offset":
        desk.finish("busy")
    backend.wait_for_requests(1)
    desk.begin("a")
    desk.retracted("a")
    assert record.final("a").outcome == Outcome.SKIPPED
    assert "retracted" in record.final("a").error
    assert queries(backend) == [f"busy {'ends' if respond_on == 'offset' else 'begins'}"]


@pytest.mark.parametrize("respond_on", ["onset", "both"])
def test_an_answer_under_way_is_finished_after_a_retraction(desk_of, backend, record, respond_on):
    desk = desk_of(respond_on)
    desk.begin("a")
    backend.wait_for_requests(1)
    desk.retracted("a")
    assert record.final("a") is None
    backend.say("a cup", None)
    record.wait_for(lambda r: r.final("a"))
    assert (record.final("a").outcome, record.final("a").text) == (Outcome.OK, "a cup")


def test_a_retraction_between_the_two_answers_keeps_the_first_text(desk_of, backend, record):
    desk = desk_of("both")
    backend.say("it begins", None)
    desk.begin("a")
    record.wait_for(lambda r: any(answer.ended for answer in r.of("a")))
    desk.retracted("a")
    assert (record.final("a").outcome, record.final("a").text) == (Outcome.SKIPPED, "it begins")


def test_nothing_follows_the_last_word_although_the_first_answer_is_still_under_way(desk_of, backend, record):
    desk = desk_of("both", policy="latest", partial_rate=1000.0)
    backend.say("it ")
    desk.begin("a")
    record.wait_for(lambda r: r.of("a"))
    desk.finish("a")
    desk.begin("b", "other")  # replaces the second answer about a, which waits
    assert record.final("a").outcome == Outcome.SKIPPED
    backend.say("begins", None, "b begins", None)
    record.wait_for(lambda r: any(answer.ended for answer in r.of("b")))
    assert record.of("a")[-1].final


@pytest.mark.parametrize("respond_on", ["onset", "offset", "both"])
def test_every_onset_is_answered_when_all_is_abandoned(desk_of, backend, record, respond_on):
    desk = desk_of(respond_on)
    for number in range(5):
        desk.begin(f"s{number}", f"query {number}")
    desk.finish("s0")
    desk.abandon("The robot is switched off.")
    for number in range(5):
        assert record.final(f"s{number}").error == "The robot is switched off."


@pytest.mark.parametrize("respond_on", ["onset", "offset", "both"])
def test_spans_whose_end_is_never_reported_get_their_last_word(desk_of, backend, record, respond_on):
    desk = desk_of(respond_on, max_queue=100)
    backend.say(*["x", None] * 30)
    for number in range(10):
        desk.begin(f"s{number}")
    desk.finish("s9")
    record.wait_for(lambda r: all(r.final(f"s{number}") for number in range(10)))
    for number in range(10):
        *before, last = record.of(f"s{number}")
        assert last.final
        assert not any(answer.final for answer in before)


def test_the_end_of_an_unknown_span_is_ignored(desk_of, backend, record):
    desk = desk_of("both")
    desk.finish("never seen")
    desk.retracted("never seen")
    assert record.said == []


def test_an_unknown_moment_is_refused(desk_of):
    with pytest.raises(ConfigError, match="onset, offset, both"):
        desk_of("later")


class FickleBackend:
    """Answers, fails, says nothing or takes a moment, as its random generator will have it."""

    name = "fickle"
    last_tokens = 1

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def stream(self, request, cancelled):
        for _ in range(self._random.randint(0, 3)):
            if cancelled():
                return
            if self._random.random() < 0.1:
                raise BackendError("It fell over: pick it up.")
            yield "word "


@pytest.mark.parametrize("policy", ["queue", "latest", "interrupt"])
@pytest.mark.parametrize("respond_on", ["onset", "offset", "both"])
def test_whatever_comes_in_whatever_order_each_onset_has_one_last_word(
    record, make_request, monotonic, policy, respond_on
):
    chance = random.Random(f"{policy} {respond_on}")
    scheduler = AnswerScheduler(FickleBackend(1), record, policy=policy, max_queue=3, partial_rate=1e6)
    desk = SpanDesk(scheduler, respond_on)
    request = make_request(1)
    begun: list[int] = []
    for _ in range(600):
        event = chance.random()
        span = begun[-chance.randint(1, min(4, len(begun)))] if begun else -1
        if event < 0.5:
            begun.append(len(begun))
            query = chance.choice(["cup", "ball", "hand"])
            desk.onset(begun[-1], query, lambda: request, monotonic(), begun[-1])
        elif event < 0.75:
            desk.offset(span, lambda: request)
        elif event < 0.98:
            desk.retracted(span)
        else:
            desk.abandon("The robot is reset.")
    desk.abandon("The robot is switched off.")
    assert scheduler.close("over", 30.0)
    for number in begun:
        *before, last = record.of(number)
        assert last.final, f"span {number} has no last word"
        assert not any(answer.final for answer in before), f"span {number} has two"
