"""Steps of a node's clock: simulated time starts or is set, or the clock's source changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.clock import ClockChange, JumpThreshold
from rclpy.duration import Duration

if TYPE_CHECKING:
    from rclpy.node import Node

# s; `/clock` comes several times a second, so a step of this size is not elapsed time. The first message
# causes such a step in a node that waits for it: until then its clock is at 0.
_FORWARD = 60.0


class ClockSteps:
    """Calls back when the node's clock is set, in the thread that sets it, the executor's.

    A change of the system clock is not noticed: rclpy reports only simulated time.
    """

    def __init__(self, node: Node, on_step: Callable[[int, int, bool], None]) -> None:
        """`on_step(before, after, is_back)`: times in ns; whether time went back or the source changed."""
        self._clock, self._on_step = node.get_clock(), on_step
        self._before = 0
        # The handle must be kept, or the callback is lost.
        self._handle: Any = self._clock.create_jump_callback(
            JumpThreshold(
                min_forward=Duration(seconds=_FORWARD),
                min_backward=Duration(nanoseconds=-1),
                on_clock_change=True,
            ),
            pre_callback=self._on_begin,
            post_callback=self._on_end,
        )

    def destroy(self) -> None:
        """Stop calling back."""
        self._handle.unregister()

    def _on_begin(self) -> None:
        self._before = self._clock.now().nanoseconds

    def _on_end(self, jump: Any) -> None:
        after = self._clock.now().nanoseconds
        is_other = jump.clock_change in (ClockChange.ROS_TIME_ACTIVATED, ClockChange.ROS_TIME_DEACTIVATED)
        self._on_step(self._before, after, is_other or after < self._before)
