"""What the activation node publishes: the sampled frames, spans, windows and the debug picture."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import Image

from stride_ros.activation.frame_path import DecisionSink
from stride_ros.activation.spans import ENDS
from stride_ros.imaging.images import rgb_to_image
from stride_ros.msg import ActivationSpan, ActivationWindow
from stride_ros.nodes.image_input import LiveFrame
from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import DEBUG_IMAGE_QOS, FRAMES_QOS, SPAN_QOS, WINDOWS_KEPT_QOS
from stride_ros.text import topics

if TYPE_CHECKING:
    from rclpy.node import Node

    from stride_ros.activation.identity import SpanIds
    from stride_ros.activation.stamped_stream import Decision, StampedEvent


class ActivationOutput(DecisionSink[LiveFrame]):
    """The publishers. Every message carries the header of the frame that it is about."""

    def __init__(
        self,
        node: Node,
        span_ids: SpanIds,
        model: str,
        cameras: Sequence[str],
        on_change: Callable[[], object] = lambda: None,
        on_span: Callable[[ActivationSpan], object] = lambda span: None,
    ) -> None:
        """`model`: name of the activation model, published with every span.

        In the worker's thread, `on_span(message)` is called with each published span, and `on_change()` when
        spans have changed.
        """
        self._on_change, self._on_span = on_change, on_span
        self._lock = threading.Lock()
        self._open: dict[int, ActivationSpan] = {}  # the newest message of each open span, by its id
        self._probabilities: dict[str, dict[str, float]] = {}  # newest P(active) by watch and camera
        self._node = node
        self._span_ids, self._model = span_ids, model
        self._spans = node.create_publisher(ActivationSpan, topics.SPAN, SPAN_QOS)
        self._windows = node.create_publisher(ActivationWindow, topics.WINDOW, WINDOWS_KEPT_QOS)
        self._frames, self._pictures = (
            {name: node.create_publisher(Image, topics.of_camera(name, topic), qos) for name in cameras}
            for topic, qos in ((topics.FRAMES, FRAMES_QOS), (topics.PICTURE, DEBUG_IMAGE_QOS))
        )

    @property
    def for_the_responder(self) -> list[Any]:
        """The publishers that a responder must be matched with to answer."""
        return [self._spans, *self._frames.values()]

    def open_spans(self, watch: str) -> list[ActivationSpan]:
        """The open spans of a watch, each in its newest state."""
        with self._lock:
            return [span for span in self._open.values() if span.watch == watch]

    def probability(self, watch: str, cameras: Container[str]) -> float:
        """P(active) of the newest slot of a watch, the largest over these cameras; 0 before the first."""
        with self._lock:
            newest = self._probabilities.get(watch, {})
            return max((p for camera, p in newest.items() if camera in cameras), default=0.0)

    def forget_but(self, watches: Container[str]) -> None:
        """Forget the results of removed watches, whose spans have already ended."""
        with self._lock:
            self._probabilities = {id: p for id, p in self._probabilities.items() if id in watches}

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in (
            self._spans,
            self._windows,
            *self._frames.values(),
            *self._pictures.values(),
        ):
            self._node.destroy_publisher(publisher)

    def frame(self, stream: str, frame: LiveFrame) -> None:
        """Publish a sampled frame if there are subscribers."""
        publisher = self._frames[stream]
        if publisher.get_subscription_count() > 0:
            publisher.publish(rgb_to_image(frame.image, frame.header) if frame.raw is None else frame.raw)

    def decision(self, stream: str, frame: LiveFrame, decision: Decision) -> None:
        """Publish the changes of spans, then the window."""
        update = decision.update
        with self._lock:
            self._probabilities.setdefault(decision.watch, {})[stream] = update.newest_probability
        self.events(stream, frame, decision.events)
        message = ActivationWindow(
            header=frame.header,
            query=update.query,
            resolution=float(update.resolution),
            steps=min(update.steps, 255),
            inference_time=float(update.timings["total"]),
            watch=decision.watch,
            camera=stream,
        )
        message.labels = array.array("B", update.labels.tobytes())
        message.probabilities = array.array("f", update.probabilities.astype("float32").tobytes())
        self._windows.publish(message)

    def decided(self, stream: str, frame: LiveFrame, decisions: Sequence[Decision]) -> None:
        """Publish the debug picture if there are subscribers: one picture per query, one below the other."""
        publisher = self._pictures[stream]
        if not decisions or publisher.get_subscription_count() == 0:
            return
        import numpy as np

        from stride_ros.nodes import debug_view

        pictures = [
            debug_view.draw(frame.image, decided.update, decided.update.query, decided.span, _latency(frame))
            for decided in decisions
        ]
        publisher.publish(rgb_to_image(np.concatenate(pictures), frame.header))

    def events(self, stream: str, frame: LiveFrame, events: Sequence[StampedEvent]) -> None:
        """Publish changes of spans in order."""
        for stamped in events:
            event = stamped.event
            message = ActivationSpan(
                header=frame.header,
                span_id=self._span_ids(event.span_id),
                state=int(event.state),
                query=event.query,
                start=to_time(stamped.start_ns),
                end=to_time(stamped.end_ns),
                confidence=float(event.confidence),
                latency=_latency(frame),
                watch=stamped.watch,
                camera=stream,
                respond=stamped.respond,
                model=self._model,
                onset=to_time(stamped.onset_ns),
            )
            self._spans.publish(message)
            with self._lock:
                if event.state in ENDS:
                    self._open.pop(message.span_id, None)
                else:
                    self._open[message.span_id] = message
            self._on_span(message)
        if events:
            self._on_change()


def _latency(frame: LiveFrame) -> float:
    """Seconds since a frame's arrival."""
    return time.monotonic() - frame.arrival
