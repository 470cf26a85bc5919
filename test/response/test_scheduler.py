"""The scheduler: one answer at a time, bounded, and exactly one end for each job."""

from __future__ import annotations

import pytest

from stride_ros.errors import BackendError
from stride_ros.response.config import ResponseConfig
from stride_ros.response.scheduler import AnswerScheduler, AnswerStatus, Job, NothingToShow


@pytest.fixture
def job_of(make_request, monotonic):
    def make(name: str, **options) -> Job:
        return Job(lambda: make_request(query=name), monotonic(), name, **options)

    return make


def queries(backend) -> list[str]:
    return [request.query for request in backend.requests]


def test_an_answer_grows_and_ends_with_its_whole_text(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of(partial_rate=1000.0)
    backend.say("A cup ")
    scheduler.submit(job_of("a"))
    record.wait_for(lambda r: r.of("a"))
    backend.say("falls. ", None)
    record.wait_for(lambda r: r.final("a"))
    first, *_, last = record.of("a")
    assert (first.text, first.final, first.status) == ("A cup", False, AnswerStatus.OK)
    assert (last.text, last.status, last.error) == ("A cup falls.", AnswerStatus.OK, "")
    assert last.latency >= first.latency > 0


def test_partial_texts_are_rare(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of(partial_rate=0.01)  # the next one would be due in 100 s
    backend.say(*"abcdefgh", None)
    scheduler.submit(job_of("a"))
    record.wait_for(lambda r: r.final("a"))
    assert [answer.text for answer in record.of("a")] == ["a", "abcdefgh"]


def test_jobs_are_answered_in_order(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of()
    for name in "abc":
        scheduler.submit(job_of(name))
    backend.say("1", None, "2", None, "3", None)
    record.wait_for(lambda r: r.final("c"))
    assert [record.final(name).text for name in "abc"] == ["1", "2", "3"]


def test_a_full_queue_skips_its_oldest(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of(max_queue=2)
    scheduler.submit(job_of("running"))
    backend.wait_for_requests(1)
    for name in "abcd":
        scheduler.submit(job_of(name))
    backend.say("x", None, "y", None, "z", None)
    record.wait_for(lambda r: r.final("d"))
    assert [record.final(name).status for name in "abcd"] == [2, 2, 0, 0]
    assert "More than 2 events" in record.final("a").error


def test_latest_replaces_what_waits_and_lets_the_running_answer_end(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of(busy_policy="latest")
    scheduler.submit(job_of("running"))
    backend.wait_for_requests(1)
    scheduler.submit(job_of("old"))
    scheduler.submit(job_of("new"))
    backend.say("x", None, "y", None)
    record.wait_for(lambda r: r.final("new"))
    assert [record.final(name).status for name in ("running", "old", "new")] == [0, 2, 0]


def test_interrupt_also_stops_the_running_answer(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of(busy_policy="interrupt", partial_rate=1000.0)
    backend.say("half an ")
    scheduler.submit(job_of("running"))
    record.wait_for(lambda r: r.of("running"))
    scheduler.submit(job_of("new"))
    backend.wait_for_requests(2)
    backend.say("whole", None)
    record.wait_for(lambda r: r.final("new"))
    assert backend.stopped_early == 1
    assert record.final("running").status == AnswerStatus.SKIPPED
    assert record.final("running").text == "half an"
    assert record.final("new").text == "whole"


def test_a_deadline_ends_waiting_and_hanging_answers(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of(deadline=0.05)
    scheduler.submit(job_of("hangs"))
    scheduler.submit(job_of("waits"))
    record.wait_for(lambda r: r.final("hangs") and r.final("waits"))
    assert record.final("hangs").status == record.final("waits").status == AnswerStatus.SKIPPED
    assert "deadline of 0.05 s" in record.final("waits").error


def test_a_backend_error_is_the_final_answer_and_the_next_one_works(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of()
    backend.say("So far ", BackendError("The server is gone: start it."), "fine", None)
    scheduler.submit(job_of("a"))
    scheduler.submit(job_of("b"))
    record.wait_for(lambda r: r.final("b"))
    failed = record.final("a")
    assert (failed.status, failed.text, failed.error) == (1, "So far", "The server is gone: start it.")
    assert record.final("b").status == AnswerStatus.OK
    assert scheduler.figures().last_error == ""


def test_an_unexpected_error_does_not_kill_the_worker(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of()
    backend.say(RuntimeError("bad tensor\nlong story"), "fine", None)
    scheduler.submit(job_of("a"))
    scheduler.submit(job_of("b"))
    record.wait_for(lambda r: r.final("b"))
    assert record.final("a").error.startswith("scripted failed with RuntimeError: bad tensor;")


def test_what_is_no_exception_does_not_kill_the_worker_either(scheduler_of, backend, record, job_of):
    """A panic of a library in Rust, or the SystemExit of one that means well."""
    scheduler = scheduler_of()
    backend.say(SystemExit("a panic"), "fine", None)
    scheduler.submit(job_of("a"))
    scheduler.submit(job_of("b"))
    record.wait_for(lambda r: r.final("b"))
    assert record.final("a").error.startswith("scripted failed with SystemExit: a panic;")


def test_inline_ctrl_c_ends_the_job_and_reaches_the_caller(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of(inline=True)
    backend.say(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        scheduler.submit(job_of("a"))
    assert record.final("a").error


def test_an_answer_that_cannot_be_published_does_not_kill_the_worker(backend, record, job_of):
    def publish(job, answer):
        if job.context == "a":
            raise RuntimeError("no middleware")
        record(job, answer)

    scheduler = AnswerScheduler(backend, publish, ResponseConfig())
    backend.say("lost", None, "fine", None)
    scheduler.submit(job_of("a"))
    scheduler.submit(job_of("b"))
    record.wait_for(lambda r: r.final("b"))
    assert scheduler.close("over", 30.0)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_an_error(scheduler_of, backend, record, job_of, text):
    scheduler = scheduler_of()
    backend.say(text, None)
    scheduler.submit(job_of("a"))
    record.wait_for(lambda r: r.final("a"))
    assert record.final("a").status == AnswerStatus.ERROR
    assert "empty answer" in record.final("a").error


def test_nothing_to_show_is_skipped(scheduler_of, backend, record, monotonic):
    def nothing():
        raise NothingToShow("No frame has arrived.")

    scheduler_of().submit(Job(nothing, monotonic(), "a"))
    record.wait_for(lambda r: r.final("a"))
    assert (record.final("a").status, record.final("a").error) == (2, "No frame has arrived.")
    assert backend.requests == []


def test_skip_all_ends_everything_at_once(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of()
    scheduler.submit(job_of("running"))
    backend.wait_for_requests(1)
    scheduler.submit(job_of("waiting"))
    scheduler.skip_all("It is enough.")
    assert record.final("running").error == record.final("waiting").error == "It is enough."
    assert scheduler.wait_idle(30.0)
    assert queries(backend) == ["running"]
    assert len(record.said) == 2


def test_after_close_a_job_is_skipped(scheduler_of, record, job_of):
    scheduler = scheduler_of()
    assert scheduler.close("over", 30.0)
    scheduler.submit(job_of("late"))
    assert record.final("late").status == AnswerStatus.SKIPPED


def test_figures_count_every_end(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of()
    backend.say("fine", None, BackendError("no: do."))
    for name in "abc":
        scheduler.submit(job_of(name))
    backend.wait_for_requests(3)
    scheduler.skip_all("over")
    record.wait_for(lambda r: r.final("c"))
    figures = scheduler.figures()
    assert (figures.answered, figures.errors, figures.skipped, figures.waiting) == (1, 1, 1, 0)
    assert figures.last_error == "no: do."
    assert figures.tokens_per_second > 0


def test_inline_a_job_has_ended_when_submit_returns(scheduler_of, backend, record, job_of):
    scheduler = scheduler_of(inline=True, deadline=1e-9)
    backend.say("A cup ", "falls.", None, BackendError("no: do."))
    scheduler.submit(job_of("a"))
    assert (record.final("a").status, record.final("a").text) == (AnswerStatus.OK, "A cup falls.")
    scheduler.submit(job_of("b"))
    assert (record.final("b").status, record.final("b").error) == (AnswerStatus.ERROR, "no: do.")
    assert not scheduler.figures().busy
