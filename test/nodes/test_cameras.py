"""Several cameras in one node, over DDS: each decides as in a node of its own, and is steered by its name."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from stride_ros.msg import ActivationSpan, ActivationWindow, Watch, Watches, WatchSpec
from stride_ros.srv import AddWatch

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.session import ActivationSession
from stride_ros.errors import ConfigError
from stride_ros.imaging.images import image_to_rgb, rgb_to_image
from stride_ros.nodes.activation_node import ActivationNode
from stride_ros.nodes.messages import to_nanoseconds, to_time
from stride_ros.nodes.qos import DIAGNOSTICS_QOS, SPAN_QOS, WATCHES_QOS, WINDOW_QOS

CHECKPOINT = str(Path(__file__).parents[1] / "golden" / "checkpoint_single")
ORIGIN = 1_700_000_000 * 10**9  # ns
SECOND = 10**9
THIS, THAT = "Say when it happens.", "Tell me when they come."
NAMES = ("front", "left", "rear")
PARAMETERS = {
    "model": CHECKPOINT,
    "device": "cpu",
    "unmasking_steps": 4,
    "trigger.min_confidence": 0.0,
    "query": THIS,
    "cameras": list(NAMES),
}
CONFIG = ActivationConfig(unmasking_steps=4, trigger=TriggerConfig(min_confidence=0.0))
RELIABLE = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)


def grey(camera: str, index: int) -> np.ndarray:
    """With the golden checkpoint these make spans begin, move and end; each camera sees something else."""
    factor = 37 + 20 * NAMES.index(camera)
    return np.full((48 + 16 * NAMES.index(camera), 64, 3), (factor * index) % 256, np.uint8)


class Robot:
    """A node with three cameras at 1 FPS, and a listener to all that it publishes."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.spans = graph.collect(ActivationSpan, "activation/span", SPAN_QOS)
        self.windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
        self.watches = graph.collect(Watches, "watches", WATCHES_QOS)
        self.arrays = graph.collect(DiagnosticArray, "/diagnostics", DIAGNOSTICS_QOS)
        self.frames = {name: graph.collect(Image, f"{name}/frames", RELIABLE) for name in NAMES}
        self.sent = dict.fromkeys(NAMES, 0)
        self.publishers: dict[str, Any] = {}

    def start(self, *cameras: str, **parameters: Any) -> Robot:
        """Start the node, and these cameras, or all."""
        self.node = self.graph.host(ActivationNode, {**PARAMETERS, **parameters})
        assert self.graph.transition("activation", "configure")
        assert self.graph.transition("activation", "activate")
        self.publishers = {
            name: self.graph.publisher(Image, f"{name}/image", RELIABLE) for name in cameras or NAMES
        }
        return self

    def show(self, camera: str, image: np.ndarray | None = None) -> int:
        """Publish the camera's next frame, or another image in its place; its stamp (ns)."""
        stamp = ORIGIN + self.sent[camera] * SECOND
        pixels = grey(camera, self.sent[camera]) if image is None else image
        self.publishers[camera].publish(rgb_to_image(pixels, Header(stamp=to_time(stamp))))
        self.sent[camera] += 1
        return stamp

    def play(self, count: int, *cameras: str, watches: int = 1) -> None:
        """Let these cameras, or all, show so many frames, one after the other, each decided on."""
        for _ in range(count):
            for camera in cameras or NAMES:
                stamp = self.show(camera)
                self.graph.wait(
                    lambda c=camera, t=stamp: self.decided(c, t) >= watches and self.node._worker.is_idle,
                    f"the decisions on {camera}",
                )

    def decided(self, camera: str, stamp: int) -> int:
        of_camera = [w for w in self.windows if w.camera == camera]
        return sum(to_nanoseconds(window.header.stamp) == stamp for window in of_camera)

    def labels(self, camera: str, watch: str = "query") -> list[list[int]]:
        return [list(w.labels) for w in self.windows if (w.camera, w.watch) == (camera, watch)]

    def add(self, query: str, id: str, *cameras: str) -> Any:
        spec = WatchSpec(query=query, id=id, cameras=list(cameras))
        return self.graph.call(AddWatch, "/activation/add_watch", spec=spec)

    def watch(self, id: str) -> Watch | None:
        newest = self.watches[-1].watches if self.watches else []
        return next((watch for watch in newest if watch.spec.id == id), None)

    def status(self, part: str) -> Any:
        statuses = [status for array in self.arrays[-1:] for status in array.status]
        return next((status for status in statuses if status.name == f"activation: {part}"), None)


