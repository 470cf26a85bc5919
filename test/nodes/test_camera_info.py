"""`camera_info` comes with every image: the same header, and the calibration or that there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
pytest.importorskip("yaml")
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402

from stride_ros.errors import ConfigError  # noqa: E402
from stride_ros.nodes.camera_node import CameraNode  # noqa: E402
from stride_ros.nodes.messages import to_nanoseconds  # noqa: E402
from stride_ros.nodes.qos import CAMERA_QOS, image_qos  # noqa: E402

CALIBRATION = """\
image_width: 60
image_height: 40
camera_name: front
camera_matrix:
  rows: 3
  cols: 3
  data: [50.5, 0, 30, 0, 51, 20, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.25, 0.0625, 1e-05, 0.0, 0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [48, 0, 29, 0, 0, 49, 19, 0, 0, 0, 1, 0]
"""


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """Parameters of a camera that plays three images of 60 x 40 pixels."""
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((40, 60, 3), 50 * i, np.uint8))
    return {"source": str(tmp_path), "rate": 20.0, "frame_id": "front", "wait_for_subscriber": True}


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    """A calibration for images of 60 x 40 pixels."""
    path = tmp_path / "front.yaml"
    path.write_text(CALIBRATION)
    return path


def play(graph: Any, options: dict[str, Any], *rules: str, topic: str = "camera_info") -> list[CameraInfo]:
    """Return what a camera says about its three images."""
    infos = graph.collect(CameraInfo, topic, CAMERA_QOS)
    images = graph.collect(Image, "/seen/image_raw" if "image:=" in str(rules) else "image", CAMERA_QOS)
    arguments = ["--ros-args", *(word for rule in rules for word in ("-r", rule))] if rules else []
    graph.host(CameraNode, options, cli_args=arguments)
    graph.wait(lambda: len(images) == len(infos) == 3, "three images, each with its camera_info")
    assert [info.header for info in infos] == [image.header for image in images]
    assert {(info.width, info.height) for info in infos} == {(images[0].width, images[0].height)}
    return infos


def test_without_a_calibration_every_image_is_uncalibrated(graph: Any, options: dict[str, Any]) -> None:
    infos = play(graph, options)
    assert {info.header.frame_id for info in infos} == {"front"}
    assert len({to_nanoseconds(info.header.stamp) for info in infos}) == 3
    for info in infos:
        assert not any([*info.k, *info.d, *info.r, *info.p]), "REP 104: all zero, above all k[0]"
        assert info.distortion_model == ""


def test_calibration_file_is_what_subscribers_get(
    graph: Any, options: dict[str, Any], calibration: Path
) -> None:
    info = play(graph, {**options, "camera_info_url": f"file://{calibration}"})[-1]
    assert list(info.k) == [50.5, 0, 30, 0, 51, 20, 0, 0, 1]
    assert list(info.d) == [-0.25, 0.0625, 1e-05, 0, 0]
    assert list(info.r) == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert list(info.p) == [48, 0, 29, 0, 0, 49, 19, 0, 0, 0, 1, 0]
    assert info.distortion_model == "plumb_bob"


def test_calibration_for_another_size_is_not_applied(
    graph: Any, options: dict[str, Any], calibration: Path
) -> None:
    scaled = {**options, "width": 30, "height": 20, "camera_info_url": str(calibration)}
    infos = play(graph, scaled)
    assert [info.k[0] for info in infos] == [0.0] * 3


def test_camera_info_lies_beside_the_image_topic(graph: Any, options: dict[str, Any]) -> None:
    play(graph, options, "image:=/seen/image_raw", topic="/seen/camera_info")


def test_camera_info_can_be_remapped_by_itself(graph: Any, options: dict[str, Any]) -> None:
    play(graph, options, "image:=/seen/image_raw", "camera_info:=/other/info", topic="/other/info")


def test_camera_info_follows_a_namespace(graph: Any, options: dict[str, Any]) -> None:
    infos = graph.collect(CameraInfo, "/front/camera_info", image_qos([]))
    graph.host(CameraNode, {**options, "wait_for_subscriber": False, "loop": True}, namespace="/front")
    graph.wait(lambda: infos, "camera_info, also for a best-effort subscriber")


def test_package_url_is_found_in_the_package(
    graph: Any, options: dict[str, Any], calibration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = calibration.parent / "prefix"
    for folder in ("share/ament_index/resource_index/packages", "share/my_robot/config"):
        (prefix / folder).mkdir(parents=True)
    (prefix / "share/ament_index/resource_index/packages/my_robot").touch()
    calibration.rename(prefix / "share/my_robot/config/front.yaml")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}{os.pathsep}{os.environ['AMENT_PREFIX_PATH']}")
    infos = play(graph, {**options, "camera_info_url": "package://my_robot/config/front.yaml"})
    assert infos[0].k[0] == 50.5


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("/nowhere/front.yaml", r"cannot be read \(No such file"),
        ("package://no_such_package/front.yaml", "'no_such_package', which is not installed"),
        ("http://robot/front.yaml", "use a path, file:///PATH or package://PACKAGE/PATH"),
    ],
)
def test_wrong_url_is_one_sentence(graph: Any, options: dict[str, Any], url: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        graph.host(CameraNode, {**options, "camera_info_url": url})


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (CALIBRATION, "%YAML:1.0\n", "is not YAML at line 1"),
        (CALIBRATION, "- 1\n", "is not a YAML calibration file"),
        (CALIBRATION, "", "is not a YAML calibration file"),
        ("image_width: 60", "image_width: wide", "needs image_width in pixels, not 'wide'"),
        ("image_height: 40\n", "", "needs image_height in pixels, not None"),
        ("plumb_bob", "cubic", "has the distortion_model 'cubic', which is not one of plumb_bob"),
        ("plumb_bob", "[1]", r"has the distortion_model \[1\], which is not one of"),
        ("50.5, 0, 30", "50.5, 30", "needs 9 numbers in camera_matrix: data"),
        ("50.5, 0, 30", ".nan, 0, 30", "needs 9 numbers in camera_matrix: data"),
        ("50.5, 0, 30", "[], 0, 30", "needs 9 numbers in camera_matrix: data"),
        ("-0.25, ", "1, 2, ", "needs 4 or 5 numbers in distortion_coefficients: data"),
        ("rectification_matrix", "rectification", "needs 9 numbers in rectification_matrix: data"),
    ],
)
def test_wrong_file_is_one_sentence(
    graph: Any, options: dict[str, Any], calibration: Path, old: str, new: str, sentence: str
) -> None:
    calibration.write_text(CALIBRATION.replace(old, new))
    with pytest.raises(ConfigError, match=sentence) as caught:
        graph.host(CameraNode, {**options, "camera_info_url": str(calibration)})
    assert str(calibration) in str(caught.value)
    assert "\n" not in str(caught.value)
