"""A watch that goes with whoever wanted it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stride_ros.client.pending import Pending
from stride_ros.msg import ActivationSpan

if TYPE_CHECKING:
    from stride_ros.client.robot import Robot

_RENEWALS = 3  # in each lifetime


class RobotWatch:
    """A watch of this client, which is renewed while it is wanted; `Robot.watch` makes it.

    `added` has the watch's id, as soon as the node has it.
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
        """Its id; blocks until the node has it, and raises what has kept it from that."""
        return self.added.result()

    def remove(self) -> Pending[None]:
        """Have it removed, unless it is gone already; fails with Refused or NodeLost."""
        self._is_wanted = False
        self.added.cancel()  # where it was not sent yet
        return self._robot.remove_watch(self._spec.id)

    # For the client's thread

    def tell(self, span: ActivationSpan) -> None:
        """A span of this watch has changed."""
        if self._on_event is not None and self._is_wanted:
            self._on_event(span)

    def renew(self) -> None:
        """Renew it where it is time."""
        now = time.monotonic()
        if self._is_wanted and self._lifetime and now - self._renewed > self._lifetime / _RENEWALS:
            self._renewed = now
            self._robot.add_watch(self._spec)

    def _on_added(self, added: Pending[str]) -> None:
        if added.future.exception() is not None:  # whoever asks for the id is told
            self._robot.unfollow(self._spec.id)

    def __enter__(self) -> RobotWatch:
        """Wait until the node has it."""
        self.added.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it."""
        self.remove().result()

    async def __aenter__(self) -> RobotWatch:
        """Wait until the node has it."""
        await self.added
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove it, also when the task is canceled."""
        await asyncio.shield(self.remove())
