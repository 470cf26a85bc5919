"""The worker: newest item wins, tasks in order, errors do not end it."""

from __future__ import annotations

import threading

import pytest

from stride_ros.nodes.worker import LatestWorker, call_in_thread


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


def test_newest_item_wins_and_drops_are_counted(gate: threading.Event) -> None:
    done: list[int] = []
    begun = threading.Event()

    def work(item: int) -> None:
        begun.set()
        gate.wait(10)
        done.append(item)
        if item == 3:
            finished.set()

    finished = threading.Event()
    worker = LatestWorker("test", work, on_error=lambda error: None)
    worker.start()
    worker.submit(0)
    assert begun.wait(10)
    for item in (1, 2, 3):
        worker.submit(item)
    lag = worker.lag
    assert worker.lag > lag > 0, "it grows while something waits"
    gate.set()
    assert finished.wait(10)
    assert worker.stop(10)
    assert done == [0, 3]
    assert worker.dropped == 2
    assert worker.lag == worker.lag > lag, "what the last one waited"


def test_what_can_wait_is_done_in_pieces_between_items(gate: threading.Event) -> None:
    done: list[str] = []
    rested, failed, over = threading.Event(), threading.Event(), threading.Event()

    def rest() -> bool:
        done.append("rest")
        if done.count("rest") == 2:
            rested.set()
            gate.wait(10)
        if done.count("rest") == 3:
            raise ValueError("one piece fails")
        if done.count("rest") == 4:
            over.set()
            return False
        return True

    worker = LatestWorker("test", done.append, on_error=lambda error: failed.set(), rest=rest)
    worker.start()
    worker.submit("first")
    assert rested.wait(10)
    assert worker.is_idle, "what can wait does not count"
    worker.submit("second")
    gate.set()
    assert failed.wait(10)
    worker.post(lambda: done.append("task"))
    assert over.wait(10)
    assert worker.stop(10)
    assert done == ["first", "rest", "rest", "second", "rest", "task", "rest"]


def test_tasks_run_in_order_before_the_item_and_may_discard_it(gate: threading.Event) -> None:
    done: list[object] = []
    begun = threading.Event()

    def work(item: str) -> None:
        begun.set()
        gate.wait(10)
        done.append(item)
        if item == "after":
            finished.set()

    finished = threading.Event()
    worker = LatestWorker("test", work, on_error=lambda error: None)
    worker.start()
    worker.submit("first")
    assert begun.wait(10)
    worker.submit("forgotten")
    worker.post(lambda: done.append("reset"), discard=True)
    worker.submit("after")
    worker.post(lambda: done.append("task"))
    gate.set()
    assert finished.wait(10)
    worker.stop(10)
    assert done == ["first", "reset", "task", "after"]


def test_stop_finishes_tasks_and_forgets_the_item() -> None:
    done: list[str] = []
    worker = LatestWorker("test", done.append, on_error=lambda error: None)
    worker.submit("item")
    worker.post(lambda: done.append("task"))
    worker.start()
    # Started late on purpose: the task and the item wait when it is told to stop.
    assert worker.stop(10)
    assert done[0] == "task"
    assert worker.stop(10), "stopping twice is allowed"


def test_errors_are_told_and_the_worker_goes_on() -> None:
    errors: list[Exception] = []
    told, done = threading.Event(), threading.Event()

    def work(item: int) -> None:
        if item == 0:
            raise ValueError("bad item")
        done.set()

    def on_error(error: Exception) -> None:
        errors.append(error)
        told.set()

    worker = LatestWorker("test", work, on_error)
    worker.start()
    worker.submit(0)
    assert told.wait(10)
    worker.submit(1)
    assert done.wait(10)
    worker.stop(10)
    assert [str(error) for error in errors] == ["bad item"]


def test_call_in_thread_returns_raises_and_gives_up(gate: threading.Event) -> None:
    assert call_in_thread(lambda: 42, keep_waiting=lambda: True) == 42
    with pytest.raises(KeyError):
        call_in_thread(lambda: {}["missing"], keep_waiting=lambda: True)
    with pytest.raises(InterruptedError):
        call_in_thread(lambda: gate.wait(10), keep_waiting=lambda: False)
    gate.set()
