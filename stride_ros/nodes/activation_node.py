"""The activation node: watches a camera and publishes when something the user asked for happens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from std_msgs.msg import String

from stride_ros.activation.frame_path import DecisionSink
from stride_ros.activation.identity import SpanIds
from stride_ros.activation.notes import StreamNotes
from stride_ros.activation.sinks import Sinks
from stride_ros.activation.waits import Outcome
from stride_ros.errors import FrameError
from stride_ros.nodes.activation_output import ActivationOutput
from stride_ros.nodes.activation_status import ActivationStatus
from stride_ros.nodes.activation_watches import ActivationWatches
from stride_ros.nodes.activation_worker import STREAM, ActivationWorker, free_gpu_memory
from stride_ros.nodes.control import ControlServices
from stride_ros.nodes.diagnostics import Diagnostics, Status
from stride_ros.nodes.image_input import ImageInput, LiveFrame
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
from stride_ros.parameters.table import with_default
from stride_ros.text import topics
from stride_ros.text.wording import counted, escaped

if TYPE_CHECKING:
    from stride_ros.activation.clock import Reading
    from stride_ros.activation.model import ActivationModel

_WARNING_PERIOD = 5.0  # s between repeated warnings about bad frames


@dataclass(frozen=True)
class _Configured:
    """What `configure` makes, whole, and `cleanup` takes down."""

    model: ActivationModel
    output: ActivationOutput
    diagnostics: Diagnostics


class ActivationNode(ManagedNode):
    """`image` in; `frames`, `activation/span`, `activation/window`, `activation/image`, `watches` and
    /diagnostics out; the action `wait_for_event`.

    The image callback only stores the newest due frame. Each activation has a worker of its own, whose thread
    owns the stream: it alone pushes frames, restarts the stream and publishes.
    """

    def __init__(
        self, *, wait_for_responder: float = 0.0, join_timeout: float = 10.0, **node_options: Any
    ) -> None:
        """`wait_for_responder`: default of that parameter, for who starts a responder beside this node.

        `join_timeout`: how long (s) `deactivate` waits for a decision, which cannot be interrupted.
        `node_options` go to rclpy's Node: context, namespace, parameter_overrides, cli_args ...
        """
        self._configured: _Configured | None = None
        self._input: ImageInput | None = None
        self._wait: ResponderWait | None = None  # before there is an input
        self._worker: ActivationWorker | None = None
        self._notes = StreamNotes()  # of this activation, or of the last one
        self._join_timeout = join_timeout
        self._jump: Any = None
        self._span_ids = SpanIds()  # for one life of the node, also across cleanup and configure
        self._enabled = True
        self._status = ActivationStatus()
        self._dropped = 0  # by workers of earlier activations
        table = with_default(TABLE, "wait_for_responder", wait_for_responder)
        super().__init__("activation", table, self._check_values, **node_options)
        self._watches = ActivationWatches(self, self.parameters)
        self._watch_services = WatchServices(self, self._watches, on_change=lambda: self._waits.check())
        self._waits = WaitAction(
            self, self._watches, obstacle=self._obstacle, on_change=self._watch_services.publish
        )
        self.create_subscription(String, topics.QUERY, self._on_query, QUERY_QOS)
        ControlServices(
            self, is_active=lambda: self._worker is not None, enable=self._enable, reset=self._reset
        )

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

    def activate(self) -> None:
        configured = self._configured
        assert configured is not None, "a node is configured before it is activated"
        self._status.failure = ""
        self._notes = StreamNotes()
        self._waits.restart()
        self._worker = worker = self._make_worker(configured)
        self._watches.work_with(worker)
        # Bags that loop with /clock: time goes back. The handle must be kept, or the callback is lost.
        self._jump = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=self._on_clock_jump,
        )
        # Nothing is subscribed to meanwhile, so that a camera that waits for a subscriber waits as well.
        if limit := self.parameters["wait_for_responder"]:
            publishers = configured.output.for_the_responder
            self._wait = ResponderWait(self, publishers, limit, lambda: self._end_wait(worker))
        else:
            self._open_input(worker)

    def _end_wait(self, worker: ActivationWorker) -> None:
        if not self._attempt("activate", lambda: self._open_input(worker)):
            self.trigger_deactivate()

    def _open_input(self, worker: ActivationWorker) -> None:
        """Begin to watch."""
        self._input = ImageInput(
            self,
            transport=self.parameters["image_transport"],
            rate=lambda: self.parameters["rate"],
            notes=self._notes,
            on_due=worker.submit,
            on_jump=lambda reading: self._on_image_jump(worker, reading),
            on_rejected=self._on_rejected,
        )
        self._input.paused = not self._enabled
        self._watch_services.publish()

    def deactivate(self) -> None:
        if self._wait is not None:
            self._wait.destroy()
            self._wait = None
        if self._input is not None:
            self._input.destroy()
            self._input = None
        if self._jump is not None:
            self._jump.unregister()
            self._jump = None
        if self._worker is not None:
            worker, self._worker = self._worker, None
            # At once, while a decision may still take long.
            self._waits.end_all(Outcome.DEACTIVATED, "The node was deactivated.")
            self._watches.work_with(None)
            if not worker.stop(self._join_timeout):
                self.get_logger().error(
                    f"The model has not returned for {self._join_timeout:g} s; leaving it behind."
                )
            self._dropped += worker.dropped
            for sentence in self._notes.counts():
                self.get_logger().warning(sentence)
            self._watch_services.publish()

    def cleanup(self) -> None:
        self._watches.unloaded()
        if self._configured is not None:
            self._configured.diagnostics.destroy()
            self._configured.output.destroy()
        self._configured = self._status.update = None
        free_gpu_memory()

    # The executor's thread

    def _on_restart(self, reason: str) -> None:
        """Start anew: the stream before is of no use for what comes."""
        self._status.restart()
        self.get_logger().warning(f"Starting anew: {reason}.", throttle_duration_sec=1.0)
        if self._worker is not None:
            self._worker.restart()

    def _on_rejected(self, error: Exception) -> None:
        """Count an image that could not be read, due or not; the input logs it."""
        self.last_error = str(error)
        self._status.rejected(STREAM, error)

    def _on_image_jump(self, worker: ActivationWorker, reading: Reading) -> None:
        self._waits.end_all(Outcome.CLOCK_JUMP, f"Of the images {reading.jump}; ask again.")
        worker.jumped(reading)

    def _on_clock_jump(self, jump: Any) -> None:
        self._waits.end_all(Outcome.CLOCK_JUMP, "The clock went back or changed its source; ask again.")
        if self._input is not None and self._status.decisions.count:
            self._input.restart()
            self._on_restart("the clock went back or changed its source")

    def _on_query(self, message: String) -> None:
        alone = Parameter("queries", Parameter.Type.STRING_ARRAY, [""])
        result = self.set_parameters_atomically([Parameter("query", value=message.data), alone])
        if result.successful:
            self._watches.topic_query = message.data
            self.get_logger().info(f"New query: {escaped(message.data)}")
        else:
            self.get_logger().warning(
                f"Query refused: {result.reason}", throttle_duration_sec=_WARNING_PERIOD
            )

    def _enable(self, wanted: bool) -> str:
        if wanted != self._enabled:
            self._enabled = self._watches.enabled = wanted
            if self._input is not None:
                self._input.paused = not wanted
                self._input.restart()
            if self._worker is not None:
                self._worker.restart()
            self._watch_services.publish()
        return "enabled" if wanted else "disabled: images are ignored, the model stays loaded"

    def _reset(self) -> str:
        if self._input is not None:
            self._input.restart()
        self._on_restart("a reset was asked for")
        return "the stream starts anew with the next image"

    def _obstacle(self) -> str:
        """Why no goal can wait for an event now, and the remedy; empty if one can."""
        if self._configured is None:
            return "The node is not configured; configure and activate it first."
        return "" if self._worker is not None else "The node is inactive; activate it first."

    def _state(self) -> str:
        """What the node does, in the words of docs/diagnostics.md."""
        if self._input is not None:
            return "active" if self._enabled else "disabled"
        return "inactive" if self._worker is None else "waiting for the responder"

    def _fill_status(self, status: Status) -> None:
        model = self._configured.model if self._configured is not None else None
        source, worker = self._input, self._worker
        values = self.parameters.values()
        if source is not None and self._enabled:
            source.warn_if_silent(values["image_timeout"])
        status.add("state", self._state())
        status.add("model", model.name if model else "none")
        status.add("device", model.device if model else "none")
        status.add("threads", model.threads if model else "none")
        status.add("query", escaped("; ".join(entry.spec.query for entry in self._watches.entries())))
        self._status.report(status, source, values)
        status.add("before a key frame", self._notes.count("early"))
        status.add("left out", " ".join(self._notes.left_out()) or "none")
        status.add("dropped", self._dropped + (worker.dropped if worker else 0))
        if worker is not None:
            status.add("lag (s)", worker.lag)
            status.add("context (frames)", f"{worker.context_frames} of {values['max_frames']}")
            worker.memory.report(status)
        status.add("last error", self.last_error or "none")

    # Making things

    def _check_values(self, values: Mapping[str, Any]) -> None:
        check_values(values)
        if self._configured is not None:
            check_with_model(values, self._configured.model)

    def _make_worker(self, configured: _Configured) -> ActivationWorker:
        from stride_ros.activation.stamped_stream import StampedStream

        model, settings, ids = configured.model, self._watches.settings, self._span_ids
        keeping = {
            "look_back": self.parameters["look_back"],
            "memory_limit": memory_limit(self.parameters.values()),
        }
        return ActivationWorker(
            lambda: StampedStream(model, *settings(), ids.next, **keeping),
            settings,
            Sinks(configured.output, self._waits, self._status, _Log(self)),
            self._notes,
            on_failure=self._on_failure,
            on_readiness=self._on_readiness,
            log=self.get_logger().info,
        )

    def _on_readiness(self, readiness: Mapping[str, bool]) -> None:
        self._watches.became(readiness)
        self._watch_services.publish()

    def _on_failure(self, error: Exception) -> None:
        """Tell an error that no image explains; in the worker's thread."""
        self._status.failure = self.last_error = escaped(f"{type(error).__name__}: {error}")
        failure = f"A decision failed: {self.last_error}"
        self.get_logger().error(failure, throttle_duration_sec=_WARNING_PERIOD)


class _Log(DecisionSink[LiveFrame]):
    """Tells in the log what a replay notes; in the worker's thread."""

    def __init__(self, node: ActivationNode) -> None:
        self._node = node

    def rejected(self, stream: str, error: Exception) -> None:
        self._node.last_error = str(error)
        what = "Skipped an image" if isinstance(error, FrameError) else "Skipped a decision"
        self._node.get_logger().warning(f"{what}: {error}", throttle_duration_sec=_WARNING_PERIOD)

    def note(self, stream: str, sentence: str) -> None:
        self._node.get_logger().warning(sentence)


def main() -> int:
    """Run the node until it is stopped; returns the exit code."""
    return run(ActivationNode)


if __name__ == "__main__":
    raise SystemExit(main())
