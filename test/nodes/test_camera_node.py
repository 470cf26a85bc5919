"""The camera node publishes its sources on time, for subscribers of either reliability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
from rclpy.qos import QoSProfile, QoSReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from stride_ros.msg import ActivationSpan  # noqa: E402

from stride_ros.errors import ConfigError, SourceError  # noqa: E402
from stride_ros.imaging.images import compressed_to_rgb, image_to_rgb  # noqa: E402
from stride_ros.nodes.camera_node import CameraNode  # noqa: E402
from stride_ros.nodes.messages import to_nanoseconds  # noqa: E402
from stride_ros.nodes.qos import CAMERA_QOS, SPAN_QOS, image_qos  # noqa: E402

DEEP = QoSProfile(depth=1000, reliability=QoSReliabilityPolicy.RELIABLE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images of 60 x 40 pixels, each brighter than the one before."""
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((40, 60, 3), 50 * i, np.uint8))
    return tmp_path


def seconds(message: Any) -> float:
    return to_nanoseconds(message.header.stamp) / 1e9


def test_folder_reaches_reliable_and_best_effort_subscribers(graph: Any, folder: Path) -> None:
    reliable = graph.collect(Image, "image", DEEP)
    best_effort = graph.collect(Image, "image", image_qos([]))
    camera = graph.host(
        CameraNode,
        {"source": str(folder), "rate": 20.0, "frame_id": "front", "wait_for_subscriber": True},
    )
    graph.wait(lambda: len(reliable) == 5, "five images")
    graph.wait(camera.finished.is_set, "the end")
    assert best_effort, "a best-effort subscriber gets images too"
    assert [int(image_to_rgb(message).mean()) for message in reliable] == [0, 50, 100, 150, 200]
    assert {message.header.frame_id for message in reliable} == {"front"}
    times = np.array([seconds(message) for message in reliable])
    assert np.allclose(np.diff(times), 0.05, atol=1e-6)


def test_compressed_images_follow_the_remapped_topic(graph: Any, folder: Path) -> None:
    received = graph.collect(CompressedImage, "/front/image_raw/compressed", CAMERA_QOS)
    graph.host(
        CameraNode,
        {"source": str(folder), "compressed": True, "wait_for_subscriber": True},
        cli_args=["--ros-args", "-r", "image:=/front/image_raw"],
    )
    graph.wait(lambda: len(received) == 5, "five compressed images")
    assert np.abs(compressed_to_rgb(received[-1]).astype(int) - 200).max() < 4


def test_loop_goes_on_with_increasing_stamps(graph: Any, folder: Path) -> None:
    received = graph.collect(Image, "image", DEEP)
    camera = graph.host(
        CameraNode, {"source": str(folder), "rate": 50.0, "loop": True, "wait_for_subscriber": True}
    )
    graph.wait(lambda: len(received) >= 12, "more than two rounds")
    steps = np.diff([seconds(message) for message in received])
    assert np.allclose(steps, 0.02, atol=1e-6)
    assert not camera.finished.is_set()


def test_world_publishes_ground_truth_once_for_each_event(graph: Any) -> None:
    spans = graph.collect(ActivationSpan, "ground_truth", SPAN_QOS)
    images = graph.collect(Image, "image", DEEP)
    camera = graph.host(
        CameraNode,
        {
            "seconds": 30.0,
            "rate": 2.0,
            "speed": 20.0,
            "width": 96,
            "height": 64,
            "seed": 3,
            "wait_for_subscriber": True,
        },
    )
    graph.wait(camera.finished.is_set, "the end of the world")
    graph.wait(lambda: len(images) == 61, "all images")
    graph.wait(lambda: spans and all(len(states(spans)[i]) == 2 for i in states(spans)), "all spans")
    from stride_ros.world import World

    world = World(3, 30.0, (96, 64), 2.0)
    assert len(states(spans)) == len(world.events)
    assert all(pair == [ActivationSpan.ONSET, ActivationSpan.OFFSET] for pair in states(spans).values())
    start = seconds(images[0])
    first = min(spans, key=lambda span: to_nanoseconds(span.start))
    assert to_nanoseconds(first.start) / 1e9 - start == pytest.approx(world.events[0].start, abs=1e-3)


def states(spans: list[ActivationSpan]) -> dict[int, list[int]]:
    by_id: dict[int, list[int]] = {}
    for span in spans:
        by_id.setdefault(span.span_id, []).append(span.state)
    return by_id


def test_bad_sources_and_parameters_stop_the_node_with_a_reason(graph: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        graph.host(CameraNode, {"source": str(tmp_path / "missing.mp4")})
    with pytest.raises(SourceError, match="no images"):
        graph.host(CameraNode, {"source": str(tmp_path)})
    with pytest.raises(ConfigError, match="rate"):
        graph.host(CameraNode, {"rate": 0.0})
    with pytest.raises(ConfigError, match=r"must be a double; write it like 10\.0"):
        graph.host(CameraNode, {"rate": 10})


def test_node_stops_in_the_middle_of_a_slow_source(graph: Any, folder: Path) -> None:
    received = graph.collect(Image, "image", DEEP)
    camera = graph.host(CameraNode, {"source": str(folder), "rate": 0.1})
    graph.wait(lambda: received, "the first image")
    graph.remove(camera)
    assert camera.finished.is_set()
