"""Hears what the nodes publish, prints the commentary as it comes, and keeps a record of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image

from stride_ros.msg import ActivationSpan, ActivationWindow, Commentary
from stride_ros.nodes.images import image_to_rgb
from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.nodes.qos import COMMENTARY_QOS, FRAMES_QOS, SPAN_QOS, WINDOW_QOS
from stride_ros.replay.record import (
    OFFSET,
    RETRACTED,
    STATUSES,
    Expected,
    QueryRun,
    Run,
    Said,
    Span,
    thumbnail,
)
from stride_ros.replay.timeline import time_label

_STRIP = 12  # pictures along the timeline


class Listener(Node):
    """Subscribes to everything the graph says; ``tell(text, *styles)`` prints a line."""

    def __init__(
        self, query: str, expected: Sequence[Expected], tell: Callable[..., None], **node_options: Any
    ) -> None:
        super().__init__("demo_listener", **node_options)
        self._tell = tell
        self._query = QueryRun(query, expected=list(expected))
        self._run = Run("", 0.0, [self._query])
        self._origin: int | None = None
        self._frames: dict[int, bytes] = {}  # JPEGs by stamp
        self._onset_stamps: dict[int, int] = {}
        self._newest_frame = self._newest_decision = 0
        self._last_heard = time.monotonic()
        self.create_subscription(Image, "frames", self._on_frame, FRAMES_QOS)
        self.create_subscription(ActivationWindow, "activation/window", self._on_window, WINDOW_QOS)
        self.create_subscription(ActivationSpan, "activation/span", self._on_span, SPAN_QOS)
        self.create_subscription(Commentary, "commentary", self._on_commentary, COMMENTARY_QOS)

    @property
    def seen(self) -> int:
        """Number of frames the activation node has taken."""
        return len(self._frames)

    def seen_seconds(self) -> float:
        """Time of the newest frame in s from the first one."""
        return self._seconds(self._newest_frame) if self._frames else 0.0

    def silence(self) -> float:
        """Seconds since the last frame or decision."""
        return time.monotonic() - self._last_heard

    def caught_up(self) -> bool:
        """Whether the newest frame has been decided on."""
        return self._newest_decision >= self._newest_frame

    def answered(self) -> bool:
        """Whether every onset has its final commentary."""
        return all(span.said is not None for span in self._query.spans) or not self._answers_expected()

    @property
    def run(self) -> Run:
        """The record so far."""
        self._run.seconds = self.seen_seconds() + 1.0 if self._frames else 0.0
        stamps = sorted(self._frames)
        chosen = np.unique(np.linspace(0, len(stamps) - 1, _STRIP).round().astype(int)) if stamps else []
        for span in self._query.spans:
            span.thumbnail = self._frames.get(self._onset_stamps[span.id], b"")
        self._run.strip = [(self._seconds(stamps[i]), self._frames[stamps[i]]) for i in chosen]
        return self._run

    def _answers_expected(self) -> bool:
        return self.count_publishers("commentary") > 0

    def _seconds(self, stamp: int) -> float:
        return (stamp - (self._origin or stamp)) / 1e9

    def _on_frame(self, message: Image) -> None:
        self._last_heard = time.monotonic()
        stamp = to_nanoseconds(message.header.stamp)
        if self._origin is None:
            self._origin = stamp
        self._newest_frame = max(self._newest_frame, stamp)
        self._frames[stamp] = thumbnail(image_to_rgb(message))

    def _on_window(self, message: ActivationWindow) -> None:
        self._last_heard = time.monotonic()
        stamp = to_nanoseconds(message.header.stamp)
        if self._origin is None:  # the window came before its frame
            self._origin = stamp
        self._newest_decision = max(self._newest_decision, stamp)
        self._query.decided(
            self._seconds(stamp),
            np.frombuffer(message.labels, np.uint8),
            np.asarray(message.probabilities),
            message.resolution,
            message.inference_time,
        )

    def _on_span(self, message: ActivationSpan) -> None:
        now = self._seconds(to_nanoseconds(message.header.stamp))
        start = self._seconds(to_nanoseconds(message.start))
        end = self._seconds(to_nanoseconds(message.end))
        if message.state == ActivationSpan.ONSET:
            span = Span(message.span_id, start, end, now, message.confidence, latency=message.latency)
            self._onset_stamps[span.id] = to_nanoseconds(message.header.stamp)
            self._query.spans.append(span)
            line = f"onset  span {span.id} since {time_label(start)}, confidence {span.confidence:.2f}"
            self._tell(f"{time_label(now):>7}  {line}", "yellow")
            return
        known = self._span(message.span_id)
        if known is None:
            return
        known.start, known.end, known.confidence = start, end, message.confidence
        if message.state == ActivationSpan.OFFSET:
            known.state = OFFSET
            line = f"over   span {known.id}: {time_label(start)} to {time_label(end)}"
            self._tell(f"{time_label(now):>7}  {line}", "dim")
        elif message.state == ActivationSpan.RETRACTED:
            known.state = RETRACTED
            self._tell(f"{time_label(now):>7}  false  span {known.id} was a false alarm", "dim")

    def _on_commentary(self, message: Commentary) -> None:
        span = self._span(message.span_id)
        if span is None or not message.final:
            return
        span.said = Said(
            message.text, message.model, STATUSES[message.status], message.error, message.latency
        )
        at = time_label(span.onset)
        if span.said.status == "ok":
            self._tell(f"{at:>7}  says   {message.text.strip()}  ({message.latency:.2f} s)", "bold", "green")
        else:
            self._tell(f"{at:>7}  silent {message.error}", "red")

    def _span(self, span_id: int) -> Span | None:
        return next((span for span in self._query.spans if span.id == span_id), None)
