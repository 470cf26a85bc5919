"""The activation node: watches a camera and publishes when something the user asked for happens."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.parameter import Parameter
from std_msgs.msg import String

from stride_ros.activation.frame_path import DecisionSink
from stride_ros.activation.identity import SpanIds
from stride_ros.activation.sinks import Sinks
from stride_ros.activation.waits import Outcome
from stride_ros.errors import FrameError
from stride_ros.nodes.activation_cameras import ActivationCameras, Camera
from stride_ros.nodes.activation_output import ActivationOutput
from stride_ros.nodes.activation_status import ActivationStatus
from stride_ros.nodes.activation_watches import ActivationWatches
from stride_ros.nodes.activation_worker import ActivationWorker, free_gpu_memory
from stride_ros.nodes.clock_steps import ClockSteps
from stride_ros.nodes.control import ControlServices
from stride_ros.nodes.diagnostics import Diagnostics, Status
from stride_ros.nodes.image_input import LiveFrame
from stride_ros.nodes.lifecycle import ManagedNode
from stride_ros.nodes.qos import QUERY_QOS
from stride_ros.nodes.responder_wait import ResponderWait
from stride_ros.nodes.runner import run
from stride_ros.nodes.wait_action import WaitAction
from stride_ros.nodes.watch_services import WatchServices
from stride_ros.nodes.worker import call_in_thread
from stride_ros.parameters.activation import (
    TABLE,
    check_values,
    check_with_model,
    memory_limit,
)
from stride_ros.parameters.cameras import camera_parameters, rate_of
from stride_ros.parameters.table import with_default
from stride_ros.text import topics
from stride_ros.text.wording import counted, escaped, of_camera

if TYPE_CHECKING:
    from stride_ros.activation.clock import Reading
    from stride_ros.activation.model import ActivationModel

_WARNING_PERIOD = 5.0  # s between repeated warnings about bad frames


@dataclass(frozen=True)
class _Configured:
    """What `configure` creates as a whole and `cleanup` destroys."""

    model: ActivationModel
    output: ActivationOutput
    diagnostics: Diagnostics


class ActivationNode(ManagedNode):
    """Subscribes to images, decides on frames, and publishes spans and windows.

    Subscribes to `image`; publishes `frames`, `activation/span`, `activation/window`, `activation/image`,
    `watches` and /diagnostics; serves the action `wait_for_event`. With several cameras, each has its own
    `image`, `frames` and `activation/image`: `front/image`, `front/frames` ...

    The image callback only stores the newest due frame. Each activation has its own worker, whose thread owns
    the engine: only it pushes frames, restarts streams and publishes.
    """

    def __init__(
        self, *, wait_for_responder: float = 0.0, join_timeout: float = 10.0, **node_options: Any
    ) -> None:
        """`wait_for_responder`: default of that parameter, for programs that also start a responder.

        `join_timeout`: how long (s) `deactivate` waits for a decision, which cannot be interrupted.
        `node_options` go to rclpy's Node: context, namespace, parameter_overrides, cli_args ...
        """
        self._configured: _Configured | None = None
        self._wait: ResponderWait | None = None  # while there is no input yet
        self._worker: ActivationWorker | None = None
        self._join_timeout = join_timeout
        self._span_ids = SpanIds()  # for this start of the node, also across cleanup and configure
        table = with_default(TABLE, "wait_for_responder", wait_for_responder)
        super().__init__(
            "activation",
            table,
            self._check_values,
            more=lambda parameters: camera_parameters(parameters["cameras"]),
            **node_options,
        )
        self.cameras = ActivationCameras(self, self.parameters)
        self._status = ActivationStatus(tuple(self.cameras))
        self._watches = ActivationWatches(self, self.parameters)
        self._watch_services = WatchServices(self, self._watches, on_change=lambda: self._waits.check())
        self._waits = WaitAction(
            self, self._watches, obstacle=self._obstacle, on_change=self._watch_services.publish
        )
        self.create_subscription(String, topics.QUERY, self._on_query, QUERY_QOS)
        self._serve_control("", tuple(self.cameras))
        for name in self.parameters["cameras"]:
            self._serve_control(name, [name])
        self._clock_steps = ClockSteps(self, self._on_clock_step)

    def destroy_node(self) -> None:
        """See `ManagedNode`."""
        self._clock_steps.destroy()
        super().destroy_node()

    # Transitions

    def configure(self) -> None:
        from stride_ros.activation.model import ActivationModel

        values = self.parameters.values()
        self.get_logger().info(f"Loading {escaped(values['model'])} ...")
        started = time.monotonic()
        model = call_in_thread(
            lambda: ActivationModel.load(
                values["model"], values["device"], values["dtype"], threads=values["threads"]
            ),
            keep_waiting=self.may_wait,
        )
        check_with_model(values, model)
        self._configured = _Configured(
            model,
            ActivationOutput(
                self,
                self._span_ids,
                model.short_name,
                tuple(self.cameras),
                on_change=self._watch_services.publish,
                on_span=self._waits.span,
            ),
            Diagnostics(self, self._fill_status, hardware_id=str(model.device)),
        )
        self._watches.loaded(model, self._configured.output)
        self.get_logger().info(
            f"Loaded {escaped(model.name)} on {model.device} in {time.monotonic() - started:.1f} s: "
            f"window of {counted(model.window, 'slot')} of {model.resolution:g} s."
        )
        self.cameras.warn_about_rates(model.resolution)

    def activate(self) -> None:
        configured = self._configured
        assert configured is not None, "a node is configured before it is activated"
        self._status.failure = ""
        self.cameras.begin_notes()
        self._waits.restart()
        self._worker = worker = self._make_worker(configured)
        self._watches.work_with(worker)
        # Nothing is subscribed to meanwhile, so a camera that waits for a subscriber waits as well.
        if limit := self.parameters["wait_for_responder"]:
            publishers = configured.output.for_the_responder
            self._wait = ResponderWait(self, publishers, limit, lambda: self._end_wait(worker))
        else:
            self._open_input(worker)

    def _end_wait(self, worker: ActivationWorker) -> None:
        if not self._attempt("activate", lambda: self._open_input(worker)):
            self.trigger_deactivate()

    def _open_input(self, worker: ActivationWorker) -> None:
        """Start watching."""
        self.cameras.open(
            worker,
            on_jump=lambda camera, reading: self._on_image_jump(worker, camera, reading),
            on_rejected=self._on_rejected,
        )
        self._watch_services.publish()

    def deactivate(self) -> None:
        if self._wait is not None:
            self._wait.destroy()
            self._wait = None
        self.cameras.close()
        if self._worker is not None:
            worker, self._worker = self._worker, None
            # End goals at once, since a decision may still take long.
            self._waits.end_all(Outcome.DEACTIVATED, "The node was deactivated.")
            self._watches.work_with(None)
            if not worker.stop(self._join_timeout):
                self.get_logger().error(
                    f"The model has not returned for {self._join_timeout:g} s; leaving it behind."
                )
            for name, load in worker.loads.items():
                self._status.cameras[name].dropped += load.dropped
            for name, notes in self.cameras.notes.items():
                for sentence in notes.counts():
                    self.get_logger().warning(of_camera(name, sentence))
            self._watch_services.publish()

    def cleanup(self) -> None:
        self._watches.unloaded()
        if self._configured is not None:
            self._configured.diagnostics.destroy()
            self._configured.output.destroy()
        self._configured = self._status.update = None
        free_gpu_memory()

    # The executor's thread

    def _on_restart(self, cameras: Collection[str], reason: str) -> None:
        """Restart: what the streams hold does not help with the frames to come."""
        for name in cameras:
            self._status.cameras[name].restart("the stream restarted")
        names = f" {', '.join(cameras)}" if self.parameters["cameras"] else ""
        self.get_logger().warning(f"Restarting{names}: {reason}.", throttle_duration_sec=1.0)
        if self._worker is not None:
            self._worker.restart(cameras)

    def _on_rejected(self, camera: str, error: Exception) -> None:
        """Count an image that could not be read, due or not; the input logs it."""
        self.last_error = str(error)
        self._status.rejected(camera, error)

    def _on_image_jump(self, worker: ActivationWorker, camera: str, reading: Reading) -> None:
        self._waits.end_all(Outcome.CLOCK_JUMP, f"Of the images {reading.jump}; send the goal again.", camera)
        worker.jumped(camera, reading)

    def _on_clock_step(self, before: int, after: int, is_back: bool) -> None:
        """Keep what is left of lifetimes and timeouts.

        Where time goes back, as in a looping bag, earlier events mean nothing for later goals.
        """
        self._watches.clock_was_set(before, after)
        self._waits.clock_was_set(before, after)
        if not is_back:
            return
        self._waits.end_all(
            Outcome.CLOCK_JUMP, "The clock went back or changed its source; send the goal again."
        )
        if self.cameras.are_open and self._status.decisions:
            self.cameras.restart(tuple(self.cameras))
            self._on_restart(tuple(self.cameras), "the clock went back or changed its source")

    def _on_query(self, message: String) -> None:
        alone = Parameter("queries", Parameter.Type.STRING_ARRAY, [""])
        result = self.set_parameters_atomically([Parameter("query", value=message.data), alone])
        if result.successful:
            self._watches.topic_query = message.data
            self.get_logger().info(f"New query: {escaped(message.data)}")
        else:
            self.get_logger().warning(
                f"Query rejected: {result.reason}", throttle_duration_sec=_WARNING_PERIOD
            )

    def _serve_control(self, part: str, cameras: Collection[str]) -> None:
        ControlServices(
            self,
            part,
            is_active=lambda: self._worker is not None,
            enable=lambda wanted: self._enable(cameras, wanted),
            reset=lambda: self._reset(cameras),
        )

    def _enable(self, cameras: Collection[str], wanted: bool) -> str:
        if changed := self.cameras.enable(cameras, wanted):
            self._watches.enabled = self.cameras.enabled
            if self._worker is not None:
                self._worker.restart(changed)
            self._watch_services.publish()
        return "enabled" if wanted else "disabled: images are ignored, the model stays loaded"

    def _reset(self, cameras: Collection[str]) -> str:
        self.cameras.restart(cameras)
        self._on_restart(cameras, "a reset was requested")
        return "the stream restarts with the next image"

    def _obstacle(self) -> str:
        """Why goals cannot wait for an event now, with the remedy; empty if they can."""
        if self._configured is None:
            return "The node is not configured; configure and activate it first."
        return "" if self._worker is not None else "The node is inactive; activate it first."

    def _state(self) -> str:
        """What the node is doing, in the words of docs/diagnostics.md."""
        if self.cameras.are_open:
            return "active" if self.cameras.enabled else "disabled"
        return "inactive" if self._worker is None else "waiting for the responder"

    def _report_camera(self, camera: Camera, status: Status) -> None:
        """Add one camera's values to a status."""
        name, values, worker = camera.name, self.parameters.values(), self._worker
        if camera.input is not None and camera.enabled:
            camera.input.warn_if_silent(values["image_timeout"])
        if name:
            status.add("state", self._state() if camera.enabled else "disabled")
        load = worker.loads.get(name) if worker is not None else None
        rate = rate_of(self.parameters, name)
        self._status.cameras[name].report(status, camera, load, rate, values["image_timeout"])
        if worker is not None:
            status.add("context (frames)", f"{worker.context_frames(name)} of {values['max_frames']}")

    def _fill_status(self, status: Status) -> dict[str, Status]:
        """Report the state; each named camera gets a separate status."""
        model = self._configured.model if self._configured is not None else None
        status.add("state", self._state())
        status.add("model", model.name if model else "none")
        status.add("device", model.device if model else "none")
        status.add("threads", model.threads if model else "none")
        status.add("query", escaped("; ".join(entry.spec.query for entry in self._watches.entries())))
        if model:
            self.cameras.warn_about_rates(model.resolution)  # rates may have changed since
        own = {name: Status() for name in self.parameters["cameras"]}
        for name, camera in self.cameras.items():
            self._report_camera(camera, own.get(name, status))
        for name, of_one in own.items():
            if of_one.level:
                status.warn(of_camera(name, of_one.message))
        self._status.report(status, max(rate_of(self.parameters, name) for name in self.cameras))
        if self._worker is not None:
            self._worker.memory.report(status)
        status.add("last error", self.last_error or "none")
        return own

    # Construction

    def _check_values(self, values: Mapping[str, Any]) -> None:
        check_values(values)
        if self._configured is not None:
            check_with_model(values, self._configured.model)

    def _make_worker(self, configured: _Configured) -> ActivationWorker:
        from stride_ros.activation.stamped_engine import StampedEngine

        model, settings, ids = configured.model, self._watches.settings, self._span_ids
        keeping = {
            "cameras": tuple(self.cameras),
            "look_back": self.parameters["look_back"],
            "memory_limit": memory_limit(self.parameters.values()),
        }
        return ActivationWorker(
            lambda: StampedEngine(model, *settings(), ids.next, **keeping),
            settings,
            Sinks(configured.output, self._waits, self._status, _Log(self)),
            self.cameras.notes,
            on_failure=self._on_failure,
            on_readiness=self._on_readiness,
            log=self.get_logger().info,
        )

    def _on_readiness(self, readiness: Mapping[str, bool]) -> None:
        self._watches.became(readiness)
        self._watch_services.publish()

    def _on_failure(self, error: Exception) -> None:
        """Log an error that no image explains; called in the worker's thread."""
        self._status.failure = self.last_error = escaped(f"{type(error).__name__}: {error}")
        failure = f"A decision failed: {self.last_error}"
        self.get_logger().error(failure, throttle_duration_sec=_WARNING_PERIOD)


class _Log(DecisionSink[LiveFrame]):
    """Logs what a replay would note; called in the worker's thread."""

    def __init__(self, node: ActivationNode) -> None:
        self._node = node

    def rejected(self, stream: str, error: Exception) -> None:
        self._node.last_error = str(error)
        what = "Skipped an image" if isinstance(error, FrameError) else "Skipped a decision"
        self._node.get_logger().warning(
            of_camera(stream, f"{what}: {error}"), throttle_duration_sec=_WARNING_PERIOD
        )

    def note(self, stream: str, sentence: str) -> None:
        self._node.get_logger().warning(of_camera(stream, sentence))


def main() -> int:
    """Run the node until it is stopped; returns the exit code."""
    return run(ActivationNode)


if __name__ == "__main__":
    raise SystemExit(main())
