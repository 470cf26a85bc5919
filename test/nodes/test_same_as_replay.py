"""The same recording through the node over DDS and through a replay: the same decisions, events and notes.

The recorded bytes are published one by one, each when the node has done with the one before, and /clock shows
the log times of the recording, as `ros2 bag play --clock` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")
from rcl_interfaces.msg import Log
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from stride_ros.msg import ActivationSpan, ActivationWindow

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.identity import span_number
from stride_ros.bags import messages
from stride_ros.bags.reader import BagReader
from stride_ros.bags.writer import BagWriter
from stride_ros.nodes.activation_node import ActivationNode
from stride_ros.nodes.messages import to_nanoseconds, to_time
from stride_ros.nodes.qos import FRAMES_QOS
from stride_ros.replay import replay

CHECKPOINT = str(Path(__file__).parents[1] / "golden" / "checkpoint_single")
QUERIES = ["Tell me when it happens.", "Say when it happens."]
SECOND = 10**9
START = 1_700_000_000 * SECOND  # ns, log time of the first image
CONFIG = ActivationConfig(unmasking_steps=4, trigger=TriggerConfig(min_confidence=0.0))
PARAMETERS = {
    "model": CHECKPOINT,
    "device": "cpu",
    "queries": QUERIES,
    "unmasking_steps": 4,
    "trigger.min_confidence": 0.0,
    "use_sim_time": True,
}
DEEP = QoSProfile(depth=200, reliability=QoSReliabilityPolicy.RELIABLE)


@dataclass
class Shot:
    """An image of a recording: when it was logged and its stamp (s from the start), and what is wrong."""

    logged: float
    stamp: float
    grey: int
    wrong: str = ""


def steady(count: int, rate: float = 2.0) -> list[Shot]:
    """With the golden checkpoint the grey levels make spans begin, move and end."""
    return [Shot(i / rate, i / rate, (37 * int(i / rate)) % 256) for i in range(count)]


def odd_stamps() -> list[Shot]:
    """Every kind of wrong stamp, clocks that are set, a gap, and images that cannot be used."""
    shots = steady(170)
    shots[4].wrong, shots[22].wrong, shots[23].wrong = "encoding", "cut", "cut"
    shots[18].wrong = "narrow"
    shots[7].stamp = -START / SECOND  # zero
    shots[10].stamp = -START / SECOND - 5.0  # negative
    shots[12].stamp = shots[11].stamp  # repeated
    shots[14].stamp = shots[13].stamp - 0.1  # out of order
    shots[16].stamp += 4e8  # far forward, once
    for i in (27, 28):
        shots[i].stamp = -START / SECOND
    for i in range(40, 170):
        shots[i].stamp -= 100.0  # set back
    for i in range(64, 170):
        shots[i].stamp += 3600.0  # set forward
    for i in range(92, 170):
        shots[i].stamp += 40.0  # nothing for 40 s
        shots[i].logged += 40.0
    for i in range(126, 170):
        shots[i].stamp -= 30.0  # set back a little
    shots[150].stamp -= 5e5  # once far back
    return shots


def no_stamps() -> list[Shot]:
    shots = steady(60)
    for shot in shots:
        shot.stamp = -START / SECOND
    return shots


def two_cameras() -> list[Shot]:
    """Another camera, whose clock shows the time since its boot, on the same topic."""
    other = [Shot(shot.logged + 0.2, shot.logged + 400.0 - START / SECOND, 255) for shot in steady(60)]
    return sorted([*steady(60), *other], key=lambda shot: shot.logged)


RECORDINGS = {"odd stamps": odd_stamps, "no stamps": no_stamps, "two cameras": two_cameras}


def write(path: Path, shots: Sequence[Shot]) -> Path:
    with BagWriter(path) as bag:
        for shot in shots:
            width = 16 if shot.wrong == "narrow" else 64
            rgb = np.full((48, width, 3), shot.grey, np.uint8)
            message = messages.image(rgb, START + round(shot.stamp * SECOND), "camera")
            if shot.wrong == "encoding":
                message.encoding = "hal9000"
            elif shot.wrong == "cut":
                message.data = message.data[:100]
            bag.write("/cam", message, START + round(shot.logged * SECOND))
    return path


def window(message: Any) -> tuple[Any, ...]:
    return to_nanoseconds(message.header.stamp), message.watch, list(message.labels)


def span(message: Any) -> tuple[Any, ...]:
    times = (to_nanoseconds(t) for t in (message.header.stamp, message.start, message.end, message.onset))
    return span_number(message.span_id), message.state, message.watch, *times


@pytest.mark.parametrize("name", RECORDINGS)
def test_node_and_replay_decide_and_note_the_same(
    graph: Any, by_topic: Any, tmp_path: Path, name: str
) -> None:
    recording = write(tmp_path / "bag", RECORDINGS[name]())
    run = replay(recording, QUERIES, model=CHECKPOINT, config=CONFIG, device="cpu", out=tmp_path / "out").run
    offline = by_topic(tmp_path / "out")

    logs = graph.collect(Log, "/rosout", QoSProfile(depth=1000))
    windows = graph.collect(ActivationWindow, "activation/window", QoSProfile(depth=1000))
    spans = graph.collect(ActivationSpan, "activation/span", QoSProfile(depth=1000))
    frames = graph.collect(Image, "frames", FRAMES_QOS)
    node = graph.host(ActivationNode, PARAMETERS)
    assert graph.transition("activation", "configure")
    assert graph.transition("activation", "activate")
    camera = graph.publisher(Image, "image", DEEP)
    clock = graph.publisher(Clock, "/clock")
    with BagReader(recording) as bag:
        recorded = [(message.log_time, message.data) for message in bag.messages(["/cam"])]
    for number, (logged, data) in enumerate(recorded, 1):
        clock.publish(Clock(clock=to_time(logged)))
        graph.wait(lambda t=logged: node.get_clock().now().nanoseconds == t, "the clock")
        camera.publish(bytes(data))
        graph.wait(
            lambda n=number: node.cameras[""].notes.images == n and node._worker.is_idle,
            "the image to be taken",
        )
    wanted = len(offline["/stride/activation/window"])
    graph.wait(lambda: len(windows) >= wanted, "all windows")
    before = len(logs)
    assert graph.transition("activation", "deactivate")
    graph.wait(lambda: len(spans) >= len(offline["/stride/activation/span"]), "all spans")
    graph.wait(lambda: set(run.notes) <= {log.msg for log in logs}, f"all notes: {run.notes}")

    assert [window(message) for message in windows] == [
        window(message) for message in offline["/stride/activation/window"]
    ]
    assert [span(message) for message in spans] == [
        span(message) for message in offline["/stride/activation/span"]
    ]
    assert {message.state for message in spans} >= {ActivationSpan.ONSET, ActivationSpan.OFFSET}
    stamps = [to_nanoseconds(frame.header.stamp) for frame in offline["/stride/frames"]]
    graph.wait(lambda: len(frames) >= len(stamps), "all frames")
    assert [to_nanoseconds(frame.header.stamp) for frame in frames] == stamps
    told = [log.msg for log in logs if log.msg.startswith("At ")]
    told += [log.msg for log in logs[before:] if f" of {len(recorded)} images " in log.msg]
    assert told == run.notes
    kinds = ("At ", "used:", "twice", "no stamp", "far from the others")
    expected = {"no stamps": ("no stamp",), "two cameras": ("another clock",)}.get(name, kinds)
    assert all(any(kind in note for note in run.notes) for kind in expected)
