"""A camera that sends video packets, over DDS: the node decides as a replay of the same recording does."""

from __future__ import annotations

import array
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
av = pytest.importorskip("av", reason="PyAV is missing; install it with: pip install av")
rclpy = pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")
pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rcl_interfaces.msg import Log  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import QoSProfile, QoSReliabilityPolicy  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CompressedImage  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from stride_ros.msg import ActivationSpan, ActivationWindow  # noqa: E402

from stride_ros.activation.config import ActivationConfig, TriggerConfig  # noqa: E402
from stride_ros.activation.identity import span_number  # noqa: E402
from stride_ros.activation.notes import StreamNotes  # noqa: E402
from stride_ros.bags import messages as bag_messages  # noqa: E402
from stride_ros.bags.reader import BagReader  # noqa: E402
from stride_ros.bags.writer import BagWriter  # noqa: E402
from stride_ros.errors import FrameError  # noqa: E402
from stride_ros.imaging import packets as packets_module  # noqa: E402
from stride_ros.nodes import image_input  # noqa: E402
from stride_ros.nodes.activation_node import ActivationNode  # noqa: E402
from stride_ros.nodes.image_input import ImageInput, LiveFrame  # noqa: E402
from stride_ros.nodes.messages import to_nanoseconds, to_time  # noqa: E402
from stride_ros.replay import replay  # noqa: E402

from ..video_packets import encode_greys  # noqa: E402

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


def encode(
    count: int, size: tuple[int, int] = SIZE, first: int = 0, *, encoder: str = "libx264", **options: str
) -> Packets:
    """Grey pictures, a key frame every ten."""
    greys = tuple(grey(first + number) for number in range(count))
    packets = encode_greys(encoder, {"g": "10", "threads": "1", **options}, greys, size)
    return [(first + number, data) for number, data in packets]


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


def window(message: Any) -> tuple[Any, ...]:
    return to_nanoseconds(message.header.stamp), list(message.labels)


def span(message: Any) -> tuple[Any, ...]:
    times = (to_nanoseconds(t) for t in (message.header.stamp, message.start, message.end, message.onset))
    return span_number(message.span_id), message.state, *times


@pytest.mark.parametrize("name", VIDEOS)
def test_node_and_replay_decide_the_same_on_a_video(
    graph: Any, by_topic: Any, tmp_path: Path, name: str
) -> None:
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
        before = node.cameras[""].input.received.count
        camera.publish(bytes(data))
        graph.wait(lambda n=before: node.cameras[""].input.received.count > n, "the packet")
        graph.wait(
            lambda: node.cameras[""].input.is_idle and node._worker.is_idle, "the packet to be decoded"
        )
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
    if name == "B-frames":  # those that the decoder kept
        rest = node.cameras[""].notes.count("abandoned")
        counts = [
            f"{rest} of 200 images were not decoded yet when watching ended or restarted and were skipped."
        ]
        assert 0 < rest < 5
    graph.wait(lambda: set(counts) <= {log.msg for log in logs[before:]}, f"all notes: {counts}")
    told = " ".join(counts) or "none"
    graph.wait(lambda: newest(statuses).get("left out") == told, "a status in the words of the replay")
    assert ("before the first key frame" in told) == (name in ("late beginning", "a loop"))
    assert int(newest(statuses)["before a key frame"]) == {"late beginning": 6, "a loop": 12}.get(name, 0)


class Watcher(Node):
    """A node that watches `image/compressed` or `image` and takes every picture."""

    def __init__(self, *, transport: str = "compressed", **options: Any) -> None:
        super().__init__("watcher", **options)
        self.frames: list[LiveFrame] = []
        self.errors: list[str] = []
        self.notes = StreamNotes()
        self.input = ImageInput(
            self,
            transport=transport,
            rate=lambda: 1000.0,
            notes=self.notes,
            on_due=self.take,
            on_jump=lambda reading: None,
            on_rejected=lambda error: self.errors.append(str(error)),
        )

    def take(self, decode: Callable[[], LiveFrame]) -> None:
        try:
            self.frames.append(decode())
        except FrameError as error:
            self.errors.append(str(error))

    @property
    def numbers(self) -> list[int]:
        """The pictures that were taken, by their stamps."""
        return [round((frame.stamp - START) / STEP) for frame in self.frames]

    @property
    def greys(self) -> list[int]:
        """The pictures that were taken, by what they show."""
        return [round(float(frame.image.mean())) for frame in self.frames]


def packet(number: int, data: bytes, form: str = "h264") -> CompressedImage:
    header = Header(stamp=to_time(START + number * STEP), frame_id="lens")
    return CompressedImage(header=header, format=form, data=array.array("B", data))


