"""Listen to final commentaries while they are wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stride_ros.msg import Commentary
from stride_ros.nodes.qos import FINALS_HEARD_QOS
from stride_ros.text import topics

if TYPE_CHECKING:
    from rclpy.node import Node

_REMEMBERED = 200
_LONGEST = 1 << 18  # maximum characters of a responder's text; other publishers may send more


class Finals:
    """Subscribes to `commentary` from the first `want` to the last `unwant`, including latched messages."""

    def __init__(self, node: Node, on_final: Callable[[], None]) -> None:
        self._node, self._on_final = node, on_final
        self._wanted = 0
        self._subscription: Any = None
        self._finals: dict[int, Commentary] = {}  # by span id, oldest first

    def want(self) -> None:
        """Add a user of the commentaries."""
        self._wanted += 1
        if self._subscription is None:
            self._subscription = self._node.create_subscription(
                Commentary, topics.COMMENTARY, self._on_commentary, FINALS_HEARD_QOS
            )

    def unwant(self) -> None:
        """Remove a user of the commentaries."""
        self._wanted -= 1
        if not self._wanted:
            self._node.destroy_subscription(self._subscription)
            self._subscription, self._finals = None, {}

    def of(self, span_id: int) -> Commentary | None:
        """The final Commentary of a span, if it was received."""
        return self._finals.get(span_id)

    def may_come(self) -> bool:
        """Whether there is a publisher that may still send one; call it while commentaries are wanted."""
        return bool(self._node.count_publishers(self._subscription.topic_name))

    def _on_commentary(self, message: Commentary) -> None:
        if not message.final or len(message.text) + len(message.error) > _LONGEST:
            return
        self._finals[message.span_id] = message
        if len(self._finals) > _REMEMBERED:
            del self._finals[next(iter(self._finals))]
        self._on_final()
