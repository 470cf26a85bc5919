"""The watches of the activation node: what is to be watched for, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stride_ros.activation.watch_list import Source, WatchEntry, WatchList, WatchSpec
from stride_ros.errors import ConfigError
from stride_ros.msg import Watch
from stride_ros.nodes.watch_services import Watcher, WatchServices
from stride_ros.parameters.activation import check_query, check_with_model, to_config, watched_queries

if TYPE_CHECKING:
    from rclpy.node import Node

    from stride_ros.activation.config import TriggerConfig
    from stride_ros.activation.model import ActivationModel
    from stride_ros.activation.watch_request import WatchRequest
    from stride_ros.msg import ActivationSpan
    from stride_ros.nodes.activation_output import ActivationOutput
    from stride_ros.nodes.activation_worker import ActivationWorker
    from stride_ros.nodes.parameters import Parameters


class ActivationWatches(Watcher):
    """Watches of the parameters and the query topic, and of services; they live as long as the node.

    The node sets `worker`, `enabled` and `topic_query`; `requests` and `publish` may be called by any thread.
    """

    def __init__(self, node: Node, parameters: Parameters) -> None:
        self.worker: ActivationWorker | None = None  # while the node is active
        self.enabled = True
        self.topic_query = ""  # the last one that was taken over from the query topic
        self._parameters = parameters
        self._model: ActivationModel | None = None
        self._output: ActivationOutput | None = None
        self._list = WatchList(lambda: node.get_clock().now().nanoseconds)
        self._services = WatchServices(node, self._list, self)

    def loaded(self, model: ActivationModel, output: ActivationOutput) -> None:
        """There is a model, which may refuse watches that were added with another one."""
        self._model, self._output = model, output
        self._list.check_with(self._check)

    def unloaded(self) -> None:
        """There is no model any more."""
        self._list.check_with(None)
        self._model = self._output = None

    def publish(self) -> None:
        """Publish what is watched for, and how it stands."""
        self._services.publish()

    def requests(self) -> tuple[WatchRequest, ...]:
        """What the stream is to watch for from the next frame on."""
        self._own()
        return self._list.requests(self.trigger())

    # For the services

    def entries(self) -> list[WatchEntry]:
        """See `Watcher`."""
        self._own()
        return self._list.entries()

    def trigger(self) -> TriggerConfig:
        """See `Watcher`."""
        return to_config(self._parameters.values()).trigger

    def limit(self) -> int:
        """See `Watcher`."""
        return int(self._parameters["max_watches"])

    def refresh(self) -> None:
        """See `Watcher`."""
        if self.worker is not None:
            self.worker.refresh()

    def state(self, id: str) -> tuple[int, str]:
        """See `Watcher`."""
        if not self.enabled:
            return Watch.PAUSED, "The node is disabled; call ~/enable."
        ready = None if self.worker is None else self.worker.readiness.get(id)
        if ready is None:
            return Watch.PENDING, ""
        return (Watch.WATCHING if ready else Watch.CATCHING_UP), ""

    def probability(self, id: str) -> float:
        """See `Watcher`."""
        return 0.0 if self._output is None else self._output.probability(id)

    def open_spans(self, id: str) -> list[ActivationSpan]:
        """See `Watcher`."""
        return [] if self._output is None else self._output.open_spans(id)

    def _own(self) -> None:
        """Let the list have what the parameters say now."""
        values = self._parameters.values()
        by_topic = not values["queries"] and values["query"] == self.topic_query
        self._list.own(watched_queries(values), Source.TOPIC if by_topic else Source.PARAMETER)

    def _check(self, spec: WatchSpec) -> None:
        """Raise a StrideError for a watch that the loaded model cannot have with these parameters."""
        assert self._model is not None, "watches are checked while there is a model"
        values = self._parameters.values()
        check_query(spec.query)
        trigger = spec.trigger(to_config(values).trigger)
        asked = {"query": spec.query, "queries": (), "trigger.min_active_seconds": trigger.min_active_seconds}
        check_with_model({**values, **asked}, self._model)
        if spec.look_back and not values["look_back"]:
            raise ConfigError("Nothing is kept to look back at; set the parameter look_back, or ask without.")
