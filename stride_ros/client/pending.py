"""The result of a request, for who awaits it and for who blocks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Pending(Generic[T]):
    """A request under way: `await` it in asyncio or in a coroutine of rclpy, or block with `result`.

    Cancelling the asyncio task that awaits it cancels the request as well.
    """

    def __init__(self, on_cancel: Callable[[], None] = lambda: None) -> None:
        """`on_cancel()` asks the node to cancel; in any thread."""
        self.future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self.thread: threading.Thread | None = None  # that brings the result
        self._on_cancel = on_cancel

    def result(self, timeout: float | None = None) -> T:
        """Block until it is there; raises a ClientError if it failed, TimeoutError after `timeout` s.

        Such a TimeoutError leaves the request as it is. Raises RuntimeError in the client's own thread, which
        brings the result and would wait for itself.
        """
        if not self.future.done() and threading.current_thread() is self.thread:
            raise RuntimeError(
                "A callback of the client cannot wait for a result, which comes in the same thread; use "
                "add_done_callback, or hand the work to another thread."
            )
        return self.future.result(timeout)

    def cancel(self) -> None:
        """Ask the node to cancel; the result is then a `Canceled`, unless it came first."""
        if not self.future.done():
            self._on_cancel()

    def done(self) -> bool:
        """Whether the result, or the error, is there."""
        return self.future.done()

    def add_done_callback(self, callback: Callable[[Pending[T]], object]) -> None:
        """Call this when it is done: in the client's thread, or at once."""
        self.future.add_done_callback(lambda _: callback(self))

    def __await__(self) -> Generator[Any, None, T]:
        """See the class."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # rclpy's executors step a coroutine until it is done
            while not self.future.done():
                yield
            return self.future.result()
        # Shielded, since a concurrent future that is canceled would take no result any more.
        shield = asyncio.shield(asyncio.wrap_future(self.future))
        try:
            return (yield from shield.__await__())
        except asyncio.CancelledError:
            self.cancel()
            raise

    # For the client

    def succeed(self, value: T) -> None:
        """Have a result; the first end counts."""
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Have failed; the first end counts."""
        if not self.future.done():
            self.future.set_exception(error)
