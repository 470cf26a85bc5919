"""One thread that works on the newest item: what is replaced before its turn is dropped and counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from stride_ros.activation.scheduler import Scheduler

T = TypeVar("T")

_ONLY = ""  # the one stream of items


class LatestWorker(Generic[T]):
    """Run `work(item)` for the newest submitted item, and posted tasks before it, in one thread.

    `on_error(exception)` is called in the worker's thread with whatever work or a task raises; the thread
    goes on. `rest()` does a short piece of what can wait, while there is nothing else to do: again and again
    until it returns False, and again after the next item or task.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[T], None],
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
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Number of items that a newer one replaced before their turn."""
        with self._wake:
            return self._items.load(_ONLY).dropped

    @property
    def lag(self) -> float:
        """Seconds that the oldest item since the last turn waits; if none does, that the last one waited."""
        with self._wake:
            return self._items.load(_ONLY).lag

    @property
    def is_idle(self) -> bool:
        """Whether all that was submitted and posted is done."""
        with self._wake:
            return not self._tasks and not self._has_item and not self._working

    def submit(self, item: T) -> None:
        """Offer an item; one that still waits is dropped in its favour."""
        with self._wake:
            self._items.offer(_ONLY, item)
            self._wake.notify()

    def post(self, task: Callable[[], None], *, discard: bool = False) -> None:
        """Run a task after those posted before and before the waiting item; `discard` forgets that item."""
        with self._wake:
            if discard:
                self._items.discard(_ONLY)
            self._tasks.append(task)
            self._wake.notify()

    def stop(self, timeout: float | None = None) -> bool:
        """Finish what runs and all tasks, forget the waiting item, join; False if `timeout` (s) passed."""
        with self._wake:
            self._stopping = True
            self._items.discard(_ONLY)
            self._wake.notify()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def _has_item(self) -> bool:
        return self._items.seconds_to_next is not None

    def _run(self) -> None:
        resting = False
        while True:
            with self._wake:
                self._working = False
                if not resting:
                    self._wake.wait_for(lambda: self._tasks or self._has_item or self._stopping)
                job: Callable[[], None] | None = None
                if self._tasks:
                    job = self._tasks.popleft()
                elif self._has_item:
                    job = _bind(self._work, self._items.take()[_ONLY])
                elif self._stopping:
                    return
                self._working = job is not None
            try:
                if job is not None:
                    job()
                resting = self._rest()
            except Exception as error:  # the thread must outlive any single frame
                resting = False
                self._on_error(error)


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


def _bind(work: Callable[[T], None], item: T) -> Callable[[], None]:
    return lambda: work(item)