def publish(graph: Any, watcher: Watcher, camera: Any, packets: Packets) -> None:
    """Publish packets and wait until they are done with."""
    count = watcher.input.received.count + len(packets)
    for number, data in packets:
        camera.publish(packet(number, data))
    graph.wait(lambda: watcher.input.received.count >= count and watcher.input.is_idle, "the packets")


def test_every_picture_of_packets_as_fast_as_they_come(graph: Any) -> None:
    watcher = graph.host(Watcher)
    camera = graph.publisher(CompressedImage, "image/compressed", DEEP)
    packets = encode(50, tune="zerolatency")
    publish(graph, watcher, camera, packets)
    assert watcher.numbers == list(range(50))
    assert watcher.greys == pytest.approx([grey(number) for number in range(50)], abs=3)
    assert {frame.frame_id for frame in watcher.frames} == {"lens"}
    assert watcher.notes.sentences() == []


def test_packets_wait_for_a_key_frame_with_one_sentence(graph: Any) -> None:
    logs = graph.collect(Log, "/rosout", DEEP)
    watcher = graph.host(Watcher)
    camera = graph.publisher(CompressedImage, "image/compressed", DEEP)
    publish(graph, watcher, camera, encode(30, tune="zerolatency")[3:])
    assert watcher.numbers == list(range(10, 30))
    graph.wait(lambda: any("first key frame" in log.msg for log in logs), "a sentence")
    assert len([log for log in logs if "first key frame" in log.msg]) == 1
    assert watcher.notes.count("early") == watcher.notes.count("unusable") == 7


