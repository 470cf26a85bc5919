"""A watch that is renewed while it is wanted, and expires with its client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stride_ros.client.errors import ClientError
from stride_ros.client.pending import Pending
from stride_ros.msg import ActivationSpan

if TYPE_CHECKING:
    from stride_ros.client.robot import Robot

_RENEWALS = 3  # per lifetime
_FAREWELL = 2.0  # s for a removal after an error


class RobotWatch:
    """A watch of this client, which is renewed while it is wanted; created by `Robot.watch`.

    `added` has the watch's id as soon as the node has added it.
    """

    def __init__(
        self,
        robot: Robot,
        spec: Any,
        lifetime: float,
        on_event: Callable[[ActivationSpan], object] | None,
    ) -> None:
        """See `Robot.watch`."""
        self._robot, self._spec, self._lifetime, self._on_event = robot, spec, lifetime, on_event
        self._renewed = time.monotonic()
        self._is_wanted = True
        robot.follow(self, spec.id)  # first: its spans may come before the answer
        self.added: Pending[str] = robot.add_watch(spec)
        self.added.add_done_callback(self._on_added)

    @property
    def id(self) -> str:
        """Its id; blocks until the node has added the watch, and raises the error if that failed."""
        return self.added.result()

    def remove(self) -> Pending[None]:
        """Remove it, unless it is already gone; fails with Refused or NodeLost."""
        self._is_wanted = False
        self.added.cancel()  # if it has not been sent yet
        return self._robot.remove_watch(self._spec.id)

    # For the client's thread

    def tell(self, span: ActivationSpan) -> None:
        """Report a change of one of its spans."""
        if self._on_event is not None and self._is_wanted:
            self._on_event(span)

    def renew(self) -> None:
        """Renew it when it is time."""
        now = time.monotonic()
        if self._is_wanted and self._lifetime and now - self._renewed > self._lifetime / _RENEWALS:
            self._renewed = now
            self._robot.add_watch(self._spec)

    def _on_added(self, added: Pending[str]) -> None:
        if added.future.exception() is not None:  # reading the id raises it
            self._robot.unfollow(self._spec.id)

    def __enter__(self) -> RobotWatch:
        """Wait until the node has added it."""
        self.added.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it; after an error, as far as that is possible in a short time, or the error would wait."""
        removal = self.remove()
        if error is None:
            removal.result()
            return
        with suppress(ClientError, TimeoutError):
            removal.result(_FAREWELL)

    async def __aenter__(self) -> RobotWatch:
        """Wait until the node has added it."""
        await self.added
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it, even when the task is canceled; after an error, see `__exit__`."""
        removal = asyncio.shield(self.remove())
        if error is None:
            await removal
            return
        with suppress(ClientError, TimeoutError, asyncio.TimeoutError):  # the last two are one from 3.11 on
            await asyncio.wait_for(removal, _FAREWELL)
