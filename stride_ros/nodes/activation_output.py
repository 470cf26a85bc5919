"""What the activation node publishes: the sampled frames, spans, windows and the debug picture."""

from __future__ import annotations

import array
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from stride_ros.activation.identity import SpanIds, watch_ids
from stride_ros.imaging.images import rgb_to_image
from stride_ros.msg import ActivationSpan, ActivationWindow
from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import DEBUG_IMAGE_QOS, FRAMES_QOS, SPAN_QOS, WINDOW_QOS

if TYPE_CHECKING:
    import numpy as np
    from rclpy.node import Node

    from stride_ros.activation.stamped_stream import Decision, StampedEvent, StampedStream
    from stride_ros.activation.stream import ActivationUpdate


class ActivationOutput:
    """The publishers. Everything published carries the header of the newest frame."""

    def __init__(self, node: Node, span_ids: SpanIds, model: str) -> None:
        """`model`: name of the activation model, as published with every span."""
        self._node = node
        self._span_ids, self._model = span_ids, model
        self._watches: dict[str, str] = {}  # id of the watch by its query
        self._spans = node.create_publisher(ActivationSpan, "activation/span", SPAN_QOS)
        self._windows = node.create_publisher(ActivationWindow, "activation/window", WINDOW_QOS)
        self._frames = node.create_publisher(Image, "frames", FRAMES_QOS)
        self._pictures = node.create_publisher(Image, "activation/image", DEBUG_IMAGE_QOS)
        self._header = Header()
        self._arrival = 0.0

    @property
    def for_the_responder(self) -> list[Any]:
        """The publishers that a responder must hear to answer."""
        return [self._spans, self._frames]

    def destroy(self) -> None:
        for publisher in (self._spans, self._windows, self._frames, self._pictures):
            self._node.destroy_publisher(publisher)

    def frame(self, rgb: np.ndarray, header: Header, arrival: float, raw: bytes | None = None) -> None:
        """Publish a sampled frame if somebody listens; what follows refers to it.

        `rgb`: (H, W, 3) uint8; `arrival`: monotonic, s; `raw`: the same as a serialised Image, if it is one.
        """
        self._header, self._arrival = header, arrival
        if self._frames.get_subscription_count() > 0:
            self._frames.publish(rgb_to_image(rgb, header) if raw is None else raw)

    def watch(self, queries: Sequence[str]) -> None:
        """From now on decisions are about these queries; spans of others have ended."""
        self._watches = dict(zip(queries, watch_ids(queries), strict=True))

    def events(self, events: Iterable[StampedEvent]) -> None:
        """Publish changes of spans in order."""
        for stamped in events:
            event = stamped.event
            self._spans.publish(
                ActivationSpan(
                    header=self._header,
                    span_id=self._span_ids(event.span_id),
                    state=int(event.state),
                    query=event.query,
                    start=to_time(stamped.start_ns),
                    end=to_time(stamped.end_ns),
                    confidence=float(event.confidence),
                    latency=self._latency,
                    watch=self._watches.get(event.query, ""),
                    respond=True,
                    model=self._model,
                    onset=to_time(stamped.onset_ns),
                )
            )

    def decisions(self, rgb: np.ndarray, decisions: Sequence[Decision], stream: StampedStream) -> None:
        """Publish spans and windows, and the debug picture if somebody looks.

        `rgb`: the frame, (H, W, 3) uint8; `decisions`: one for each query, at least one.
        """
        for decision in decisions:
            self.events(decision.events)
            self._window(decision.update)
        if self._pictures.get_subscription_count() > 0:
            self._pictures.publish(self._picture(rgb, decisions, stream))

    def _window(self, update: ActivationUpdate) -> None:
        message = ActivationWindow(
            header=self._header,
            query=update.query,
            resolution=float(update.resolution),
            steps=min(update.steps, 255),
            inference_time=float(update.timings["total"]),
            watch=self._watches.get(update.query, ""),
        )
        message.labels = array.array("B", update.labels.tobytes())
        message.probabilities = array.array("f", update.probabilities.astype("float32").tobytes())
        self._windows.publish(message)

    def _picture(self, rgb: np.ndarray, decisions: Sequence[Decision], stream: StampedStream) -> Any:
        """The pictures of all queries, one below the other."""
        import numpy as np

        from stride_ros.nodes import debug_view

        pictures = []
        for update in (decision.update for decision in decisions):
            span = stream.open_span(update.query)
            pictures.append(debug_view.draw(rgb, update, update.query, span, self._latency))
        return rgb_to_image(np.concatenate(pictures), self._header)

    @property
    def _latency(self) -> float:
        return time.monotonic() - self._arrival
