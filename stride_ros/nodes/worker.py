"""One thread that works on the newest items: what is replaced before its turn is dropped and counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar

from stride_ros.activation.scheduler import Scheduler, StreamLoad

T = TypeVar("T")


class LatestWorker(Generic[T]):
    """Run `work` for the newest submitted items, and posted tasks before them, in one thread.

    Items have a place by name, such as that of a camera, and one that waits is replaced by a newer one of its
    name. All that wait are worked on together, as `Scheduler` says: `work(items)` gets them by name.

    `on_error(exception)` is called in the worker's thread with whatever work or a task raises; the thread
    goes on. `rest()` does a short piece of what can wait, while there is nothing else to do: again and again
    until it returns False, and again after the next item or task, or when `wake` is called.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Mapping[str, T]], None],
        on_error: Callable[[Exception], None],
        rest: Callable[[], bool] = lambda: False,
    ) -> None:
        self._work, self._rest = work, rest
        self._on_error = on_error
        self._wake = threading.Condition()
        self._items: Scheduler[str, T] = Scheduler()
        self._tasks: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._working = False
        self._woken = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def loads(self) -> Mapping[str, StreamLoad]:
        """By name: how many items a newer one replaced before their turn, and how long they wait."""
        with self._wake:
            return self._items.loads

    @property
    def is_idle(self) -> bool:
        """Whether all that was submitted and posted is done, and what `wake` was called for."""
        with self._wake:
            waits = self._tasks or self._woken or self._items.seconds_to_next is not None
            return not waits and not self._working

    def submit(self, name: str, item: T) -> None:
        """Offer an item; one of this name that still waits is dropped in its favour."""
        with self._wake:
            self._items.offer(name, item)
            self._wake.notify()

    def charge(self, costs: Mapping[str, float]) -> None:
        """While working: what items cost by themselves, in s; see `Scheduler.charge`."""
        with self._wake:
            self._items.charge(costs)

    def post(self, task: Callable[[], None], *, discard: Collection[str] = ()) -> None:
        """Run a task after those posted before and before what waits; items of `discard` are forgotten."""
        with self._wake:
            for name in discard:
                self._items.discard(name)
            self._tasks.append(task)
            self._wake.notify()

    def wake(self) -> None:
        """Let `rest` be called once more; however often this is asked for, no item waits longer for it."""
        with self._wake:
            self._woken = True
            self._wake.notify()

    def stop(self, timeout: float | None = None) -> bool:
        """Finish what runs and all tasks, forget what waits, join; False if `timeout` (s) passed."""
        with self._wake:
            self._stopping = True
            for name in self._items.loads:
                self._items.discard(name)
            self._wake.notify()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        resting = False
        while True:
            with self._wake:
                self._working = False
                job = self._next()
                while job is None and not resting and not self._woken and not self._stopping:
                    self._wake.wait(self._items.seconds_to_next)
                    job = self._next()
                if job is None and self._stopping:
                    return
                self._working = job is not None or self._woken
                if job is None:
                    self._woken = False
            try:
                if job is None:
                    resting = self._rest()
                else:
                    job()
                    resting = True
            except Exception as error:  # the thread must outlive any single frame
                resting = False
                self._on_error(error)

    def _next(self) -> Callable[[], None] | None:
        if self._tasks:
            return self._tasks.popleft()
        items = self._items.take()
        return (lambda: self._work(items)) if items else None


def call_in_thread(function: Callable[[], T], keep_waiting: Callable[[], bool]) -> T:
    """Return function()'s result from a thread of its own, and give up when `keep_waiting()` turns false.

    For work that cannot be interrupted, such as loading a model, while Ctrl-C must still work. The abandoned
    thread goes on as a daemon. Raises InterruptedError when it gave up, else what `function` raises.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def call() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=call, name="stride-call", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
        if thread.is_alive() and not keep_waiting():
            raise InterruptedError("stopped while waiting")
    if failure:
        raise failure[0]
    return outcome[0]
