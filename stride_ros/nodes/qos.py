"""Quality of service of every topic, and a plain-language check of what publishers offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.qos import (
    QoSCompatibility,
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from stride_ros.wording import counted, plural

if TYPE_CHECKING:
    from rclpy.node import Node


def _profile(depth: int, *, reliable: bool, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT,
        durability=QoSDurabilityPolicy.TRANSIENT_LOCAL if latched else QoSDurabilityPolicy.VOLATILE,
    )


# Best effort matches every publisher; depth 1 because only the newest frame counts.
IMAGE_QOS = _profile(1, reliable=False)
# A reliable publisher matches best-effort and reliable subscribers alike.
CAMERA_QOS = _profile(5, reliable=True)
FRAMES_QOS = _profile(5, reliable=True)
# Transient local, so that a late listener sees the last ones.
SPAN_QOS = _profile(10, reliable=True, latched=True)
COMMENTARY_QOS = SPAN_QOS
WINDOW_QOS = _profile(10, reliable=True)
TEXT_QOS = _profile(10, reliable=True)
QUERY_QOS = _profile(10, reliable=True)
DEBUG_IMAGE_QOS = _profile(1, reliable=True)
DIAGNOSTICS_QOS = _profile(10, reliable=True)


def image_subscription_overrides() -> QoSOverridingOptions:
    """Let users change an image subscription's QoS by `qos_overrides.<topic>.subscription.*` parameters."""
    return QoSOverridingOptions.with_default_policies()


def describe_publishers(node: Node, topic: str, subscription: QoSProfile) -> str:
    """Say in one sentence who publishes on a topic (fully resolved name) and whose QoS does not match."""
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return "nobody publishes it; check image_topic and that the camera runs in the same ROS_DOMAIN_ID"
    problems = []
    for publisher in publishers:
        verdict, reason = qos_check_compatible(publisher.qos_profile, subscription)
        if verdict == QoSCompatibility.ERROR:
            name = f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"
            problems.append(f"{name} offers an incompatible QoS ({reason.strip().rstrip(';.')})")
    if problems:
        return "; ".join(problems) + f"; set qos_overrides.{topic}.subscription.* to match"
    count = len(publishers)
    match = f"its {counted(count, 'publisher')} {plural(count, 'matches', 'match')} in QoS"
    return f"{match} but nothing arrives; check the camera, and {loss_remedy(topic)}"


def loss_remedy(topic: str) -> str:
    """What to do when images get lost on their way: a large one is many packets, and one lost loses it."""
    setting = f"qos_overrides.{topic}.subscription.reliability: reliable"
    return f"for large images set {setting}, or give the middleware larger buffers (docs/faults.md)"
