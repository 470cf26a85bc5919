"""The worker: the newest item of each name wins, tasks in order, errors do not end it."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from stride_ros.nodes.worker import LatestWorker, call_in_thread


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


def test_newest_item_wins_and_drops_are_counted(gate: threading.Event) -> None:
    done: list[int] = []
    begun = threading.Event()

    def work(items: Mapping[str, int]) -> None:
        begun.set()
        gate.wait(10)
        done.append(items[""])
        if items[""] == 3:
            finished.set()

    finished = threading.Event()
    worker = LatestWorker("test", work, on_error=lambda error: None)
    worker.start()
    worker.submit("", 0)
    assert begun.wait(10)
    for item in (1, 2, 3):
        worker.submit("", item)
    lag = worker.loads[""].lag
    assert worker.loads[""].lag > lag > 0, "it grows while something waits"
    gate.set()
    assert finished.wait(10)
    assert worker.stop(10)
    assert done == [0, 3]
    assert worker.loads[""].dropped == 2
    assert worker.loads[""].lag == worker.loads[""].lag > lag, "what the last one waited"


def test_items_of_several_names_are_worked_on_together(gate: threading.Event) -> None:
    done: list[dict[str, int]] = []
    begun, finished = threading.Event(), threading.Event()

    def work(items: Mapping[str, int]) -> None:
        begun.set()
        gate.wait(10)
        done.append(dict(items))
        if "right" in items:
            finished.set()

    worker = LatestWorker("test", work, on_error=lambda error: None)
    worker.start()
    worker.submit("left", 0)
    assert begun.wait(10)
    for name, item in (("left", 1), ("front", 2), ("left", 3), ("right", 4)):
        worker.submit(name, item)
    worker.post(lambda: None, discard=["front"])
    gate.set()
    assert finished.wait(10)
    assert worker.stop(10)
    assert done == [{"left": 0}, {"left": 3, "right": 4}]
    assert {name: load.dropped for name, load in worker.loads.items()} == {"left": 1, "front": 0, "right": 0}


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

    worker = LatestWorker(
        "test", lambda items: done.append(items[""]), on_error=lambda error: failed.set(), rest=rest
    )
    worker.start()
    worker.submit("", "first")
    assert rested.wait(10)
    assert worker.is_idle, "what can wait does not count"
    worker.submit("", "second")
    gate.set()
    assert failed.wait(10)
    worker.post(lambda: done.append("task"))
    assert over.wait(10)
    assert worker.stop(10)
    assert done == ["first", "rest", "rest", "second", "rest", "task", "rest"]


def test_no_item_waits_for_what_can_wait_however_often_that_is_asked_for() -> None:
    worked = threading.Event()

    def rest() -> bool:
        worker.wake()
        worker.submit("", 1)
        return False

    worker = LatestWorker("test", lambda items: worked.set(), on_error=lambda error: None, rest=rest)
    worker.start()
    assert worker.is_idle
    worker.wake()
    assert worked.wait(10)
    assert not worker.is_idle, "it is asked for again and again"
    assert worker.stop(10)


def test_tasks_run_in_order_before_the_item_and_may_discard_it(gate: threading.Event) -> None:
    done: list[object] = []
    begun = threading.Event()

    def work(items: Mapping[str, str]) -> None:
        begun.set()
        gate.wait(10)
        done.append(items[""])
        if items[""] == "after":
            finished.set()

    finished = threading.Event()
    worker = LatestWorker("test", work, on_error=lambda error: None)
    worker.start()
    worker.submit("", "first")
    assert begun.wait(10)
    worker.submit("", "forgotten")
    worker.post(lambda: done.append("reset"), discard=[""])
    worker.submit("", "after")
    worker.post(lambda: done.append("task"))
    gate.set()
    assert finished.wait(10)
    worker.stop(10)
    assert done == ["first", "reset", "task", "after"]


def test_stop_finishes_tasks_and_forgets_the_item() -> None:
    done: list[object] = []
    worker = LatestWorker("test", done.append, on_error=lambda error: None)
    worker.submit("", "item")
    worker.post(lambda: done.append("task"))
    worker.start()
    # Started late on purpose: the task and the item wait when it is told to stop.
    assert worker.stop(10)
    assert done[0] == "task"
    assert worker.stop(10), "stopping twice is allowed"


def test_errors_are_told_and_the_worker_goes_on() -> None:
    errors: list[Exception] = []
    told, done = threading.Event(), threading.Event()

    def work(items: Mapping[str, int]) -> None:
        if items[""] == 0:
            raise ValueError("bad item")
        done.set()

    def on_error(error: Exception) -> None:
        errors.append(error)
        told.set()

    worker = LatestWorker("test", work, on_error)
    worker.start()
    worker.submit("", 0)
    assert told.wait(10)
    worker.submit("", 1)
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
