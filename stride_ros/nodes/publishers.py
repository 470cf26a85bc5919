"""Describe who publishes on an image topic, and why nothing arrives from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

from stride_ros.bags.types import PACKET_TYPES
from stride_ros.nodes.qos import loss_remedy
from stride_ros.text import topics

if TYPE_CHECKING:
    from rclpy.node import Node

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_LISTED = 5  # maximum number of names in a sentence
_UNKNOWN = "_NODE_NAME_UNKNOWN_"  # rmw's name for publishers outside ROS nodes, or of nodes not yet known
# Packet types of codecs that need every packet, with the transport that decodes them.
_VIDEO = {
    "theora_image_transport/msg/Packet": "theora",
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": "ffmpeg",
    "foxglove_msgs/msg/CompressedVideo": "foxglove",
}
# Those that the node itself can decode, with the package that defines them.
_READ = {kind: kind.partition("/")[0] for kind in PACKET_TYPES}


@dataclass(frozen=True)
class InputSettings:
    """The settings that make a camera's images arrive; `camera`: its name, "" for an unnamed one."""

    camera: str = ""

    @property
    def check_topic(self) -> str:
        return f"check what {self._image} is remapped to" if self.camera else "check image_topic"

    def topic(self, name: str) -> str:
        return f"remap {self._image} to {name}" if self.camera else f"set image_topic to {name}"

    def transport(self, name: str) -> str:
        return (
            f"set {self.camera}.image_transport to {name}"
            if self.camera
            else f"set image_transport to {name}"
        )

    def both(self, transport: str, topic: str) -> str:
        return f"{self.transport(transport)} and {self.topic(topic).removeprefix('set ')}"

    def plain_compressed(self, name: str) -> str:
        return f"{self.transport('compressed')} and remap {topics.compressed(self._image)} to {name}"

    @property
    def _image(self) -> str:
        return topics.of_camera(self.camera, topics.IMAGE)


UNNAMED_INPUT = InputSettings()


def type_name(message_type: Any) -> str:
    """Return a message class's name as in the graph: sensor_msgs/msg/Image."""
    package, interface, *_ = message_type.__module__.split(".")
    return f"{package}/{interface}/{message_type.__name__}"


def publishers_of(node: Node, topic: str, kind: str | None = None) -> list[Any]:
    """Return what rclpy knows about each publisher on a topic; only of type `kind` if given."""
    publishers = node.get_publishers_info_by_topic(topic)
    return [publisher for publisher in publishers if kind in (None, publisher.topic_type)]


def names_of(publishers: Sequence[Any]) -> str:
    """Return the names of the publishers' nodes; a node with two publishers is listed twice."""
    return _listed(sorted(_name_of(publisher) for publisher in publishers))


def describe_silence(
    node: Node, topic: str, kind: str, subscription: QoSProfile, settings: InputSettings = UNNAMED_INPUT
) -> str:
    """Explain in one sentence why no messages of type `kind` arrive on a topic (fully resolved name)."""
    everybody = publishers_of(node, topic)
    if not everybody:
        return _nobody(node, topic, kind, settings)
    if reason := describe_other_type(node, topic, kind, settings):
        return reason
    ours = publishers_of(node, topic, kind)
    problems = []
    for publisher in ours:
        name = names_of([publisher])
        verdict, reason = qos_check_compatible(publisher.qos_profile, subscription)
        if verdict == QoSCompatibility.ERROR:
            problems.append(f"{name} offers an incompatible QoS ({reason.strip().rstrip(';.')})")
        elif _differs(node, topic, publisher):
            problems.append(
                f"{name} was built with another definition of {kind}; build both sides with the same version"
            )
    if any("QoS" in problem for problem in problems):
        problems.append(f"set qos_overrides.{topic}.subscription.* to match")
    if problems:
        return "; ".join(problems)
    match = f"its {len(ours)} publisher(s) match in QoS but nothing arrives ({names_of(ours)})"
    return f"{match}; check the camera, and {loss_remedy(topic, subscription)}"