@pytest.fixture
def robot(graph: Any) -> Robot:
    return Robot(graph)


def alone(camera: str, query: str, frames: range) -> list[list[int]]:
    session = ActivationSession(ActivationModel.load(CHECKPOINT), query, CONFIG)
    return [session.push(grey(camera, i), float(i)).labels.tolist() for i in frames]


def test_each_camera_is_decided_on_as_in_a_node_of_its_own(robot: Robot) -> None:
    robot.start()
    robot.play(3)
    robot.play(5, "left")
    robot.play(4, "rear", "front")
    for camera, count in (("front", 7), ("left", 8), ("rear", 7)):
        assert robot.labels(camera) == alone(camera, THIS, range(count))
        robot.graph.wait(lambda c=camera, n=count: len(robot.frames[c]) == n, f"the frames of {camera}")
        shown = image_to_rgb(robot.frames[camera][-1])
        assert np.array_equal(shown, grey(camera, count - 1))
    assert {span.camera for span in robot.spans} == set(NAMES)
    onsets = [span.span_id for span in robot.spans if span.state == ActivationSpan.ONSET]
    assert len(set(onsets)) == len(onsets)
    watched = robot.graph.wait(lambda: robot.watch("query"), "the watch")
    assert watched.probability == pytest.approx(
        max([w for w in robot.windows if w.camera == c][-1].probabilities[-1] for c in NAMES)
    )


