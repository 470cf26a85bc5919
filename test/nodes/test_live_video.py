"""A camera that sends video packets, over DDS: the node decides as a replay of the same recording does."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
av = pytest.importorskip("av", reason="PyAV is missing; install it with: pip install av")
pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")
pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rcl_interfaces.msg import Log  # noqa: E402
from rclpy.qos import QoSProfile, QoSReliabilityPolicy  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CompressedImage  # noqa: E402
from stride_ros.msg import ActivationSpan, ActivationWindow  # noqa: E402

from stride_ros.activation.config import ActivationConfig, TriggerConfig  # noqa: E402
from stride_ros.activation.identity import span_number  # noqa: E402
from stride_ros.bags import messages as bag_messages  # noqa: E402
from stride_ros.bags.reader import BagReader  # noqa: E402
from stride_ros.bags.writer import BagWriter  # noqa: E402
from stride_ros.nodes.activation_node import ActivationNode  # noqa: E402
from stride_ros.nodes.messages import to_nanoseconds, to_time  # noqa: E402
from stride_ros.replay import replay  # noqa: E402

CHECKPOINT = str(Path(__file__).parents[1] / "golden" / "checkpoint_single")
QUERY = "Tell me when it happens."
SECOND = 10**9
STEP = SECOND // 10
START = 1_700_000_000 * SECOND
DEEP = QoSProfile(depth=1000, reliability=QoSReliabilityPolicy.RELIABLE)
SIZE = (64, 48)

Packets = list[tuple[int, bytes]]  # (number of the picture, packet), in the order of decoding


def grey(number: int) -> int:
    return (37 * (number // 10)) % 220 + 16


def encode(count: int, size: tuple[int, int] = SIZE, first: int = 0, **options: str) -> Packets:
    """Grey pictures in H.264, a key frame every ten."""
    if "libx264" not in av.codecs_available:
        pytest.skip("this PyAV has no encoder libx264")
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height = size
    context.pix_fmt = "yuv420p"
    context.time_base, context.framerate = Fraction(1, 10), 10
    context.options = {"g": "10", "threads": "1", **options}
    packets = []
    for number in range(count):
        picture = np.full((size[1], size[0], 3), grey(first + number), np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts = number
        packets += context.encode(frame)
    packets += context.encode(None)
    return [(first + packet.pts, bytes(packet)) for packet in packets]


def in_time(**options: str) -> Packets:
    return encode(200, tune="zerolatency", **options)


def late_beginning() -> Packets:
    """A subscriber that came in the middle of a group of pictures."""
    return in_time()[4:]


def b_frames() -> Packets:
    return encode(200, bf="2")


def lost() -> Packets:
    """Single packets, a key frame, and two seconds are missing, and one packet is damaged."""
    packets = in_time()
    packets[33] = (33, packets[33][1][:12] + bytes(len(packets[33][1]) - 12))
    return [packet for packet in packets if packet[0] not in (7, 50, 115) and not 140 <= packet[0] < 163]


def other_size() -> Packets:
    return encode(100, tune="zerolatency") + encode(100, (96, 64), 100, tune="zerolatency")


def loop() -> Packets:
    """The recording of `late_beginning` twice, in a loop: its stamps go back."""
    return [*late_beginning(), *late_beginning()[:60]]


VIDEOS: dict[str, Callable[[], Packets]] = {
    "in time": in_time,
    "late beginning": late_beginning,
    "B-frames": b_frames,
    "lost packets": lost,
    "another size": other_size,
    "a loop": loop,
}


def write(path: Path, packets: Packets) -> Path:
    kind = bag_messages.typestore().types["sensor_msgs/msg/CompressedImage"]
    with BagWriter(path) as bag:
        for index, (number, data) in enumerate(packets):
            header = bag_messages.header(START + number * STEP, "camera")
            message = kind(header=header, format="h264", data=np.frombuffer(data, np.uint8))
            bag.write("/cam/compressed", message, START + index * STEP)
    return path


def by_topic(bag: Path) -> dict[str, list[Any]]:
    from rosbags.highlevel import AnyReader

    topics: dict[str, list[Any]] = {}
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            topics.setdefault(connection.topic, []).append(reader.deserialize(data, connection.msgtype))
    return topics


def window(message: Any) -> tuple[Any, ...]:
    return to_nanoseconds(message.header.stamp), list(message.labels)


def span(message: Any) -> tuple[Any, ...]:
    times = (to_nanoseconds(t) for t in (message.header.stamp, message.start, message.end, message.onset))
    return span_number(message.span_id), message.state, *times


@pytest.mark.parametrize("name", VIDEOS)
def test_node_and_replay_decide_the_same_on_a_video(graph: Any, tmp_path: Path, name: str) -> None:
    recording = write(tmp_path / "bag", VIDEOS[name]())
    config = ActivationConfig(unmasking_steps=4, trigger=TriggerConfig(min_confidence=0.0))
    run = replay(recording, [QUERY], model=CHECKPOINT, config=config, device="cpu", out=tmp_path / "out").run
    offline = by_topic(tmp_path / "out")
    wanted = [window(message) for message in offline["/stride/activation/window"]]
    assert len(wanted) > 5

    logs = graph.collect(Log, "/rosout", QoSProfile(depth=1000))
    statuses = graph.collect(DiagnosticArray, "/diagnostics")
    windows = graph.collect(ActivationWindow, "activation/window", DEEP)
    spans = graph.collect(ActivationSpan, "activation/span", DEEP)
    parameters = {
        "model": CHECKPOINT,
        "device": "cpu",
        "query": QUERY,
        "unmasking_steps": 4,
        "trigger.min_confidence": 0.0,
        "use_sim_time": True,
        "image_transport": "compressed",
    }
    node = graph.host(ActivationNode, parameters)
    assert graph.transition("activation", "configure")
    assert graph.transition("activation", "activate")
    camera = graph.publisher(CompressedImage, "image/compressed", DEEP)
    clock = graph.publisher(Clock, "/clock")
    with BagReader(recording) as bag:
        recorded = [(message.log_time, message.data) for message in bag.messages(["/cam/compressed"])]
    for logged, data in recorded:
        clock.publish(Clock(clock=to_time(logged)))
        graph.wait(lambda t=logged: node.get_clock().now().nanoseconds == t, "the clock")
        before = node._input.received.count
        camera.publish(bytes(data))
        graph.wait(lambda n=before: node._input.received.count > n, "the packet")
        graph.wait(lambda: node._input.is_idle and node._worker.is_idle, "the packet to be decoded")
    # A live decoder keeps the last pictures of B-frames until others follow.
    known = len(wanted) if name != "B-frames" else len(wanted) - 1
    graph.wait(lambda: len(windows) >= known, "all windows")
    before = len(logs)
    assert graph.transition("activation", "deactivate")
    assert [window(message) for message in windows] == wanted[: len(windows)]
    if name != "B-frames":
        found = [span(message) for message in offline["/stride/activation/span"]]
        graph.wait(lambda: len(spans) >= len(found), "all spans")
        assert [span(message) for message in spans] == found
    counts = [note for note in run.notes if not note.startswith("At ")]
    graph.wait(lambda: set(counts) <= {log.msg for log in logs[before:]}, f"all notes: {counts}")
    told = " ".join(counts) or "none"
    graph.wait(lambda: newest(statuses).get("left out") == told, "a status in the words of the replay")
    assert ("before the first key frame" in told) == (name in ("late beginning", "a loop"))
    assert int(newest(statuses)["before a key frame"]) == {"late beginning": 6, "a loop": 12}.get(name, 0)


def newest(statuses: list[Any]) -> dict[str, str]:
    """The values of the newest status."""
    return {value.key: value.value for value in statuses[-1].status[0].values} if statuses else {}
