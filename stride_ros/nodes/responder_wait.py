"""Wait until a responder is subscribed to the activation node's topics, so that it misses no event."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType

from stride_ros.text import topics

if TYPE_CHECKING:
    from rclpy.node import Node

_PERIOD = 0.1  # s


class ResponderWait:
    """Calls `on_end` once: as soon as a responder listens to all of `publishers`, or after `limit` s.

    `on_end` and everything else happens in the executor's thread.
    """

    def __init__(self, node: Node, publishers: list[Any], limit: float, on_end: Callable[[], None]) -> None:
        self._node, self._publishers, self._limit, self._on_end = node, publishers, limit, on_end
        self._commentary = node.resolve_topic_name(topics.COMMENTARY)
        self._started = time.monotonic()
        # Real time, since simulated time may not have started.
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer: Any = node.create_timer(_PERIOD, self._look, clock=self._clock)

    def destroy(self) -> None:
        """Stop waiting; `on_end` is not called any more."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def _look(self) -> None:
        waited = time.monotonic() - self._started
        if self._responder_listens():
            if waited > 1.0:
                self._node.get_logger().info(f"The responder was ready after {waited:.1f} s.")
        elif waited < self._limit:
            if waited > 1.0:
                self._node.get_logger().info("Waiting for the responder before deciding ...", once=True)
            return
        else:
            self._node.get_logger().warning(
                f"No responder appeared within {self._limit:.0f} s; deciding without one. If there is none, "
                "set wait_for_responder to 0."
            )
        self.destroy()
        self._on_end()

    def _responder_listens(self) -> bool:
        """Whether a node that publishes commentary is matched with each of the publishers."""
        responders = {_name(info) for info in self._node.get_publishers_info_by_topic(self._commentary)}
        for publisher in self._publishers:
            listeners = self._node.get_subscriptions_info_by_topic(publisher.topic_name)
            responders &= {_name(info) for info in listeners}
            # The middleware does not tell which of them it is matched with, so all must be.
            if publisher.get_subscription_count() < len(listeners):
                return False
        return bool(responders)


def _name(info: Any) -> tuple[str, str]:
    return info.node_namespace, info.node_name
