"""The result of a request, to await or to block on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Pending(Generic[T]):
    """A pending request: `await` it in asyncio or in an rclpy coroutine, or block with `result`.

    Cancelling the asyncio task that awaits it cancels the request as well.
    """

    def __init__(self, on_cancel: Callable[[], None] = lambda: None) -> None:
        """`on_cancel()` asks the node to cancel; it is called in any thread."""
        self.future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self.thread: threading.Thread | None = None  # the thread that delivers the result
        self._on_cancel = on_cancel

    def result(self, timeout: float | None = None) -> T:
        """Block until the result is there; ClientError if the request failed, TimeoutError after `timeout` s.

        A TimeoutError leaves the request pending. Raises RuntimeError in the client's own thread, which
        delivers the result and would wait for itself.
        """
        if not self.future.done() and threading.current_thread() is self.thread:
            raise RuntimeError(
                "A callback of the client cannot wait for a result, which arrives in the same thread; use "
                "add_done_callback, or move the work to another thread."
            )
        return self.future.result(timeout)

    def cancel(self) -> None:
        """Ask the node to cancel; the request then fails with `Canceled`, unless its result came first."""
        if not self.future.done():
            self._on_cancel()

    def done(self) -> bool:
        """Whether the result or the error is there."""
        return self.future.done()

    def add_done_callback(self, callback: Callable[[Pending[T]], object]) -> None:
        """Call a function when the request is done: in the client's thread, or at once."""
        self.future.add_done_callback(lambda _: callback(self))

    def __await__(self) -> Generator[Any, None, T]:
        """Await the result; see the class."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # rclpy's executors poll a coroutine until it is done
            while not self.future.done():
                yield
            return self.future.result()
        # Shielded, since a canceled concurrent future could no longer take a result.
        shield = asyncio.shield(asyncio.wrap_future(self.future))
        try:
            return (yield from shield.__await__())
        except asyncio.CancelledError:
            self.cancel()
            raise

    # For the client

    def succeed(self, value: T) -> None:
        """Set the result; only the first outcome counts."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Set the error; only the first outcome counts."""
        if not self.future.done():
            self.future.set_exception(error)