def test_frames_that_are_due_at_once_are_one_batch(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    from stride_ros.activation.engine import ActivationEngine

    batches: list[set[str]] = []
    go_on, push = threading.Event(), ActivationEngine.push

    def watched(engine: Any, frames: Any) -> Any:
        batches.append({stream.name for stream in frames})
        go_on.wait(60)
        return push(engine, frames)

    monkeypatch.setattr(ActivationEngine, "push", watched)
    robot.start()
    stamps = [("front", robot.show("front"))]
    robot.graph.wait(lambda: batches, "the first frame to be decided on")
    stamps += [(camera, robot.show(camera)) for camera in NAMES]
    robot.graph.wait(
        lambda: sum(robot.node.cameras[camera].input.sampled.count for camera in NAMES) == 4, "the others"
    )
    go_on.set()
    robot.graph.wait(lambda: all(robot.decided(*stamp) for stamp in stamps), "all decisions")
    assert batches == [{"front"}, set(NAMES)]
    for camera, count in (("front", 2), ("left", 1), ("rear", 1)):
        assert robot.labels(camera) == alone(camera, THIS, range(count))


def test_a_watch_is_on_the_cameras_that_it_lists(robot: Robot) -> None:
    robot.start()
    robot.play(2)
    assert robot.add(THAT, "door", "rear", "left").success
    robot.play(4, "front")
    robot.play(4, "left", "rear", watches=2)
    for camera in ("left", "rear"):
        assert robot.labels(camera, "door") == alone(camera, THAT, range(2, 6))
    assert robot.labels("front", "door") == []
    assert list(robot.graph.wait(lambda: robot.watch("door"), "the watch").spec.cameras) == ["left", "rear"]
    everywhere = robot.add(THAT, "all", *reversed(NAMES))
    assert everywhere.success
    listed = robot.graph.wait(lambda: robot.watch("all"), "the other watch")
    assert list(listed.spec.cameras) == [], "all cameras is what an empty list says"
    refused = robot.add(THAT, "roof", "roof")
    assert (refused.success, refused.error_code) == (False, AddWatch.Response.NO_CAMERA)
    assert "front or left or rear" in refused.error_msg


def test_a_camera_is_switched_off_and_reset_alone(robot: Robot) -> None:
    robot.start()
    graph = robot.graph
    robot.add(THAT, "door", "left")
    robot.play(4, "front")
    robot.play(4, "left", watches=2)
    answer = graph.call(SetBool, "/activation/left/enable", data=False)
    assert answer.success
    graph.wait(lambda: (w := robot.watch("door")) and w.state == Watch.PAUSED, "the watch to pause")
    assert robot.watch("query").state == Watch.WATCHING
    graph.wait(lambda: (s := robot.status("left")) and dict_of(s)["state"] == "disabled", "the status")
    assert dict_of(robot.status("front"))["state"] == "active"
    ignored = robot.show("left")
    robot.play(2, "front")
    assert not robot.decided("left", ignored)
    graph.call(SetBool, "/activation/left/enable", data=True)
    robot.play(3, "left", watches=2)
    assert robot.labels("left")[-3:] == alone("left", THIS, range(5, 8))
    assert graph.call(Trigger, "/activation/front/reset").success
    robot.play(2, "front")
    assert robot.labels("front") == alone("front", THIS, range(6)) + alone("front", THIS, range(6, 8))
    # For all at once, as without names.
    graph.call(SetBool, "/activation/enable", data=False)
    graph.wait(lambda: robot.watch("query").state == Watch.PAUSED, "all to pause")


def dict_of(status: Any) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def test_a_broken_camera_costs_itself_alone_and_is_named(robot: Robot) -> None:
    robot.start(image_timeout=0.3)
    graph = robot.graph
    robot.play(2, "front", "left")
    robot.show("front", np.zeros((8, 8, 3), np.uint8))
    robot.play(2, "left")
    robot.play(2, "front")
    assert robot.labels("left") == alone("left", THIS, range(4))
    assert len(robot.labels("front")) == 4
    front = graph.wait(lambda: (s := robot.status("front")) and s.level != b"\x00" and s, "a warning")
    assert "skipped" in front.message
    whole = graph.wait(
        lambda: (
            (s := robot.status("status")) and "front: " in s.message and "rear: no images" in s.message and s
        ),
        "both in the status of the node",
    )
    assert "/rear/image" in whole.message


def test_transport_and_rate_are_each_cameras_own(robot: Robot) -> None:
    robot.start("front", "rear", **{"left.image_transport": "compressed", "rear.rate": 0.5})
    graph = robot.graph
    left = graph.publisher(CompressedImage, "left/image/compressed", RELIABLE)
    data = cv2.imencode(".jpg", grey("left", 1))[1].tobytes()
    left.publish(CompressedImage(header=Header(stamp=to_time(ORIGIN)), format="jpeg", data=data))
    graph.wait(lambda: robot.decided("left", ORIGIN), "the decision on the JPEG")
    robot.play(1, "rear", "front")
    skipped = robot.show("rear")
    robot.play(1, "front", "rear")
    assert not robot.decided("rear", skipped)
    assert len(robot.labels("front")) == 2


@pytest.mark.parametrize(
    ("cameras", "reason"),
    [
        (["front", "front"], "twice"),
        (["front camera"], "letters, digits and underscores"),
        (["1st"], "is a letter"),
        (["front", ""], "is a letter"),
        (["activation"], "a name in topics of the node"),
    ],
)
def test_names_that_cannot_be_are_refused(graph: Any, cameras: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        graph.host(ActivationNode, {**PARAMETERS, "cameras": cameras})


def test_the_debug_picture_is_each_cameras_own(robot: Robot) -> None:
    robot.start()
    pictures = robot.graph.collect(Image, "left/activation/image", RELIABLE)
    robot.graph.wait(
        lambda: robot.node.count_subscribers("left/activation/image"), "the subscription to be known"
    )
    robot.play(1)
    picture = robot.graph.wait(lambda: pictures and pictures[-1], "the picture")
    assert picture.width >= 480
    assert robot.node.count_publishers("front/activation/image") == 1
