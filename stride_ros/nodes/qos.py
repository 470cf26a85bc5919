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


# Images that wait while the node is busy; more than one, so that the frame nearest to its due time is there.
IMAGE_DEPTH = 5
# A reliable publisher matches best-effort and reliable subscribers alike.
CAMERA_QOS = _profile(5, reliable=True)
FRAMES_QOS = _profile(5, reliable=True)
# Transient local, so that a late listener sees the last ones.
SPAN_QOS = _profile(10, reliable=True, latched=True)
COMMENTARY_QOS = SPAN_QOS
# Deeper than what publishers keep, so that no onset of a burst is lost while the responder works on it and on
# frames. No reader of Fast DDS keeps more than this, unless its profile says so.
SPANS_HEARD_QOS = _profile(5000, reliable=True, latched=True)
# Deeper than what most listeners ask for: partial texts must not push the final one out before a listener is
# found, which takes the middleware up to some seconds after a start.
COMMENTARY_KEPT_QOS = _profile(100, reliable=True, latched=True)
# As much as is kept: what was said just before somebody wanted to know counts, too.
FINALS_HEARD_QOS = COMMENTARY_KEPT_QOS
WINDOW_QOS = _profile(10, reliable=True)
# One message for each watch and camera comes at once: by ten, a listener that is held up would lack some.
WINDOWS_KEPT_QOS = _profile(1000, reliable=True)
TEXT_QOS = _profile(10, reliable=True)
QUERY_QOS = _profile(10, reliable=True)
# Requests that wait while the node is busy, such as with loading a model; by default only ten do.
SERVICES_QOS = _profile(100, reliable=True)
# Each tick has feedback for each goal, and all goals have one topic.
FEEDBACK_QOS = _profile(1000, reliable=True)
WATCHES_QOS = _profile(1, reliable=True, latched=True)
DEBUG_IMAGE_QOS = _profile(1, reliable=True)
DIAGNOSTICS_QOS = _profile(10, reliable=True)


def image_qos(offered: Sequence[QoSProfile]) -> QoSProfile:
    """Return what to ask of an image topic whose publishers offer this.

    Reliable when all of them are: a raw image is many packets, and one that is lost loses it. Transient local
    when all of them are, since such a camera may send one image only. Otherwise what matches everybody.
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
    """What to do when images get lost on their way: a large one is many packets, and one lost loses it."""
    remedy = "for large images give the middleware larger buffers (docs/faults.md)"
    if subscription.reliability == QoSReliabilityPolicy.RELIABLE:
        return remedy
    return f"{remedy}, or let the camera publish {topic} reliably"
