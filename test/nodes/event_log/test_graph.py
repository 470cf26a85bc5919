"""Beside the other nodes, in one process: the log has what they published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
from sensor_msgs.msg import Image
from stride_ros.msg import ActivationSpan, ActivationWindow, Commentary

from stride_ros.events.record import OFFSET, OPEN, RETRACTED
from stride_ros.imaging.images import rgb_to_image
from stride_ros.nodes.messages import to_nanoseconds, to_time
from stride_ros.nodes.qos import (
    CAMERA_QOS,
    COMMENTARY_QOS,
    SPANS_HEARD_QOS,
    WINDOWS_KEPT_QOS,
)

CHECKPOINT = Path(__file__).parents[2] / "golden" / "checkpoint_single"
BASE = 1_790_000_000 * 10**9  # ns


def test_the_log_has_the_events_of_a_running_graph(graph: Any, processes: Any, log: Any) -> None:
    from std_msgs.msg import Header

    spans = graph.collect(ActivationSpan, "activation/span", SPANS_HEARD_QOS)
    windows = graph.collect(ActivationWindow, "activation/window", WINDOWS_KEPT_QOS)
    commentary = graph.collect(Commentary, "commentary", COMMENTARY_QOS)
    values = {
        "file": str(log.path),
        "model": str(CHECKPOINT),
        "device": "cpu",
        "unmasking_steps": 2,
        "trigger.min_confidence": 0.0,
        "query": "Tell me when it happens.",
        "max_new_tokens": 4,
    }
    arguments = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    process = processes.start(
        "compose", "--nodes", "activation,responder,event_log", "--ros-args", *arguments
    )
    camera = graph.publisher(Image, "image", CAMERA_QOS)
    # The test's own publishers are one of two.
    graph.wait(
        lambda: log.spans.get_subscription_count() >= 2 and log.said.get_subscription_count() >= 1, "all"
    )
    chance = np.random.default_rng(0)
    for second in range(12):
        header = Header(stamp=to_time(BASE + second * 10**9), frame_id="camera")
        image = rgb_to_image(chance.integers(0, 255, (48, 64, 3), np.uint8), header)
        graph.send(camera, image, lambda n=second: len(windows) > n, "a decision")
    onsets = {span.span_id: span for span in spans if span.state == ActivationSpan.ONSET}
    assert onsets
    graph.wait(lambda: {c.span_id for c in commentary if c.final} == set(onsets), "an answer to each ONSET")
    # Each subscriber hears them in its own time; what the log has heard is written within a second.
    graph.wait(lambda: {e.span_id for e in log.kept() if e.status} == set(onsets), "the answers in the log")
    process.terminate()
    assert process.wait() == 0, process.log.read_text()
    newest = {span.span_id: span for span in spans}
    finals = {said.span_id: said for said in commentary if said.final}
    events = {event.span_id: event for event in log.kept()}
    assert events.keys() == newest.keys()
    for number, event in events.items():
        span, said = newest[number], finals[number]
        states = {ActivationSpan.OFFSET: OFFSET, ActivationSpan.RETRACTED: RETRACTED}
        assert event.state == states.get(span.state, OPEN)
        assert (event.query, event.watch, event.model) == (span.query, span.watch, span.model)
        assert (event.start_ns, event.latest_ns) == (to_nanoseconds(span.start), to_nanoseconds(span.end))
        assert event.onset_ns == to_nanoseconds(onsets[number].header.stamp)
        assert event.confidence == pytest.approx(span.confidence)
        assert (event.sentence, event.speaker) == (said.text, said.model)
        assert event.shown_ns == tuple(map(to_nanoseconds, said.frame_stamps))
        assert event.has_picture