def describe_other_type(node: Node, topic: str, kind: str, settings: InputSettings) -> str:
    """Say what a topic carries instead of `kind`; empty if it carries `kind`, or has no publishers."""
    types = sorted({publisher.topic_type for publisher in publishers_of(node, topic)})
    return _other_type(node, topic, kind, types[0], settings) if types and kind not in types else ""


def _nobody(node: Node, topic: str, kind: str, settings: InputSettings) -> str:
    base, is_compressed = topic.removesuffix("/compressed"), topic.endswith("/compressed")
    if kind == COMPRESSED and base.endswith("/compressed"):
        name = base.removesuffix("/compressed")
        return (
            "it has no publishers: with image_transport compressed, '/compressed' is added to the name, which"
            f" ends in it already; {settings.topic(name)}"
        )
    if kind == COMPRESSED and is_compressed and publishers_of(node, base, RAW):
        return f"it has no publishers, but {base} carries {RAW}; {settings.transport('raw')}"
    if kind == COMPRESSED and is_compressed and publishers_of(node, base, COMPRESSED):
        return f"it has no publishers, but {_plain_compressed(base, settings)}"
    if kind == RAW and publishers_of(node, topics.compressed(topic), COMPRESSED):
        found = topics.compressed(topic)
        return f"it has no publishers, but {found} is there; {settings.transport('compressed')}"
    remedy = f"{settings.check_topic} and that the camera runs in the same ROS_DOMAIN_ID"
    if others := _topics_with(node, kind):
        remedy = (
            f"{settings.check_topic}: {_listed(others)} {'carries' if len(others) == 1 else 'carry'} {kind}"
        )
    return f"it has no publishers; {remedy}"


def _other_type(node: Node, topic: str, kind: str, found: str, settings: InputSettings) -> str:
    carries = f"{topic} carries {found}, not {kind.rpartition('/')[2]}"
    base, _, transport = topic.rpartition("/")
    if found == COMPRESSED and transport == "compressedDepth":
        return f"{carries}, and it is a depth image; use the camera's colour topic"
    if found == COMPRESSED and transport == "compressed":
        return f"{carries}; {settings.both('compressed', base)}"
    if found == COMPRESSED:
        return _plain_compressed(topic, settings, carries)
    if found == RAW:
        return f"{carries}; {settings.both('raw', topic)}"
    if found in _VIDEO:
        republish = f"ros2 run image_transport republish {_VIDEO[found]} raw"
        install = f"install {package} where this node runs, " if (package := _READ.get(found)) else ""
        return (
            f"{carries}, which is video; {install}use the camera's raw or compressed topic, or `{republish}`"
        )
    others = _topics_with(node, kind)
    where = f"; {_listed(others)} {'does' if len(others) == 1 else 'do'}" if others else ""
    return f"{carries}; {settings.topic(f'a topic that carries {kind}')}{where}"


def _plain_compressed(topic: str, settings: InputSettings, carries: str = "") -> str:
    """Explain a compressed image on a topic whose name does not end in that."""
    carries = carries or f"{topic} carries {COMPRESSED}"
    return f"{carries}; {settings.plain_compressed(topic)}"


def _topics_with(node: Node, kind: str) -> list[str]:
    """Names of the topics with that type that other nodes publish."""
    own = node.get_fully_qualified_name()
    topics = []
    for topic, types in node.get_topic_names_and_types():
        if kind not in types:
            continue
        nodes = {names_of([publisher]) for publisher in publishers_of(node, topic, kind)}
        if nodes - {own}:
            topics.append(topic)
    return sorted(topics)


def _differs(node: Node, topic: str, publisher: Any) -> bool:
    """Whether a publisher's type hash differs from ours; Humble has no hashes."""
    theirs = getattr(publisher, "topic_type_hash", None)
    own = node.get_fully_qualified_name()
    for subscription in node.get_subscriptions_info_by_topic(topic):
        ours = getattr(subscription, "topic_type_hash", None)
        is_own = names_of([subscription]) == own and subscription.topic_type == publisher.topic_type
        if is_own and ours is not None and theirs is not None and ours.version == theirs.version > 0:
            return bool(bytes(ours.value) != bytes(theirs.value))
    return False


def _name_of(endpoint: Any) -> str:
    if endpoint.node_name == _UNKNOWN:
        return "a node without a name"
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
