"""Where the robot was at an event, by tf, whose transforms may arrive a moment after the span."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType
from rclpy.time import Time

from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.events.record import Pose
from stride_ros.nodes.messages import to_nanoseconds

if TYPE_CHECKING:
    from rclpy.node import Node

_RETRY = 0.2  # s
_PATIENCE = 2.0  # s that a transform may be late
_NEAR = 2 * NANOSECONDS  # maximum ns from the onset of the newest transform, if no exact one arrived
_WANTED = 1000  # events


class EventPoses:
    """Looks up transforms, and calls `found(key, pose)`. Raises ImportError if tf2_ros is missing."""

    def __init__(
        self, node: Node, map_frame: str, robot_frame: str, found: Callable[[str, Pose], None]
    ) -> None:
        import tf2_ros

        self._node, self._found = node, found
        self._frames = map_frame, robot_frame
        self._failure = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)
        self._wanted: OrderedDict[str, tuple[int, float]] = OrderedDict()  # stamp and deadline by key
        self._timer = node.create_timer(_RETRY, self._retry, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def want(self, stamp: int, key: str) -> None:
        """Look for the pose of an event that began at this stamp."""
        if not self._give(key, stamp):
            self._wanted[key] = stamp, time.monotonic() + _PATIENCE
            while len(self._wanted) > _WANTED:
                self._wanted.popitem(last=False)

    def destroy(self) -> None:
        """Stop listening to transforms."""
        self._node.destroy_timer(self._timer)
        self._listener.unregister()

    def _retry(self) -> None:
        for key, (stamp, deadline) in list(self._wanted.items()):
            late = time.monotonic() > deadline
            if self._give(key, stamp) or (late and self._give(key, stamp, newest=True)) or late:
                del self._wanted[key]

    def _give(self, key: str, stamp: int, *, newest: bool = False) -> bool:
        moment = Time() if newest else Time(nanoseconds=stamp, clock_type=ClockType.ROS_TIME)
        try:
            transform = self._buffer.lookup_transform(*self._frames, moment)
        except self._failure:
            return False
        pose = _pose(transform)
        if abs(pose.stamp_ns - stamp) > _NEAR:
            return False
        self._found(key, pose)
        return True


def _pose(transform: Any) -> Pose:
    place, turn = transform.transform.translation, transform.transform.rotation
    return Pose(
        transform.header.frame_id,
        (place.x, place.y, place.z),
        (turn.x, turn.y, turn.z, turn.w),
        to_nanoseconds(transform.header.stamp),
    )