def test_a_video_that_was_disabled_goes_on_at_a_key_frame(graph: Any) -> None:
    watcher = graph.host(Watcher)
    camera = graph.publisher(CompressedImage, "image/compressed", DEEP)
    packets = encode(40, tune="zerolatency")
    publish(graph, watcher, camera, packets[:12])
    watcher.input.paused = True
    watcher.input.restart()
    publish(graph, watcher, camera, packets[12:15])
    watcher.input.paused = False
    watcher.input.restart()
    publish(graph, watcher, camera, packets[15:])
    assert watcher.numbers == [*range(12), *range(20, 40)]
    assert watcher.greys == pytest.approx([grey(number) for number in watcher.numbers], abs=3)
    assert watcher.notes.count("early") == 5


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Decoders wait for this event."""
    event, decode = threading.Event(), image_input.packet_of

    def wait(*arguments: Any) -> Any:
        assert event.wait(60)
        return decode(*arguments)

    monkeypatch.setattr(image_input, "packet_of", wait)
    return event


def test_what_a_decoder_cannot_keep_up_with_is_dropped_until_a_key_frame(
    graph: Any, go_on: threading.Event
) -> None:
    watcher = graph.host(Watcher)
    camera = graph.publisher(CompressedImage, "image/compressed", DEEP)
    packets = encode(100, tune="zerolatency")
    # One is being decoded, sixty wait and have to go, the rest waits.
    for number, data in packets[:75]:
        camera.publish(packet(number, data))
        graph.wait(lambda n=number: watcher.input.received.count > n, "a packet, though none is decoded")
    go_on.set()
    publish(graph, watcher, camera, packets[75:])
    assert watcher.notes.count("crowded") == 60
    (note,) = [note for note in watcher.notes.left_out() if "faster" in note]
    assert note.startswith("60 of 100 images came faster than the video could be decoded and were skipped")
    assert watcher.numbers == [0, *range(70, 100)]
    assert watcher.greys == pytest.approx([grey(number) for number in watcher.numbers], abs=3)


def test_pictures_by_themselves_may_come_among_packets(graph: Any) -> None:
    from stride_ros.imaging.images import rgb_to_compressed

    watcher = graph.host(Watcher)
    camera = graph.publisher(CompressedImage, "image/compressed", DEEP)
    publish(graph, watcher, camera, encode(3, tune="zerolatency"))
    jpeg = rgb_to_compressed(np.full((48, 64, 3), 99, np.uint8), Header(stamp=to_time(START + 3 * STEP)))
    camera.publish(jpeg)
    graph.wait(lambda: watcher.numbers == [0, 1, 2, 3], "the picture")
    assert watcher.greys[3] == pytest.approx(99, abs=3)


def test_pictures_beyond_the_limit_are_refused(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = graph.host(Watcher)
    camera = graph.publisher(CompressedImage, "image/compressed", DEEP)
    monkeypatch.setattr(packets_module, "MAX_PIXELS", 96 * 64 - 1)
    larger = encode(5, (96, 64), 5, tune="zerolatency")
    publish(graph, watcher, camera, [*encode(5, tune="zerolatency"), *larger])
    assert watcher.numbers == [0, 1, 2, 3, 4]
    assert watcher.notes.count("unusable") == 5


def test_without_pyav_one_sentence_says_what_to_install(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = graph.collect(Log, "/rosout", DEEP)
    packets = encode(5, tune="zerolatency")
    monkeypatch.setitem(sys.modules, "av", None)
    watcher = graph.host(Watcher)
    camera = graph.publisher(CompressedImage, "image/compressed", DEEP)
    publish(graph, watcher, camera, packets)
    graph.wait(lambda: any("pip install av" in log.msg for log in logs), "the sentence")
    assert len([log for log in logs if "pip install av" in log.msg]) == 1
    assert watcher.notes.count("unusable") == 5


ENCODERS = {  # of a codec, with the options of a live camera
    "h264": ("libx264", {"tune": "zerolatency"}),
    "h265": ("libx265", {"tune": "zerolatency", "x265-params": "log-level=none"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "lag-in-frames": "0"}),
    "av1": ("libsvtav1", {"preset": "12", "svtav1-params": "lookahead=0:pred-struct=1"}),
}


@pytest.mark.parametrize("codec", ENCODERS)
@pytest.mark.parametrize("name", ["CompressedImage", "CompressedVideo", "FFMPEGPacket"])
def test_every_codec_is_decoded_whatever_the_type(graph: Any, driver: Node, name: str, codec: str) -> None:
    encoder, options = ENCODERS[codec]
    packets = encode(30, (64, 64), encoder=encoder, **options)
    package = {"CompressedVideo": "foxglove_msgs", "FFMPEGPacket": "ffmpeg_image_transport_msgs"}
    module = pytest.importorskip(f"{package.get(name, 'sensor_msgs')}.msg", reason="its package is missing")
    watcher = graph.host(Watcher)
    camera = driver.create_publisher(getattr(module, name), "image/compressed", DEEP)
    graph.wait(lambda: camera.get_subscription_count() == 1, "a subscription with the type")
    for number, data in packets:
        header = Header(stamp=to_time(START + number * STEP), frame_id="lens")
        payload = array.array("B", data)
        if name == "CompressedVideo":
            message = module.CompressedVideo(
                timestamp=header.stamp, frame_id="lens", format=codec, data=payload
            )
        elif name == "FFMPEGPacket":
            message = module.FFMPEGPacket(header=header, encoding=encoder, data=payload)
        else:
            message = CompressedImage(header=header, format=codec, data=payload)
        camera.publish(message)
    graph.wait(lambda: len(watcher.frames) == 30, "the pictures")
    assert watcher.numbers == list(range(30))
    assert watcher.greys == pytest.approx([grey(number) for number in range(30)], abs=4)
    assert watcher.notes.sentences() == []


def test_packets_that_were_not_decoded_when_watching_ended_are_told(
    graph: Any, go_on: threading.Event
) -> None:
    watcher = graph.host(Watcher)
    camera = graph.publisher(CompressedImage, "image/compressed", DEEP)
    for number, data in encode(20, tune="zerolatency"):
        camera.publish(packet(number, data))
    graph.wait(lambda: watcher.input.received.count == 20, "the packets")
    watcher.input.destroy()
    go_on.set()
    assert watcher.notes.left_out() == [
        "20 of 20 images were not decoded yet when watching ended or restarted and were skipped."
    ]


@pytest.mark.parametrize("transport", ["raw", "compressed"])
@pytest.mark.parametrize(
    "kind", ["foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"]
)
def test_a_topic_of_packets_of_another_type_is_found(
    graph: Any, driver: Node, kind: str, transport: str
) -> None:
    package, _, name = kind.split("/")
    module = pytest.importorskip(f"{package}.msg", reason=f"{package} is not installed")
    watcher = graph.host(Watcher, transport=transport)  # before the camera: the type is not known yet
    topic = "image" if transport == "raw" else "image/compressed"
    camera = driver.create_publisher(getattr(module, name), topic, DEEP)
    graph.wait(lambda: camera.get_subscription_count() == 1, "a subscription with the type")
    for number, data in encode(30, tune="zerolatency"):
        header = Header(stamp=to_time(START + number * STEP), frame_id="lens")
        payload = array.array("B", data)
        if name == "FFMPEGPacket":
            message = getattr(module, name)(header=header, encoding="libx264", data=payload)
        else:
            message = getattr(module, name)(
                timestamp=header.stamp, frame_id=header.frame_id, format="h264", data=payload
            )
        camera.publish(message)
    graph.wait(lambda: len(watcher.frames) == 30, "the pictures")
    assert watcher.numbers == list(range(30))
    assert watcher.greys == pytest.approx([grey(number) for number in range(30)], abs=3)
    assert {frame.frame_id for frame in watcher.frames} == {"lens"}


def newest(statuses: list[Any]) -> dict[str, str]:
    """The values of the newest status."""
    return {value.key: value.value for value in statuses[-1].status[0].values} if statuses else {}
