"""One thread that works on the newest items; those replaced before their turn are dropped and counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar

from stride_ros.activation.scheduler import Scheduler, StreamLoad

T = TypeVar("T")


class LatestWorker(Generic[T]):
    """Runs `work` for the newest submitted items, and posted tasks before them, in one thread.

    Items have a name, such as that of a camera, and a newer item replaces a waiting one with its name.
    Waiting items are worked on together, as `Scheduler` says: `work(items)` gets them by name.

    `on_error(exception)` is called in the worker's thread with any exception of `work` or a task; the thread
    continues. While there is nothing else to do, `rest()` is called to do short pieces of deferrable work:
    repeatedly until it returns False, and again after the next item or task, or after `wake`.
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
        """By name: how many items were replaced before their turn, and how long items wait."""
        with self._wake:
            return self._items.loads

    @property
    def is_idle(self) -> bool:
        """Whether everything submitted or posted is done, and the work that `wake` was called for."""
        with self._wake:
            waits = self._tasks or self._woken or self._items.seconds_to_next is not None
            return not waits and not self._working

    def submit(self, name: str, item: T) -> None:
        """Offer an item; it replaces one with this name that is still waiting."""
        with self._wake:
            self._items.offer(name, item)
            self._wake.notify()

    def charge(self, costs: Mapping[str, float]) -> None:
        """Record what items cost by themselves (s), during `work`; see `Scheduler.charge`."""
        with self._wake:
            self._items.charge(costs)

    def post(self, task: Callable[[], None], *, discard: Collection[str] = ()) -> None:
        """Run a task after earlier tasks and before waiting items; items named in `discard` are forgotten."""
        with self._wake:
            for name in discard:
                self._items.discard(name)
            self._tasks.append(task)
            self._wake.notify()

    def wake(self) -> None:
        """Have `rest` called once more; however often this is called, items do not wait longer for it."""
        with self._wake:
            self._woken = True
            self._wake.notify()

    def stop(self, timeout: float | None = None) -> bool:
        """Finish the running work and all tasks, drop waiting items, and join; False after `timeout` (s)."""
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
            except Exception as error:  # one frame must not end the thread
                resting = False
                self._on_error(error)

    def _next(self) -> Callable[[], None] | None:
        if self._tasks:
            return self._tasks.popleft()
        items = self._items.take()
        return (lambda: self._work(items)) if items else None


def call_in_thread(function: Callable[[], T], keep_waiting: Callable[[], bool]) -> T:
    """Run `function()` in a separate thread and return its result; give up when `keep_waiting()` is false.

    For work that cannot be interrupted, such as loading a model, while Ctrl-C must still work. An abandoned
    thread continues as a daemon. Raises InterruptedError when it gives up, otherwise what `function` raises.
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
