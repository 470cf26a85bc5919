"""The activation node: watches a camera and publishes when something the user asked for happens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from std_msgs.msg import Header, String
from std_srvs.srv import SetBool, Trigger

from stride_ros.activation.identity import SpanIds
from stride_ros.errors import FrameError, StrideError
from stride_ros.nodes.activation_output import ActivationOutput
from stride_ros.nodes.activation_status import ActivationStatus
from stride_ros.nodes.diagnostics import Diagnostics, Status
from stride_ros.nodes.image_input import ImageInput, Sample
from stride_ros.nodes.lifecycle import ManagedNode
from stride_ros.nodes.messages import to_nanoseconds, to_time
from stride_ros.nodes.qos import QUERY_QOS
from stride_ros.nodes.responder_wait import ResponderWait
from stride_ros.nodes.runner import run
from stride_ros.nodes.stream_memory import StreamMemory
from stride_ros.nodes.worker import LatestWorker, call_in_thread
from stride_ros.parameters.activation import (
    TABLE,
    check_values,
    check_with_model,
    to_config,
    watched_queries,
)
from stride_ros.parameters.table import with_default
from stride_ros.text.wording import counted, escaped

if TYPE_CHECKING:
    from stride_ros.activation.model import ActivationModel
    from stride_ros.activation.stamped_stream import StampedEvent, StampedStream

_JOIN_TIMEOUT = 10.0  # s; a pass over the window cannot be interrupted
_WARNING_PERIOD = 5.0  # s between repeated warnings about bad frames


class ActivationNode(ManagedNode):
    """`image` in; `frames`, `activation/span`, `activation/window`, `activation/image` and /diagnostics out.

    The image callback only stores the newest due frame. One worker thread owns the model's stream: it alone
    pushes frames, restarts the stream and publishes.
    """

    def __init__(self, *, wait_for_responder: float = 0.0, **node_options: Any) -> None:
        """`wait_for_responder`: default of that parameter, for who starts a responder beside this node.

        `node_options` go to rclpy's Node: context, namespace, parameter_overrides, cli_args ...
        """
        self._model: ActivationModel | None = None
        self._stream: StampedStream | None = None
        self._output: ActivationOutput | None = None
        self._input: ImageInput | None = None
        self._wait: ResponderWait | None = None  # before there is an input
        self._worker: LatestWorker[Sample] | None = None
        self._diagnostics: Diagnostics | None = None
        self._entities: list[tuple[Any, Any]] = []  # (what destroys it, the entity), made by activate
        self._jump: Any = None
        self._span_ids = SpanIds()
        self._next_span = 1  # counts for one life of the node, also across cleanup and configure
        self._enabled = True
        self._status = ActivationStatus()
        self._memory = StreamMemory(lambda text: self.get_logger().info(text))
        self._dropped = 0  # by workers of earlier activations
        table = with_default(TABLE, "wait_for_responder", wait_for_responder)
        super().__init__("activation", table, self._check_values, **node_options)

    # Transitions

    def configure(self) -> None:
        from stride_ros.activation.model import ActivationModel

        values = self.parameters.values()
        self.get_logger().info(f"Loading {escaped(values['model'])} ...")
        started = time.monotonic()
        self._model = call_in_thread(
            lambda: ActivationModel.load(
                values["model"], values["device"], values["dtype"], threads=values["threads"]
            ),
            keep_waiting=self.may_wait,
        )
        self._open_stream()
        self._output = ActivationOutput(self, self._span_ids, self._model.short_name)
        self._diagnostics = Diagnostics(self, self._fill_status, hardware_id=str(self._model.device))
        self.get_logger().info(
            f"Loaded {self._model.name} on {self._model.device} in {time.monotonic() - started:.1f} s: "
            f"window of {counted(self._model.window, 'slot')} of {self._model.resolution:g} s."
        )

    def activate(self) -> None:
        self._status.failure = ""
        self._worker = LatestWorker("stride-activation", self._tick, self._on_failure)
        self._worker.start()
        query = self.create_subscription(String, "query", self._on_query, QUERY_QOS)
        enable = self.create_service(SetBool, "~/enable", self._on_enable)
        reset = self.create_service(Trigger, "~/reset", self._on_reset)
        # Bags that loop with /clock: time goes back. The handle must be kept, or the callback is lost.
        self._jump = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=self._on_clock_jump,
        )
        self._entities = [
            (self.destroy_subscription, query),
            (self.destroy_service, enable),
            (self.destroy_service, reset),
        ]
        # Nothing is subscribed to meanwhile, so that a camera that waits for a subscriber waits as well.
        if limit := self.parameters["wait_for_responder"]:
            self._wait = ResponderWait(self, self._output.for_the_responder, limit, self._end_wait)
        else:
            self._open_input()

    def _end_wait(self) -> None:
        if not self._attempt("activate", self._open_input):
            self.trigger_deactivate()

    def _open_input(self) -> None:
        """Begin to watch."""
        self._input = ImageInput(
            self,
            transport=self.parameters["image_transport"],
            rate=lambda: self.parameters["rate"],
            on_sample=self._worker.submit,
            on_restart=self._on_restart,
        )
        self._input.paused = not self._enabled

    def deactivate(self) -> None:
        if self._wait is not None:
            self._wait.destroy()
            self._wait = None
        if self._input is not None:
            self._input.destroy()
            self._input = None
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities = []
        if self._jump is not None:
            self._jump.unregister()
            self._jump = None
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.post(self._restart_stream, discard=True)
            self._dropped += worker.dropped
            if not worker.stop(_JOIN_TIMEOUT):
                self.get_logger().error(
                    f"The model has not returned for {_JOIN_TIMEOUT:.0f} s; leaving it behind."
                )
                self._stream = None

    def cleanup(self) -> None:
        if self._diagnostics is not None:
            self._diagnostics.destroy()
            self._diagnostics = None
        if self._output is not None:
            self._output.destroy()
            self._output = None
        self._stream = self._model = self._status.update = None
        self._memory.forget()
        free_gpu_memory()

    # The worker's thread

    def _tick(self, sample: Sample) -> None:
        source, output = self._input, self._output
        if source is None or output is None:
            return
        stream = self._stream or self._open_stream()
        values = self.parameters.values()
        try:
            rgb, header, raw = source.decode(sample)
            if to_nanoseconds(header.stamp) <= 0:
                header = Header(stamp=to_time(sample.stamp_ns), frame_id=header.frame_id)
                raw = None
            queries = watched_queries(values)
            self._publish(stream.apply(queries, to_config(values)))
            output.watch(queries)
            if stream.has_lost_sight(sample.stamp_ns):
                self.get_logger().warning("No images for longer than the window: starting anew.")
                self._publish(stream.restart())
            # Before the decision: the responder must have the frame when the span arrives.
            output.frame(rgb, header, sample.arrival, raw)
            decisions = stream.push(rgb, sample.stamp_ns)
        except StrideError as error:
            self._reject(error)
            return
        self._status.failure = ""
        self._memory.measure(stream, *rgb.shape[:2])
        if decisions:
            self._status.decided(decisions)
            for decision in decisions:
                self._count(decision.events)
            output.decisions(rgb, decisions, stream)

    def _publish(self, events: list[StampedEvent]) -> None:
        self._count(events)
        self._output.events(events)

    def _count(self, events: list[StampedEvent]) -> None:
        for stamped in events:
            self._next_span = max(self._next_span, stamped.event.span_id + 1)

    def _restart_stream(self) -> None:
        if self._stream is not None:
            self._publish(self._stream.restart())
            self._memory.refresh(self._stream)

    def _reject(self, error: StrideError) -> None:
        self.last_error = str(error)
        self._status.reject(self.last_error)
        what = "Skipped an image" if isinstance(error, FrameError) else "Skipped a decision"
        self.get_logger().warning(f"{what}: {error}", throttle_duration_sec=_WARNING_PERIOD)

    def _on_failure(self, error: Exception) -> None:
        """Go on with a new stream after an error that no input explains, such as a full GPU."""
        self._status.failure = self.last_error = escaped(f"{type(error).__name__}: {error}")
        failure = f"A decision failed: {self.last_error}"
        self.get_logger().error(failure, throttle_duration_sec=_WARNING_PERIOD)
        stream, self._stream = self._stream, None
        self._memory.forget()
        if stream is not None and self._output is not None:
            self._publish(stream.abandon())
        free_gpu_memory()

    # The executor's thread

    def _on_restart(self, reason: str) -> None:
        """Start anew: the stream before is of no use for what comes."""
        self._status.restart()
        self.get_logger().warning(f"Starting anew: {reason}.", throttle_duration_sec=1.0)
        if self._worker is not None:
            self._worker.post(self._restart_stream, discard=True)

    def _on_clock_jump(self, jump: Any) -> None:
        if self._input is not None and self._status.decisions.count:
            self._input.restart()
            self._on_restart("the clock went back or changed its source")

    def _on_query(self, message: String) -> None:
        alone = Parameter("queries", Parameter.Type.STRING_ARRAY, [""])
        result = self.set_parameters_atomically([Parameter("query", value=message.data), alone])
        if result.successful:
            self.get_logger().info(f"New query: {escaped(message.data)}")
        else:
            self.get_logger().warning(
                f"Query refused: {result.reason}", throttle_duration_sec=_WARNING_PERIOD
            )

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data != self._enabled:
            self._enabled = request.data
            if self._input is not None:
                self._input.paused = not request.data
                self._input.restart()
            self._worker.post(self._restart_stream, discard=True)
        response.success = True
        response.message = (
            "enabled" if request.data else "disabled: images are ignored, the model stays loaded"
        )
        return response

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._input is not None:
            self._input.restart()
        self._on_restart("a reset was asked for")
        response.success = True
        response.message = "the stream starts anew with the next image"
        return response

    def _state(self) -> str:
        """What the node does, in the words of docs/diagnostics.md."""
        if self._input is not None:
            return "active" if self._enabled else "disabled"
        return "inactive" if self._worker is None else "waiting for the responder"

    def _fill_status(self, status: Status) -> None:
        model, stream, source, worker = self._model, self._stream, self._input, self._worker
        values = self.parameters.values()
        if source is not None and self._enabled:
            source.warn_if_silent(values["image_timeout"])
        status.add("state", self._state())
        status.add("model", model.name if model else "none")
        status.add("device", model.device if model else "none")
        status.add("threads", model.threads if model else "none")
        status.add("query", escaped("; ".join(watched_queries(values))))
        self._status.report(status, source, values)
        status.add("dropped", self._dropped + (worker.dropped if worker else 0))
        if stream is not None:
            status.add("context (frames)", f"{stream.context_frames} of {values['max_frames']}")
        self._memory.report(status)
        status.add("last error", self.last_error or "none")

    # Making things

    def _check_values(self, values: Mapping[str, Any]) -> None:
        check_values(values)
        if self._model is not None:
            check_with_model(values, self._model)

    def _open_stream(self) -> StampedStream:
        from stride_ros.activation.stamped_stream import StampedStream

        values = self.parameters.values()
        queries, config = watched_queries(values), to_config(values)
        self._stream = StampedStream(self._model, queries, config, self._next_span)
        return self._stream


def free_gpu_memory() -> None:
    """Hand what torch has cached back to the GPU; does nothing where torch or a GPU is missing."""
    import gc
    import sys

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def main() -> int:
    """Run the node until it is stopped; returns the exit code."""
    return run(ActivationNode)


if __name__ == "__main__":
    raise SystemExit(main())
