"""Questions beside events: their turn, their limits, and what they leave alone."""

from __future__ import annotations

import pytest

from stride_ros.response.config import POLICIES
from stride_ros.response.prompt import question
from stride_ros.response.scheduler import AnswerStatus, Job


@pytest.fixture
def job_of(make_request, monotonic):
    def make(name: str, **options) -> Job:
        return Job(lambda: make_request(query=name), monotonic(), name, **options)

    return make


@pytest.mark.parametrize("policy", POLICIES)
def test_events_go_first_and_never_end_a_question(scheduler_of, backend, record, job_of, policy):
    scheduler = scheduler_of(busy_policy=policy)
    questions = [job_of(name, is_question=True) for name in ("first", "second")]
    for asked in questions:
        assert scheduler.ask(asked, 2)
    backend.wait_for_requests(1)
    scheduler.submit(job_of("event"))
    assert [scheduler.position(asked) for asked in questions] == [0, 1]
    backend.say("1", None, "2", None, "3", None)
    record.wait_for(lambda r: r.final("second"))
    assert [request.query for request in backend.requests] == ["first", "event", "second"]
    assert [record.final(name).text for name in ("first", "event", "second")] == ["1", "2", "3"]
    assert scheduler.figures().answered == 1, "events alone are counted"


def test_questions_that_wait_are_bounded_and_can_be_withdrawn(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of()
    scheduler.submit(job_of("event"))
    backend.wait_for_requests(1)
    first, second, third = (job_of(name, is_question=True) for name in "abc")
    assert scheduler.ask(first, 1)
    assert not scheduler.ask(second, 1)
    scheduler.drop(first)
    assert scheduler.ask(third, 1)
    backend.say("1", None, "2", None)
    record.wait_for(lambda r: r.final("c"))
    assert record.of("a") == record.of("b") == []
    assert [request.query for request in backend.requests] == ["event", "c"]


def test_withdrawing_stops_the_answer_under_way(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of()
    asked = job_of("a", is_question=True)
    scheduler.ask(asked, 1)
    backend.wait_for_requests(1)
    scheduler.drop(asked)
    assert scheduler.wait_idle(30.0)
    assert backend.stopped_early == 1
    assert record.of("a") == []


def test_an_answer_ends_with_its_last_word(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of()
    backend.say("A red", " cup st", "ands there", " and falls.", None)
    scheduler.ask(job_of("a", is_question=True, max_words=4), 1)
    record.wait_for(lambda r: r.final("a"))
    assert record.final("a").text == "A red cup stands"


def test_a_question_outlives_the_deadline_of_events(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of(deadline=0.05)
    scheduler.ask(job_of("a", is_question=True), 1)
    backend.wait_for_requests(1)
    scheduler.submit(job_of("event"))
    record.wait_for(lambda r: r.final("event"))
    assert record.final("event").status is AnswerStatus.SKIPPED
    backend.say("yes", None)
    record.wait_for(lambda r: r.final("a"))
    assert record.final("a").status is AnswerStatus.OK


def test_everything_that_is_owed_ends_at_once(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of()
    scheduler.submit(job_of("event"))
    scheduler.ask(job_of("a", is_question=True), 1)
    scheduler.skip_all("It is over.")
    assert [record.final(name).error for name in ("event", "a")] == ["It is over."] * 2


def test_a_question_is_asked_as_one(make_request):
    words = question(make_request(query="What is <there>?", max_words=7), ["<there>"])
    assert words == "The user asks: What is ?\nAnswer from what the frames show, in at most 7 words."
