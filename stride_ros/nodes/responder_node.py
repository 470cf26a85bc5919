"""The responder node: describes what happens when the activation node reports an event."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import StrideError
from stride_ros.msg import ActivationSpan
from stride_ros.nodes.clock_steps import ClockSteps
from stride_ros.nodes.commentary_output import CommentaryOutput
from stride_ros.nodes.control import ControlServices
from stride_ros.nodes.describe_action import DescribeAction
from stride_ros.nodes.diagnostics import Diagnostics, Status, gpu_memory, process_memory
from stride_ros.nodes.frame_input import FrameInput
from stride_ros.nodes.home import state_folder
from stride_ros.nodes.lifecycle import ManagedNode
from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.nodes.qos import SPANS_HEARD_QOS
from stride_ros.nodes.runner import run
from stride_ros.nodes.worker import call_in_thread
from stride_ros.parameters.cameras import check_cameras
from stride_ros.parameters.responder import TABLE, to_backend, to_config
from stride_ros.response.backend import ResponseBackend
from stride_ros.response.commentary import SpanReport, SpanState
from stride_ros.response.config import LIVE, BackendConfig
from stride_ros.response.known_onsets import MAX_HEARD, KnownOnsets
from stride_ros.response.responder import Responder
from stride_ros.response.scheduler import Figures
from stride_ros.text import topics
from stride_ros.text.wording import counted, escaped, plural

_JOIN_TIMEOUT = 10.0  # s; reading the frames in (prefill) cannot be interrupted
_LISTED = 10  # ids in one line of the log
_WARNING_PERIOD = 5.0  # s between repeated warnings


@dataclass(frozen=True)
class _Configured:
    """What `configure` creates and `cleanup` releases."""

    backend: ResponseBackend
    responder: Responder
    output: CommentaryOutput
    diagnostics: Diagnostics
    answered: KnownOnsets


class ResponderNode(ManagedNode):
    """Answers the onsets of spans with commentary.

    Subscribes to `activation/span` and `frames` (with several cameras, those of each: `front/frames` ...);
    publishes `commentary`, `commentary/text` and /diagnostics; serves the action `describe`.

    Everything happens in the executor's thread. What it receives goes to a Responder, whose own thread talks
    to the backend and passes results to a CommentaryOutput. Each ONSET gets exactly one final Commentary.
    """

    def __init__(self, **node_options: Any) -> None:
        """`node_options` go to rclpy's Node: context, namespace, parameter_overrides, cli_args ..."""
        self._configured: _Configured | None = None
        self._entities: list[tuple[Any, Any]] = []  # (its destroy function, the entity), created by activate
        self._heard = KnownOnsets(size=MAX_HEARD)  # since this start of the node
        self._frames = FrameInput(self, self._on_frame, wanted=lambda: self._responder.enabled)
        self._told = ""  # the last problem of the ledger that was logged
        super().__init__("responder", TABLE, _check, **node_options)
        ControlServices(self, is_active=lambda: bool(self._entities), enable=self._enable, reset=self._reset)
        self._describe = DescribeAction(
            self,
            self._answering,
            obstacle=self._obstacle,
            model=lambda: self.backend.name if self.backend is not None else "",
        )
        self._clock_steps = ClockSteps(
            self, lambda before, after, is_back: self._describe.clock_was_set(before, after)
        )

    def destroy_node(self) -> None:
        """See `ManagedNode`."""
        self._clock_steps.destroy()
        super().destroy_node()

    # Transitions

    def configure(self) -> None:
        values = self.parameters.values()
        self.get_logger().info(f"Loading {escaped(values['model'])} ...")
        started = time.monotonic()
        backend = call_in_thread(
            lambda: self._load(to_backend(values), values["warm_up"]), keep_waiting=self.may_wait
        )
        output = CommentaryOutput(self)
        answered = self._open_answered()
        self._configured = _Configured(
            backend,
            Responder(
                backend,
                to_config(values),
                output,
                cameras=values["cameras"],
                heard=self._heard,
                answered=answered,
            ),
            output,
            Diagnostics(self, self._fill_status, hardware_id=values["device"]),
            answered,
        )
        self.get_logger().info(
            f"{escaped(backend.name)} ({values['backend']}) is ready "
            f"after {time.monotonic() - started:.1f} s."
        )

    def activate(self) -> None:
        self._responder.start()
        self._entities = [
            (self.destroy_subscription, subscription)
            for subscription in (
                *self._frames.subscribe(self.parameters["cameras"]),
                self.create_subscription(ActivationSpan, topics.SPAN, self._on_span, SPANS_HEARD_QOS),
            )
        ]

    def deactivate(self) -> None:
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities = []
        if self._configured is not None:
            self._describe.end_all("The node was deactivated before the answer was finished.")
            self._responder.stop("The responder was deactivated before the answer was finished.")

    def cleanup(self) -> None:
        configured, self._configured = self._configured, None
        if configured is None:
            return
        configured.diagnostics.destroy()
        if configured.responder.close("The responder is shutting down.", _JOIN_TIMEOUT):
            configured.backend.close()
        else:
            self.get_logger().error(
                f"{escaped(configured.backend.name)} has not returned for {_JOIN_TIMEOUT:.0f} s; "
                "leaving it behind."
            )
        configured.output.destroy()

    def _load(self, config: BackendConfig, warm_up: bool) -> ResponseBackend:
        backend = config.load()
        if warm_up:
            try:
                backend.warm_up()
            except StrideError as error:
                if not backend.remote:
                    backend.close()
                    raise
                self.get_logger().warning(f"Not ready yet, continuing: {error}")
        return backend

    def _open_answered(self) -> KnownOnsets:
        """The onsets that were answered, also before earlier restarts of the node."""
        if not self.parameters["remember"]:
            return KnownOnsets()
        name = self.get_fully_qualified_name().strip("/").replace("/", ".")
        folder = state_folder()
        if folder is None:
            self._tell_problem(
                "The record of answered events is lost at exit, since this user has no home folder; set "
                "ROS_HOME to a writable folder."
            )
            return KnownOnsets()
        answered = KnownOnsets(folder / f"{name}.{self.context.get_domain_id()}.answered")
        if answered.uncertain:
            ids = [str(span_id) for _, span_id in answered.uncertain]
            more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
            self.get_logger().warning(
                "The node was killed while publishing a final Commentary, which may be lost and is not "
                f"published again: span {', '.join(ids[:_LISTED])}{more}."
            )
        self._told = ""
        self._tell_problem(answered.problem)
        return answered

    def _tell_problem(self, problem: str) -> None:
        """Log once what keeps answers from being remembered."""
        if problem and problem != self._told:
            self.get_logger().warning(problem)
        self._told = problem

    # State

    @property
    def backend(self) -> ResponseBackend | None:
        """The backend; None unless the node is configured."""
        return self._configured.backend if self._configured is not None else None

    @property
    def frames_kept(self) -> int:
        """Number of frames that an answer could be given now."""
        return self._responder.frames_kept if self._configured is not None else 0

    @property
    def onsets(self) -> int:
        """Number of events that were accepted since the node was configured."""
        return self._responder.onsets if self._configured is not None else 0

    @property
    def _responder(self) -> Responder:
        assert self._configured is not None, "subscriptions and services exist only while configured"
        return self._configured.responder

    # Input

    def _on_frame(self, image: NDArray[np.uint8], stamp: int, camera: str) -> None:
        self._responder.frame(image, stamp, camera)

    def _on_span(self, span: ActivationSpan, info: Any) -> None:
        if span.state > ActivationSpan.RETRACTED:
            self.get_logger().warning(
                f"Ignored a span of the unknown state {span.state}.", throttle_duration_sec=_WARNING_PERIOD
            )
            return
        self._apply_live()
        self._responder.span(
            SpanReport(
                state=SpanState(span.state),
                span_id=span.span_id,
                query=span.query,
                start=to_nanoseconds(span.start),
                end=to_nanoseconds(span.end),
                stamp=to_nanoseconds(span.header.stamp),
                onset=to_nanoseconds(span.onset),
                frame_id=span.header.frame_id,
                watch=span.watch,
                camera=span.camera,
                respond=span.respond,
                published=info["source_timestamp"],
            )
        )

    def _apply_live(self) -> None:
        live = {name: self.parameters[name] for name in LIVE}
        self._responder.apply(replace(self._responder.config, **live))

    def _obstacle(self) -> str:
        """Why no question can be answered now, with the remedy; empty if questions can."""
        if self._configured is None:
            return "The node is not configured; configure and activate it first."
        if not self._entities:
            return "The node is inactive; activate it first."
        if not self._responder.enabled:
            return "The responder is disabled; call ~/enable."
        return ""

    def _answering(self) -> Responder:
        """The responder, with the current parameters applied."""
        self._apply_live()
        return self._responder

    def _enable(self, wanted: bool) -> str:
        if wanted:
            self._responder.enable()
        else:
            self._responder.disable()
        return "enabled" if wanted else "disabled: events are skipped, the model stays loaded"

    def _reset(self) -> str:
        self._responder.reset()
        return "frames, queue and past commentaries are forgotten"

    def _fill_status(self, status: Status) -> None:
        """Report the state; the rules are in docs/diagnostics.md."""
        backend = self.backend
        figures = self._responder.figures() if self._configured is not None else Figures()
        if figures.last_error:
            status.error(f"the latest answer failed: {figures.last_error}")
        if figures.waiting >= self.parameters["max_queue"]:
            waiting = f"{counted(figures.waiting, 'event')} {plural(figures.waiting, 'waits', 'wait')}"
            status.warn(f"{waiting} for an answer, and the next one replaces the oldest")
        if self._configured is not None and (problem := self._configured.answered.problem):
            status.warn(problem)
            self._tell_problem(problem)
        active = bool(self._entities)
        enabled = active and self._responder.enabled
        status.add("state", "inactive" if not active else "active" if enabled else "disabled")
        status.add("backend", self.parameters["backend"])
        status.add("backend health", "failing" if figures.last_error else "ok" if backend else "none")
        status.add("model", backend.name if backend is not None else "none")
        status.add("threads", getattr(backend, "threads", "none"))
        status.add("frames (Hz)", self._frames.rate.hertz)
        status.add("frames kept", self.frames_kept)
        status.add("frames rejected", self._frames.rejected)
        status.add("onsets", self.onsets)
        status.add("answered", figures.answered)
        status.add("errors", figures.errors)
        status.add("skipped", figures.skipped)
        status.add("queue", figures.waiting)
        status.add("busy", figures.busy)
        status.add("first text (s)", figures.first_token)
        status.add("speed (tokens/s)", figures.tokens_per_second)
        status.add("process memory (MB)", process_memory() / 1e6)
        status.add("GPU memory (MB)", gpu_memory() / 1e6)
        status.add("last error", self.last_error or "none")


def _check(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for parameters that do not fit together."""
    to_config(values)
    check_cameras(values["cameras"])


def main() -> int:
    """Run the node until it is stopped; returns the exit code."""
    return run("stride_ros.nodes.responder_node:ResponderNode")


if __name__ == "__main__":
    raise SystemExit(main())
