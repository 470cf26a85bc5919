"""Listen to what the nodes publish, print the commentary as it arrives, and keep a record of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image

from stride_ros.activation.identity import span_number
from stride_ros.imaging.images import image_to_rgb
from stride_ros.msg import ActivationSpan, ActivationWindow, Commentary
from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.nodes.qos import COMMENTARY_QOS, FRAMES_QOS, SPAN_QOS, WINDOWS_KEPT_QOS
from stride_ros.runs.record import OFFSET, STATUSES, Expected, QueryRun, Run, Said
from stride_ros.runs.recorder import RunRecorder
from stride_ros.terminal import one_line
from stride_ros.text import topics
from stride_ros.text.wording import time_label

TOLD = 16  # column at which the text begins, after the time and the kind


class Listener(Node):  # type: ignore[misc]  # untyped library
    """Subscribes to everything the graph publishes about these queries; `tell(text, *styles)` prints a line.

    `expected`: for each query its ground truth, if known.
    """

    def __init__(
        self, expected: Mapping[str, Sequence[Expected]], tell: Callable[..., None], **node_options: Any
    ) -> None:
        super().__init__("demo_listener", **node_options)
        self._tell = tell
        self._queries = [QueryRun(query, expected=list(events)) for query, events in expected.items()]
        self._recorder = RunRecorder(self._queries)
        self._early: dict[int, Commentary] = {}  # finals that arrived before their ONSET, by span id
        self._newest_decisions = dict.fromkeys(expected, 0)
        self._last_heard = time.monotonic()
        self.create_subscription(Image, topics.FRAMES, self._on_frame, FRAMES_QOS)
        self.create_subscription(ActivationWindow, topics.WINDOW, self._on_window, WINDOWS_KEPT_QOS)
        self.create_subscription(ActivationSpan, topics.SPAN, self._on_span, SPAN_QOS)
        self.create_subscription(Commentary, topics.COMMENTARY, self._on_commentary, COMMENTARY_QOS)

    @property
    def begun(self) -> bool:
        """Whether the activation node has taken a frame."""
        return self._recorder.newest is not None

    @property
    def decisions(self) -> int:
        """Number of frames that were decided on for every query."""
        return min(len(query.decision_seconds) for query in self._queries)

    def duration(self) -> float:
        """Time of the newest frame (s) since the first one."""
        return self._recorder.duration()

    def silence(self) -> float:
        """Seconds since the last frame or decision."""
        return time.monotonic() - self._last_heard

    def caught_up(self) -> bool:
        """Whether the newest frame has been decided on for every query."""
        newest = self._recorder.newest
        return newest is not None and min(self._newest_decisions.values()) >= newest

    def answered(self) -> bool:
        """Whether every onset has its final commentary, or there is no responder."""
        answers = self.count_publishers(topics.COMMENTARY) > 0
        return not answers or all(span.said is not None for query in self._queries for span in query.spans)

    def result(self, name: str, seconds: float = 0.0) -> Run:
        """The record so far; `seconds`: the length of what was played, where that is known."""
        return self._recorder.run(name, seconds)

    def _on_frame(self, message: Image) -> None:
        self._last_heard = time.monotonic()
        self._recorder.frame(to_nanoseconds(message.header.stamp), image_to_rgb(message))

    def _on_window(self, message: ActivationWindow) -> None:
        if message.query not in self._newest_decisions:
            return
        self._last_heard = time.monotonic()
        stamp = to_nanoseconds(message.header.stamp)
        self._newest_decisions[message.query] = max(self._newest_decisions[message.query], stamp)
        self._recorder.decision(
            message.query,
            stamp,
            np.frombuffer(message.labels, np.uint8),
            np.asarray(message.probabilities),
            message.resolution,
            message.inference_time,
        )

    def _on_span(self, message: ActivationSpan) -> None:
        if message.query not in self._newest_decisions:
            return
        stamp = to_nanoseconds(message.header.stamp)
        span = self._recorder.span(
            message.query,
            span_number(message.span_id),
            message.state,
            stamp,
            to_nanoseconds(message.start),
            to_nanoseconds(message.end),
            message.confidence,
            message.latency,
        )
        if span is None:
            return
        now = f"{time_label(self._recorder.seconds(stamp)):>7}"
        if message.state == ActivationSpan.ONSET:
            since = f"since {time_label(span.start)}, confidence {span.confidence:.2f}"
            which = f": {one_line(message.query)}" if len(self._queries) > 1 else ""
            self._tell(f"{now}  onset  span {span.id} {since}{which}", "yellow")
            if message.span_id in self._early:
                self._on_commentary(self._early.pop(message.span_id))
        elif span.state == OFFSET:
            self._tell(
                f"{now}  over   span {span.id}: {time_label(span.start)} to {time_label(span.end)}", "dim"
            )
        elif message.state == ActivationSpan.RETRACTED:
            self._tell(f"{now}  false  span {span.id} was a false alarm", "dim")

    def _on_commentary(self, message: Commentary) -> None:
        if not message.final or message.query not in self._newest_decisions:
            return
        said = Said(message.text, message.model, STATUSES[message.status], message.error, message.latency)
        span = self._recorder.answer(message.query, span_number(message.span_id), said)
        if span is None:  # order across topics is not guaranteed
            self._early[message.span_id] = message
            return
        at = f"{time_label(span.onset):>7}"
        if said.status == "ok" and said.text.strip():
            self._tell(f"{at}  says   {one_line(said.text)}  ({message.latency:.2f} s)", "bold", "green")
        else:
            self._tell(f"{at}  silent {one_line(said.error) or 'The model said nothing.'}", "red")
