"""Why no images arrive: one sentence with the true reason and the remedy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")
from rclpy.node import Node  # noqa: E402
from rclpy.qos import QoSProfile, QoSReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image  # noqa: E402

from stride_ros.errors import ConfigError  # noqa: E402
from stride_ros.nodes.image_subscription import ImageSubscription  # noqa: E402
from stride_ros.nodes.publishers import (  # noqa: E402
    COMPRESSED,
    RAW,
    InputSettings,
    describe_silence,
    names_of,
    publishers_of,
)
from stride_ros.nodes.qos import image_qos  # noqa: E402

TYPES = {Image: RAW, CompressedImage: COMPRESSED}


def reason(graph: Any, driver: Node, wanted: type, topic: str, published: dict[str, type]) -> str:
    """Publish these topics, and ask why nothing comes on `topic`."""
    watcher = graph.host(Node, node_name="watcher")
    watcher.create_publisher(Image, "/own/frames", 1)  # the node's own images are not a camera
    for name, kind in published.items():
        driver.create_publisher(kind, name, 1)
    watcher.create_subscription(wanted, topic, lambda _: None, image_qos([]))

    def is_known(topic: str) -> bool:
        return "/driver" in names_of(publishers_of(watcher, topic))

    for name in published:
        graph.wait(lambda name=name: is_known(name), f"{name} to be discovered")
    return describe_silence(watcher, topic, TYPES[wanted], image_qos([]))


@pytest.mark.parametrize(
    ("wanted", "topic", "published", "sentences"),
    [
        (
            Image,
            "/camera/image_raw/compressed",
            {"/camera/image_raw/compressed": CompressedImage},
            [
                "/camera/image_raw/compressed carries sensor_msgs/msg/CompressedImage, not Image",
                "set image_transport to compressed and image_topic to /camera/image_raw",
            ],
        ),
        (
            CompressedImage,
            "/camera/image_raw/compressed/compressed",
            {"/camera/image_raw/compressed": CompressedImage},
            ["which ends in it already", "set image_topic to /camera/image_raw"],
        ),
        (
            CompressedImage,
            "/camera/image_raw/compressed/compressed",
            {},
            ["it has no publishers", "set image_topic to /camera/image_raw"],
        ),
        (
            CompressedImage,
            "/camera/image_raw/compressed",
            {"/camera/image_raw/compressed": Image},
            [
                "carries sensor_msgs/msg/Image, not CompressedImage",
                "set image_transport to raw and image_topic to /camera/image_raw/compressed",
            ],
        ),
        (
            CompressedImage,
            "/camera/image_raw/compressed",
            {"/camera/image_raw": Image},
            ["/camera/image_raw carries sensor_msgs/msg/Image", "set image_transport to raw"],
        ),
        (
            Image,
            "/camera/image_raw",
            {"/camera/image_raw/compressed": CompressedImage},
            ["/camera/image_raw/compressed is there; set image_transport to compressed"],
        ),
        (
            Image,
            "/camera/jpeg",
            {"/camera/jpeg": CompressedImage},
            ["not Image", "set image_transport to compressed and remap image/compressed to /camera/jpeg"],
        ),
        (
            CompressedImage,
            "/camera/jpeg/compressed",
            {"/camera/jpeg": CompressedImage},
            ["remap image/compressed to /camera/jpeg"],
        ),
        (
            Image,
            "/depth/image/compressedDepth",
            {"/depth/image/compressedDepth": CompressedImage},
            ["depth image", "use the camera's colour topic"],
        ),
        (
            Image,
            "/camera/camera_info",
            {"/camera/camera_info": CameraInfo, "/camera/image_raw": Image, "/rear/image_raw": Image},
            ["carries sensor_msgs/msg/CameraInfo, not Image", "/camera/image_raw, /rear/image_raw do"],
        ),
        (Image, "/camera/info", {"/camera/info": CameraInfo}, ["set image_topic to a topic that carries"]),
        (
            Image,
            "/camera/imag_raw",
            {"/camera/image_raw": Image},
            ["it has no publishers", "check image_topic: /camera/image_raw carries sensor_msgs/msg/Image"],
        ),
        (Image, "/camera/image_raw", {}, ["it has no publishers", "the same ROS_DOMAIN_ID"]),
        (
            Image,
            "/camera/image_raw",
            {"/camera/image_raw": Image},
            ["its 1 publisher(s) match in QoS but nothing arrives (/driver)", "check the camera"],
        ),
    ],
)
def test_reason_for_silence(
    graph: Any, driver: Node, wanted: type, topic: str, published: dict[str, type], sentences: list[str]
) -> None:
    text = reason(graph, driver, wanted, topic, published)
    for sentence in sentences:
        assert sentence in text
    assert "/own/frames" not in text


def test_type_that_the_own_process_publishes_is_refused_with_the_reason(graph: Any) -> None:
    """The middleware refuses a second type on a topic there."""
    graph.observer.create_publisher(CompressedImage, "/camera/compressed", 1)
    with pytest.raises(ConfigError, match=r"carries .*CompressedImage, not Image; set image_transport"):
        ImageSubscription(graph.observer, Image, "/camera/compressed", lambda _: None)


def test_many_topics_are_not_all_listed(graph: Any, driver: Node) -> None:
    text = reason(graph, driver, Image, "/camera", {f"/camera_{i}/image": Image for i in range(8)})
    assert "/camera_0/image" in text
    assert "and 3 more" in text


class Graph:
    """What a node would know of publishers that cannot be made here: their types are not installed."""

    def __init__(self, *publishers: Any, subscriptions: tuple[Any, ...] = ()) -> None:
        self.publishers, self.subscriptions = publishers, subscriptions

    def get_publishers_info_by_topic(self, _: str) -> tuple[Any, ...]:
        return self.publishers

    def get_subscriptions_info_by_topic(self, _: str) -> tuple[Any, ...]:
        return self.subscriptions

    def get_topic_names_and_types(self) -> list[tuple[str, list[str]]]:
        return []

    def get_fully_qualified_name(self) -> str:
        return "/watcher"


def endpoint(node: str, kind: str, **more: Any) -> Any:
    qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)
    return SimpleNamespace(node_name=node, node_namespace="/", topic_type=kind, qos_profile=qos, **more)


@pytest.mark.parametrize(
    ("kind", "transport"),
    [
        ("theora_image_transport/msg/Packet", "theora"),
        ("ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "ffmpeg"),
        ("foxglove_msgs/msg/CompressedVideo", "foxglove"),
    ],
)
def test_video_must_be_decoded_first(kind: str, transport: str) -> None:
    graph: Any = Graph(endpoint("driver", kind))
    text = describe_silence(graph, "/camera/image_raw/x", RAW, image_qos([]))
    assert f"carries {kind}, not Image, which is video" in text
    assert f"republish {transport} raw" in text
    is_known = transport != "theora"
    assert (f"install {kind.partition('/')[0]} where this node runs" in text) == is_known


def test_publisher_without_a_name_is_no_ros_node() -> None:
    """A DDS application, or a node whose name has not come yet."""
    graph: Any = Graph(endpoint("_NODE_NAME_UNKNOWN_", RAW))
    assert "(a node without a name)" in describe_silence(graph, "/image", RAW, image_qos([]))


def test_another_definition_of_the_type_is_named() -> None:
    def hashed(node: str, value: bytes) -> Any:
        return endpoint(node, RAW, topic_type_hash=SimpleNamespace(version=1, value=value * 32))

    same, other = hashed("driver", b"a"), hashed("driver", b"b")
    ours = (hashed("watcher", b"a"), hashed("recorder", b"b"))
    sentence = f"/driver was built with another definition of {RAW}"
    for publisher, is_named in ((same, False), (other, True), (endpoint("driver", RAW), False)):
        graph: Any = Graph(publisher, subscriptions=ours)
        assert (sentence in describe_silence(graph, "/image", RAW, image_qos([]))) == is_named


@pytest.mark.parametrize(
    ("topic", "wanted", "sentence"),
    [
        ("/left/image", RAW, "remap left/image to a topic that carries sensor_msgs/msg/Image"),
        ("/left/image", COMPRESSED, "set left.image_transport to raw and remap left/image to /left/image"),
    ],
)
def test_remedies_name_the_settings_of_the_camera(topic: str, wanted: str, sentence: str) -> None:
    published = RAW if wanted == COMPRESSED else "std_msgs/msg/String"
    graph: Any = Graph(endpoint("driver", published))
    assert sentence in describe_silence(graph, topic, wanted, image_qos([]), InputSettings("left"))
