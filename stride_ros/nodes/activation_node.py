"""The activation node: watches a camera and publishes when something the user asked for happens."""

from __future__ import annotations

import array
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from std_srvs.srv import SetBool, Trigger

from stride_ros.errors import FrameError, StrideError
from stride_ros.msg import ActivationSpan, ActivationWindow
from stride_ros.nodes.activation_parameters import TABLE, check_values, check_with_model, to_config
from stride_ros.nodes.diagnostics import Diagnostics, Rate, Status, gpu_memory, process_memory
from stride_ros.nodes.image_input import ImageInput, Sample
from stride_ros.nodes.images import rgb_to_image
from stride_ros.nodes.lifecycle import ManagedNode
from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import DEBUG_IMAGE_QOS, FRAMES_QOS, QUERY_QOS, SPAN_QOS, WINDOW_QOS
from stride_ros.nodes.runner import run
from stride_ros.nodes.worker import LatestWorker, call_in_thread

if TYPE_CHECKING:
    import numpy as np

    from stride_ros.activation.model import ActivationModel
    from stride_ros.activation.session import ActivationUpdate
    from stride_ros.nodes.stamped_session import StampedEvent, StampedSession

_JOIN_TIMEOUT = 10.0  # s; a pass over the window cannot be interrupted
_WARNING_PERIOD = 5.0  # s between repeated warnings about bad frames
_RECENT = 10.0  # s; how long diagnostics remember a skipped image or a restart
_STAMP_AGE_LIMITS = (-0.5, 5.0)  # s; beyond, clocks differ or images are late


