"""The watches of the activation node: what to watch for, and the state of each watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stride_ros.activation.identity import UNNAMED
from stride_ros.activation.smaller import smaller_settings
from stride_ros.activation.watch_list import Refusal, Source, WatchEntry, WatchError, WatchList, WatchSpec
from stride_ros.errors import ConfigError
from stride_ros.msg import Watch
from stride_ros.parameters.activation import (
    check_query,
    check_with_model,
    memory_limit,
    to_config,
    watched_queries,
)

if TYPE_CHECKING:
    from rclpy.node import Node

    from stride_ros.activation.config import ActivationConfig, TriggerConfig
    from stride_ros.activation.model import ActivationModel
    from stride_ros.activation.watch_request import WatchRequest
    from stride_ros.msg import ActivationSpan
    from stride_ros.nodes.activation_output import ActivationOutput
    from stride_ros.nodes.activation_worker import ActivationWorker
    from stride_ros.nodes.parameters import Parameters


class ActivationWatches:
    """Watches of the parameters, the query topic, services and goals; they live as long as the node.

    The node sets `enabled` and `topic_query`. All methods may be called from any thread.
    """

    def __init__(self, node: Node, parameters: Parameters) -> None:
        self._cameras: tuple[str, ...] = parameters["cameras"] or (UNNAMED,)
        self.enabled = frozenset(self._cameras)  # cameras whose images are used
        self.topic_query = ""  # the last one that was accepted from the query topic
        self._parameters = parameters
        self._model: ActivationModel | None = None
        self._output: ActivationOutput | None = None
        self._worker: ActivationWorker | None = None  # while the node is active
        self._readiness: Mapping[str, bool] = {}
        self._list = WatchList(lambda: node.get_clock().now().nanoseconds, parameters["cameras"])

    def loaded(self, model: ActivationModel, output: ActivationOutput) -> None:
        """Check watches with the loaded model, which may refuse those added with another one."""
        self._model, self._output = model, output
        self._list.check_with(self._check)

    def unloaded(self) -> None:
        """Note that there is no model any more."""
        self._list.check_with(None)
        self._model = self._output = None

    def work_with(self, worker: ActivationWorker | None) -> None:
        """Set the worker that owns the streams, or None when there are none any more."""
        self._worker, self._readiness = worker, {}

    def became(self, readiness: Mapping[str, bool]) -> None:
        """Set which watches have begun, and whether each decides; see `StampedEngine.readiness`."""
        self._readiness = readiness
        if self._output is not None:
            self._output.forget_but(readiness)

    def settings(self) -> tuple[tuple[WatchRequest, ...], ActivationConfig]:
        """What to watch for from the next frame on, and with which settings."""
        config = to_config(self._parameters.values())
        return self._owning().requests(config.trigger), config

    # For services and goals

    def add(self, spec: WatchSpec, *, replace_other: bool = False, source: Source = Source.SERVICE) -> str:
        """See `WatchList.add`."""
        limit = int(self._parameters["max_watches"])
        id = self._list.add(spec, limit=limit, replace_other=replace_other, source=source, admit=self._admit)
        self._refresh()
        return id

    def remove(self, id: str, *, source: Source | None = None) -> bool:
        """See `WatchList.remove`."""
        removed = self._list.remove(id, source=source)
        if removed:
            self._refresh()
        return removed

    def expire(self) -> None:
        """Remove the watches whose lifetime is over."""
        if self._list.expire():
            self._refresh()

    def resolved(self, spec: WatchSpec) -> WatchSpec:
        """See `WatchList.resolved`."""
        return self._list.resolved(spec)

    def clock_was_set(self, before: int, after: int) -> None:
        """See `WatchList.clock_was_set`."""
        self._owning().clock_was_set(before, after)
        self._refresh()

    def is_owned(self, id: str) -> bool:
        """Whether the parameters own the watch with this id."""
        return self._owning().is_owned(id)

    def entries(self) -> list[WatchEntry]:
        """All watches, those of the parameters first."""
        return self._owning().entries()

    def trigger(self) -> TriggerConfig:
        """The current trigger of the parameters."""
        return to_config(self._parameters.values()).trigger

    def state(self, entry: WatchEntry) -> tuple[int, str]:
        """State of a watch as in Watch.msg, and the reason if it is FAILED or PAUSED."""
        if entry.problem:
            return Watch.FAILED, entry.problem
        own = self.cameras_of(entry.spec)
        if not self.enabled:
            return Watch.PAUSED, "The node is disabled; call ~/enable."
        if not self.enabled.intersection(own):
            return Watch.PAUSED, f"Its cameras are disabled; call ~/{own[0]}/enable."
        ready = None if self._worker is None else self._readiness.get(entry.spec.id)
        if ready is None:
            return Watch.PENDING, ""
        return (Watch.WATCHING if ready else Watch.CATCHING_UP), ""

    def cameras_of(self, spec: WatchSpec) -> tuple[str, ...]:
        """Names of the cameras of a watch."""
        return spec.cameras or self._cameras

    def probability(self, spec: WatchSpec) -> float:
        """P(active) of the newest slot of a watch, the largest over its cameras; 0 before the first."""
        return 0.0 if self._output is None else self._output.probability(spec.id, self.cameras_of(spec))

    def open_spans(self, id: str) -> list[ActivationSpan]:
        """The open spans of a watch, each in its newest state."""
        return [] if self._output is None else self._output.open_spans(id)

    def _refresh(self) -> None:
        """Give the worker the current list, even when no frame arrives."""
        if self._worker is not None:
            self._worker.refresh()

    def _owning(self) -> WatchList:
        """The list, updated from the parameters."""
        values = self._parameters.values()
        by_topic = not values["queries"] and values["query"] == self.topic_query
        self._list.own(watched_queries(values), Source.TOPIC if by_topic else Source.PARAMETER)
        return self._list

    def _admit(self, others: Sequence[WatchSpec], spec: WatchSpec) -> None:
        """Raise WatchError if there is no memory for a watch beside the others, once a frame has arrived."""
        limit = memory_limit(self._parameters.values())
        sizes = self._worker.frame_sizes if self._worker is not None else {}
        if limit is None or not sizes or self._model is None:
            return
        from stride_ros.activation.engine import ActivationEngine

        model, config = self._model, to_config(self._parameters.values())

        def needed(specs: Sequence[WatchSpec], config: ActivationConfig = config) -> int:
            engine = ActivationEngine(model, config)
            queries = {name: [s.query for s in specs if name in self.cameras_of(s)] for name in sizes}
            return sum(engine.memory_for(sizes[name], asked) for name, asked in queries.items())

        every = [*others, spec]
        if needed(every) <= limit:
            return
        used = needed(others) if others else 0
        fitting = (found for found, smaller in smaller_settings(config) if needed(every, smaller) <= limit)
        settings = [f"{name}: {value}" for name, value in next(fitting, {}).items()]
        advice = f"set {' and '.join(settings)}, " if settings else ""
        missing, free = needed(every) - used, max(0, limit - used)
        raise WatchError(
            Refusal.NO_MEMORY,
            f"The watch needs {missing / 1e6:.1f} MB, but of memory_limit {free / 1e6:.1f} MB are "
            f"free; {advice}raise memory_limit, or remove other watches.",
            needed=missing,
            free=free,
            would_fit=settings,
        )

    def _check(self, spec: WatchSpec) -> None:
        """Raise a StrideError for a watch that the loaded model cannot have with these parameters."""
        assert self._model is not None, "watches are checked only while there is a model"
        values = self._parameters.values()
        check_query(spec.query)
        trigger = spec.trigger(to_config(values).trigger)
        asked = {"query": spec.query, "queries": (), "trigger.min_active_seconds": trigger.min_active_seconds}
        check_with_model({**values, **asked}, self._model)
        if spec.look_back and not values["look_back"]:
            raise ConfigError(
                "look_back is not possible, since the node keeps no features; set its parameter look_back, "
                "or leave look_back at 0."
            )
