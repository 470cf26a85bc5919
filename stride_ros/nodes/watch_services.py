"""The services `~/add_watch` and `~/remove_watch`, and the latched topic `watches`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType
from std_msgs.msg import Header

from stride_ros.activation.watch_list import Refusal, WatchEntry, WatchError, WatchSpec
from stride_ros.msg import Watch, Watches
from stride_ros.msg import WatchSpec as SpecMessage
from stride_ros.nodes.messages import to_duration, to_nanoseconds, to_time
from stride_ros.nodes.qos import SERVICES_QOS, WATCHES_QOS
from stride_ros.srv import AddWatch, RemoveWatch
from stride_ros.text import topics
from stride_ros.text.foreign import as_reason
from stride_ros.text.wording import escaped

if TYPE_CHECKING:
    from rclpy.node import Node

    from stride_ros.activation.config import TriggerConfig
    from stride_ros.nodes.activation_watches import ActivationWatches

_PERIOD = 1.0  # s


class WatchServices:
    """Serves from the node's construction to its destruction, and refuses invalid requests with a reason.

    Everything except `publish` is called in the executor's thread.
    """

    def __init__(
        self, node: Node, watches: ActivationWatches, on_change: Callable[[], object] = lambda: None
    ) -> None:
        """`on_change()` is called in the executor's thread when a service may have changed the watches."""
        self._node, self._watches, self._on_change = node, watches, on_change
        self._lock = threading.Lock()  # makes sure that the newest state is published last
        self._publisher: Any = node.create_publisher(Watches, topics.WATCHES, WATCHES_QOS)
        node.create_service(AddWatch, "~/add_watch", self._on_add, qos_profile=SERVICES_QOS)
        node.create_service(RemoveWatch, "~/remove_watch", self._on_remove, qos_profile=SERVICES_QOS)
        node.create_timer(_PERIOD, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        """Publish all watches; may be called from any thread."""
        with self._lock:
            trigger = self._watches.trigger()
            message = Watches(
                header=Header(stamp=self._node.get_clock().now().to_msg()),
                watches=[self._message(entry, trigger) for entry in self._watches.entries()],
            )
            self._publisher.publish(message)

    def _on_timer(self) -> None:
        self._watches.expire()
        self.publish()

    def _on_add(self, request: AddWatch.Request, response: AddWatch.Response) -> AddWatch.Response:
        try:
            spec = to_spec(request.spec)
            known = {entry.spec.id for entry in self._watches.entries()}
            response.id = self._watches.add(spec, replace_other=request.replace)
        except WatchError as error:
            response.error_code, response.error_msg = int(error.code), as_reason(str(error))
            response.required_bytes, response.available_bytes = error.needed, error.free
            response.would_fit = list(error.would_fit)
            return response
        response.success = True
        if response.id not in known:  # clients renew their watches every few seconds
            self._node.get_logger().info(f"Watch {escaped(response.id)}: {escaped(spec.query)}")
        self._on_change()
        self.publish()
        return response

    def _on_remove(
        self, request: RemoveWatch.Request, response: RemoveWatch.Response
    ) -> RemoveWatch.Response:
        if self._watches.remove(request.id):
            response.success = True
            self._on_change()
            self.publish()
        elif self._watches.is_owned(request.id):
            response.error_code = RemoveWatch.Response.PARAMETER_OWNED
            response.error_msg = f"The parameters own {request.id}; change query or queries instead."
        else:
            response.error_code = RemoveWatch.Response.NOT_FOUND
            response.error_msg = as_reason(
                f"There is no watch {request.id!r}; see the topic `watches` for those that exist."
            )
        return response

    def _message(self, entry: WatchEntry, default: TriggerConfig) -> Watch:
        spec = entry.spec
        trigger = spec.trigger(default)
        state, reason = self._watches.state(entry)
        return Watch(
            spec=SpecMessage(
                id=spec.id,
                query=spec.query,
                cameras=list(spec.cameras),
                min_active_seconds=float(trigger.min_active_seconds),
                min_confidence=float(trigger.min_confidence),
                look_back=to_duration(spec.look_back),
                lifetime=to_duration(spec.lifetime),
                respond=spec.respond,
                owner=spec.owner,
            ),
            source=int(entry.source),
            state=state,
            message=reason,
            since=to_time(max(0, entry.since)),
            expires=to_time(entry.expires),
            probability=self._watches.probability(spec),
            open_spans=self._watches.open_spans(spec.id),
        )


def to_spec(message: SpecMessage) -> WatchSpec:
    """The specification that a message describes; WatchError for values that are not allowed."""

    def own(name: str) -> float | None:
        value = float(getattr(message, name))
        if value != value or abs(value) == float("inf"):
            raise WatchError(
                Refusal.INVALID, f"{name} is {value}; use a number, or -1 for the value of the parameter."
            )
        return None if value < 0 else value

    return WatchSpec(
        query=message.query,
        id=message.id,
        cameras=tuple(message.cameras),
        min_active_seconds=own("min_active_seconds"),
        min_confidence=own("min_confidence"),
        look_back=to_nanoseconds(message.look_back),
        lifetime=to_nanoseconds(message.lifetime),
        respond=message.respond,
        owner=message.owner,
    )