class ActivationNode(ManagedNode):
    """`image` in; `frames`, `activation/span`, `activation/window`, `activation/image` and /diagnostics out.

    The image callback only stores the newest due frame. One worker thread owns the model's session: it alone
    pushes frames, restarts the stream and publishes.
    """

    def __init__(self, **node_options: Any) -> None:
        """`node_options` go to rclpy's Node: context, namespace, parameter_overrides, cli_args ..."""
        self._model: ActivationModel | None = None
        self._session: StampedSession | None = None
        self._input: ImageInput | None = None
        self._worker: LatestWorker[Sample] | None = None
        self._diagnostics: Diagnostics | None = None
        self._entities: list[tuple[Any, Any]] = []  # (what destroys it, the entity), made by activate
        self._jump: Any = None
        self._publishers_made: list[Any] = []
        self._next_span_id = 1  # unique for one run of the node, also across cleanup and configure
        self._enabled = True
        self._decisions = Rate()
        self._rejected = 0
        self._restarts = 0
        self._last_rejection = self._last_restart = float("-inf")
        self._last_failure = ""
        self._last_update: ActivationUpdate | None = None
        self._last_header = Header()
        self._last_arrival = 0.0
        self._dropped = 0
        super().__init__("activation", TABLE, self._check_values, **node_options)

    # Transitions

    def configure(self) -> None:
        from stride_ros.activation.model import ActivationModel

        values = self.parameters.values()
        self.get_logger().info(f"Loading {values['model']} ...")
        started = time.monotonic()
        self._model = call_in_thread(
            lambda: ActivationModel.load(values["model"], device=values["device"], dtype=values["dtype"]),
            keep_waiting=self.may_wait,
        )
        self._open_session()
        self._span_publisher = self._publisher(ActivationSpan, "activation/span", SPAN_QOS)
        self._window_publisher = self._publisher(ActivationWindow, "activation/window", WINDOW_QOS)
        self._frames_publisher = self._publisher(Image, "frames", FRAMES_QOS)
        self._debug_publisher = self._publisher(Image, "activation/image", DEBUG_IMAGE_QOS)
        self._diagnostics = Diagnostics(self, self._fill_status, hardware_id=str(self._model.device))
        self.get_logger().info(
            f"Loaded {self._model.name} on {self._model.device} in {time.monotonic() - started:.1f} s: "
            f"window of {self._model.window} slots of {self._model.resolution:g} s."
        )

    def activate(self) -> None:
        if self._session is None:  # lost with a worker that never returned
            self._open_session()
        self._last_failure = ""
        self._worker = LatestWorker("stride-activation", self._tick, self._on_failure)
        self._worker.start()
        self._input = ImageInput(
            self,
            transport=self.parameters["image_transport"],
            rate=lambda: self.parameters["rate"],
            on_sample=self._worker.submit,
            on_restart=self._on_restart,
        )
        self._input.paused = not self._enabled
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

    def deactivate(self) -> None:
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
                self._session = None

    def cleanup(self) -> None:
        if self._diagnostics is not None:
            self._diagnostics.destroy()
            self._diagnostics = None
        for publisher in self._publishers_made:
            self.destroy_publisher(publisher)
        self._publishers_made = []
        self._session = self._model = self._last_update = None
        free_gpu_memory()

    # The worker's thread

    def _tick(self, sample: Sample) -> None:
        session, source = self._session, self._input
        if session is None or source is None:
            return
        values = self.parameters.values()
        try:
            rgb, header, frame = source.decode(sample)
            if header.stamp.sec == 0 and header.stamp.nanosec == 0:
                header = Header(stamp=to_time(sample.stamp_ns), frame_id=header.frame_id)
                frame = rgb_to_image(rgb, header)
            self._publish_events(session.apply(values["query"], to_config(values)))
            if session.has_lost_sight(sample.stamp_ns):
                self.get_logger().warning("No images for longer than the window: starting anew.")
                self._publish_events(session.restart())
            self._last_header, self._last_arrival = header, sample.arrival
            self._frames_publisher.publish(frame)
            update, events = session.push(rgb, sample.stamp_ns)
        except StrideError as error:
            self._reject(error)
            return
        self._last_failure = ""
        if update is None:
            return
        self._decisions.tick()
        self._last_update = update
        self._publish_events(events)
        self._publish_window(update)
        if self._debug_publisher.get_subscription_count() > 0:
            self._publish_debug_image(rgb, update)

    def _publish_events(self, events: list[StampedEvent]) -> None:
        for stamped in events:
            event = stamped.event
            self._next_span_id = max(self._next_span_id, event.span_id + 1)
            self._span_publisher.publish(
                ActivationSpan(
                    header=self._last_header,
                    span_id=event.span_id,
                    state=int(event.state),
                    query=event.query,
                    start=to_time(stamped.start_ns),
                    end=to_time(stamped.end_ns),
                    confidence=float(event.confidence),
                    latency=time.monotonic() - self._last_arrival,
                )
            )

    def _publish_window(self, update: ActivationUpdate) -> None:
        message = ActivationWindow(
            header=self._last_header,
            query=self._session.query,
            resolution=float(update.resolution),
            steps=min(update.steps, 255),
            inference_time=float(update.timings["total"]),
        )
        message.labels = array.array("B", update.labels.tobytes())
        message.probabilities = array.array("f", update.probabilities.astype("float32").tobytes())
        self._window_publisher.publish(message)

    def _publish_debug_image(self, rgb: np.ndarray, update: ActivationUpdate) -> None:
        from stride_ros.nodes.debug_view import draw

        latency = time.monotonic() - self._last_arrival
        picture = draw(rgb, update, self._session.query, self._session.open_span, latency)
        self._debug_publisher.publish(rgb_to_image(picture, self._last_header))

    def _restart_stream(self) -> None:
        if self._session is not None:
            self._publish_events(self._session.restart())

    def _reject(self, error: StrideError) -> None:
        self._rejected += 1
        self._last_rejection = time.monotonic()
        self.last_error = str(error)
        what = "Skipped an image" if isinstance(error, FrameError) else "Skipped a decision"
        self.get_logger().warning(f"{what}: {error}", throttle_duration_sec=_WARNING_PERIOD)

    def _on_failure(self, error: Exception) -> None:
        """Go on with an empty stream after an error that no input explains, such as a full GPU."""
        self._last_failure = self.last_error = f"{type(error).__name__}: {error}"
        self.get_logger().error(
            f"A decision failed: {self.last_error}", throttle_duration_sec=_WARNING_PERIOD
        )
        session, model = self._session, self._model
        if session is None or model is None:
            return
        try:
            self._publish_events(session.restart())
        except Exception:  # the session itself is broken: a new one, whose ids go on
            self._open_session()
        free_gpu_memory()

    # The executor's thread

    def _on_restart(self, reason: str) -> None:
        """Start anew: the stream before is of no use for what comes."""
        self._restarts += 1
        self._last_restart = time.monotonic()
        self.get_logger().warning(f"Starting anew: {reason}.", throttle_duration_sec=1.0)
        if self._worker is not None:
            self._worker.post(self._restart_stream, discard=True)

    def _on_clock_jump(self, jump: Any) -> None:
        if self._input is not None and self._decisions.count:
            self._input.restart()
            self._on_restart("the clock went back or changed its source")

    def _on_query(self, message: String) -> None:
        result = self.set_parameters([Parameter("query", value=message.data)])[0]
        if result.successful:
            self.get_logger().info(f"New query: {message.data}")
        else:
            self.get_logger().warning(
                f"Query refused: {result.reason}", throttle_duration_sec=_WARNING_PERIOD
            )

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data != self._enabled:
            self._enabled = request.data
            self._input.paused = not request.data
            self._input.restart()
            self._worker.post(self._restart_stream, discard=True)
        response.success = True
        response.message = (
            "enabled" if request.data else "disabled: images are ignored, the model stays loaded"
        )
        return response

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._input.restart()
        self._on_restart("a reset was asked for")
        response.success = True
        response.message = "the stream starts anew with the next image"
        return response

    def _fill_status(self, status: Status) -> None:
        """Report the state; docs/diagnostics.md tells the rules."""
        model, session, source, worker = self._model, self._session, self._input, self._worker
        if self._last_failure:
            status.error(f"decisions fail: {self._last_failure}")
        if source is not None and self._enabled:
            limit = self.parameters["image_timeout"]
            source.warn_if_silent(limit)
            self._judge_input(status, source, limit)
        status.add("state", "inactive" if source is None else "active" if self._enabled else "disabled")
        status.add("model", model.name if model else "none")
        status.add("device", model.device if model else "none")
        status.add("query", self.parameters["query"])
        if source is not None:
            status.add("input (Hz)", source.received.hertz)
            status.add("sampled (Hz)", source.sampled.hertz)
            status.add("stamp age (s)", source.stamp_age)
            status.add("out of order", source.out_of_order)
        status.add("decisions (Hz)", self._decisions.hertz)
        status.add("decisions", self._decisions.count)
        status.add("dropped", self._dropped + (worker.dropped if worker else 0))
        status.add("rejected", self._rejected)
        status.add("restarts", self._restarts)
        self._judge_work(status)
        if session is not None:
            status.add("context (frames)", f"{session.context_frames} of {self.parameters['max_frames']}")
        status.add("process memory (MB)", process_memory() / 1e6)
        status.add("GPU memory (MB)", gpu_memory() / 1e6)
        status.add("last error", self.last_error or "none")

    def _judge_input(self, status: Status, source: ImageInput, limit: float) -> None:
        low, high = _STAMP_AGE_LIMITS
        if limit and source.silence > limit:
            status.warn(f"no images on {source.topic} for {source.silence:.0f} s")
        elif limit and source.standstill > limit + 1.0 / self.parameters["rate"]:
            status.warn(f"the stamps of {source.topic} stand still; check the camera driver or /clock")
        elif source.received.count and not low <= source.stamp_age <= high:
            status.warn(
                f"stamps are {source.stamp_age:.1f} s old; check the clocks, or use_sim_time with a bag"
            )
        if time.monotonic() - self._last_rejection < _RECENT:
            status.warn(f"images are skipped: {self.last_error}")
        if time.monotonic() - self._last_restart < _RECENT:
            status.warn("the stream started anew")

    def _judge_work(self, status: Status) -> None:
        update = self._last_update
        if update is None:
            return
        tick, period = update.timings["total"], 1.0 / self.parameters["rate"]
        status.add("tick (ms)", 1e3 * tick)
        status.add("passes", update.steps)
        if tick > period:
            status.warn(f"a decision takes {tick:.1f} s, so only some of the due frames are used")

    # Making things

    def _check_values(self, values: Mapping[str, Any]) -> None:
        check_values(values)
        if self._model is not None:
            check_with_model(values, self._model)

    def _open_session(self) -> None:
        from stride_ros.nodes.stamped_session import StampedSession

        values = self.parameters.values()
        self._session = StampedSession(self._model, values["query"], to_config(values), self._next_span_id)

    def _publisher(self, message_type: Any, topic: str, qos: Any) -> Any:
        publisher = self.create_publisher(message_type, topic, qos)
        self._publishers_made.append(publisher)
        return publisher


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
