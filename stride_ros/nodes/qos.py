"""Quality of service of every topic."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy


def _profile(depth: int, *, reliable: bool, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT,
        durability=QoSDurabilityPolicy.TRANSIENT_LOCAL if latched else QoSDurabilityPolicy.VOLATILE,
    )


# Images that wait while the node is busy; more than one, so that the frame nearest to its due time is kept.
IMAGE_DEPTH = 5
# A reliable publisher matches both best-effort and reliable subscribers.
CAMERA_QOS = _profile(5, reliable=True)
FRAMES_QOS = _profile(5, reliable=True)
# Transient local, so that late subscribers receive the last messages.
SPAN_QOS = _profile(10, reliable=True, latched=True)
COMMENTARY_QOS = SPAN_QOS
# Deeper than the publishers' queue, so that no onset of a burst is lost while the responder works on it and
# on frames. No Fast DDS reader keeps more than this, unless its profile says so.
SPANS_HEARD_QOS = _profile(5000, reliable=True, latched=True)
# Deeper than most subscribers request: partial texts must not push the final one out before a subscriber is
# discovered, which may take the middleware a few seconds after a start.
COMMENTARY_KEPT_QOS = _profile(100, reliable=True, latched=True)
# As deep as the publisher's queue: commentary from just before the subscription counts, too.
FINALS_HEARD_QOS = COMMENTARY_KEPT_QOS
WINDOW_QOS = _profile(10, reliable=True)
# One message for each watch and camera comes at once: with a depth of ten, a delayed subscriber would miss
# some.
WINDOWS_KEPT_QOS = _profile(1000, reliable=True)
TEXT_QOS = _profile(10, reliable=True)
QUERY_QOS = _profile(10, reliable=True)
# Requests that wait while the node is busy, such as loading a model; the default depth is only ten.
SERVICES_QOS = _profile(100, reliable=True)
# Each tick has feedback for each goal, and all goals share one topic.
FEEDBACK_QOS = _profile(1000, reliable=True)
WATCHES_QOS = _profile(1, reliable=True, latched=True)
DEBUG_IMAGE_QOS = _profile(1, reliable=True)
DIAGNOSTICS_QOS = _profile(10, reliable=True)


def image_qos(offered: Sequence[QoSProfile]) -> QoSProfile:
    """Return the QoS to request from an image topic whose publishers offer these profiles.

    Reliable if all of them are: a raw image is many packets, and losing one packet loses the image. Transient
    local if all of them are, since such a camera may send a single image. Otherwise what matches all of them.
    """

    def all_offer(policy: str, value: object) -> bool:
        return bool(offered) and all(getattr(profile, policy) == value for profile in offered)

    return _profile(
        IMAGE_DEPTH,
        reliable=all_offer("reliability", QoSReliabilityPolicy.RELIABLE),
        latched=all_offer("durability", QoSDurabilityPolicy.TRANSIENT_LOCAL),
    )


def describe_qos(profile: QoSProfile) -> str:
    """Return a profile in words: reliable, volatile, depth 5."""
    names = (profile.reliability.name, profile.durability.name)
    return ", ".join([*(name.lower().replace("_", " ") for name in names), f"depth {profile.depth}"])


def loss_remedy(topic: str, subscription: QoSProfile) -> str:
    """What to do when images are lost on the way: a large image is many packets, and losing one loses it."""
    remedy = "for large images give the middleware larger buffers (docs/faults.md)"
    if subscription.reliability == QoSReliabilityPolicy.RELIABLE:
        return remedy
    return f"{remedy}, or let the camera publish {topic} reliably"
