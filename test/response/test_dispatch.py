"""Which span events are answered, and one final answer for each onset."""

from __future__ import annotations

import random

import pytest

from stride_ros.errors import BackendError
from stride_ros.response.config import ResponseConfig
from stride_ros.response.dispatch import AnswerDispatch
from stride_ros.response.scheduler import AnswerScheduler, AnswerStatus


@pytest.fixture
def dispatch_of(scheduler_of, make_request, monotonic):
    """A dispatch whose requests say in their query which span begins or ends."""

    class Dispatch(AnswerDispatch):
        def begin(self, key: str, query: str = "q") -> None:
            self.onset(key, f"{query}", lambda: make_request(query=f"{key} begins"), monotonic(), key)

        def finish(self, key: str) -> None:
            self.offset(key, lambda: make_request(query=f"{key} ends"))

    return lambda respond_on="onset", **options: Dispatch(scheduler_of(**options), respond_on)


def queries(backend) -> list[str]:
    return [request.query for request in backend.requests]


def test_on_onset_the_end_is_not_answered(dispatch_of, backend, record):
    dispatch = dispatch_of()
    backend.say("it begins", None)
    dispatch.begin("a")
    dispatch.finish("a")
    record.wait_for(lambda r: r.final("a"))
    assert queries(backend) == ["a begins"]


def test_on_offset_the_answer_waits_for_the_end(dispatch_of, backend, record):
    dispatch = dispatch_of("offset")
    backend.say("it is over", None)
    dispatch.begin("a")
    assert record.said == []
    dispatch.finish("a")
    record.wait_for(lambda r: r.final("a"))
    assert queries(backend) == ["a ends"]


def test_on_both_the_second_answer_is_the_final_one(dispatch_of, backend, record):
    dispatch = dispatch_of("both")
    backend.say("it begins", None)
    dispatch.begin("a")
    record.wait_for(lambda r: any(answer.ended for answer in r.of("a")))
    assert record.final("a") is None
    backend.say("it is over", None)
    dispatch.finish("a")
    record.wait_for(lambda r: r.final("a"))
    assert queries(backend) == ["a begins", "a ends"]
    assert record.final("a").text == "it is over"


@pytest.mark.parametrize("respond_on", ["onset", "offset", "both"])
def test_a_retracted_span_that_waits_is_skipped(dispatch_of, backend, record, respond_on):
    dispatch = dispatch_of(respond_on)
    backend.say("x")
    dispatch.begin("busy", "other")
    if respond_on == "offset":
        dispatch.finish("busy")
    backend.wait_for_requests(1)
    dispatch.begin("a")
    dispatch.retracted("a")
    assert record.final("a").status == AnswerStatus.SKIPPED
    assert "retracted" in record.final("a").error
    assert queries(backend) == [f"busy {'ends' if respond_on == 'offset' else 'begins'}"]


@pytest.mark.parametrize("respond_on", ["onset", "both"])
def test_an_answer_under_way_is_finished_after_a_retraction(dispatch_of, backend, record, respond_on):
    dispatch = dispatch_of(respond_on)
    dispatch.begin("a")
    backend.wait_for_requests(1)
    dispatch.retracted("a")
    assert record.final("a") is None
    backend.say("a cup", None)
    record.wait_for(lambda r: r.final("a"))
    assert (record.final("a").status, record.final("a").text) == (AnswerStatus.OK, "a cup")


def test_a_retraction_between_the_two_answers_keeps_the_first_text(dispatch_of, backend, record):
    dispatch = dispatch_of("both")
    backend.say("it begins", None)
    dispatch.begin("a")
    record.wait_for(lambda r: any(answer.ended for answer in r.of("a")))
    dispatch.retracted("a")
    assert (record.final("a").status, record.final("a").text) == (AnswerStatus.SKIPPED, "it begins")


def test_nothing_follows_the_last_word_although_the_first_answer_is_still_under_way(
    dispatch_of, backend, record
):
    dispatch = dispatch_of("both", busy_policy="latest", partial_rate=1000.0)
    backend.say("it ")
    dispatch.begin("a")
    record.wait_for(lambda r: r.of("a"))
    dispatch.finish("a")
    dispatch.begin("b", "other")  # replaces the second answer about a, which waits
    assert record.final("a").status == AnswerStatus.SKIPPED
    backend.say("begins", None, "b begins", None)
    record.wait_for(lambda r: any(answer.ended for answer in r.of("b")))
    assert record.of("a")[-1].final


@pytest.mark.parametrize("respond_on", ["onset", "offset", "both"])
def test_every_onset_is_answered_when_all_is_abandoned(dispatch_of, backend, record, respond_on):
    dispatch = dispatch_of(respond_on)
    for number in range(5):
        dispatch.begin(f"s{number}", f"query {number}")
    dispatch.finish("s0")
    dispatch.abandon("The robot is switched off.")
    for number in range(5):
        assert record.final(f"s{number}").error == "The robot is switched off."


@pytest.mark.parametrize("respond_on", ["onset", "offset", "both"])
def test_spans_whose_end_is_never_reported_get_their_last_word(dispatch_of, backend, record, respond_on):
    dispatch = dispatch_of(respond_on, max_queue=100)
    backend.say(*["x", None] * 30)
    for number in range(10):
        dispatch.begin(f"s{number}")
    dispatch.finish("s9")
    record.wait_for(lambda r: all(r.final(f"s{number}") for number in range(10)))
    for number in range(10):
        *before, last = record.of(f"s{number}")
        assert last.final
        assert not any(answer.final for answer in before)


def test_the_end_of_an_unknown_span_is_ignored(dispatch_of, backend, record):
    dispatch = dispatch_of("both")
    dispatch.finish("never seen")
    dispatch.retracted("never seen")
    assert record.said == []


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
    scheduler = AnswerScheduler(
        FickleBackend(1), record, ResponseConfig(busy_policy=policy, max_queue=3, partial_rate=1e6)
    )
    dispatch = AnswerDispatch(scheduler, respond_on)
    request = make_request(1)
    begun: list[int] = []
    for _ in range(600):
        event = chance.random()
        span = begun[-chance.randint(1, min(4, len(begun)))] if begun else -1
        if event < 0.5:
            begun.append(len(begun))
            query = chance.choice(["cup", "ball", "hand"])
            dispatch.onset(begun[-1], query, lambda: request, monotonic(), begun[-1])
        elif event < 0.75:
            dispatch.offset(span, lambda: request)
        elif event < 0.98:
            dispatch.retracted(span)
        else:
            dispatch.abandon("The robot is reset.")
    dispatch.abandon("The robot is switched off.")
    assert scheduler.close("over", 30.0)
    for number in begun:
        *before, last = record.of(number)
        assert last.final, f"span {number} has no last word"
        assert not any(answer.final for answer in before), f"span {number} has two"
