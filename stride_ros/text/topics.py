"""Names of the topics, each written once: nodes, launch files, recordings and tools take them from here.

A name without a leading slash is relative: it stands under the namespace of the node.
"""

from __future__ import annotations

import re

NAMESPACE = "stride"  # default of the launch files; the demo and recorded results use it too
CAMERA = "/camera/image_raw"  # default camera topic of the launch files and of bags that are written

IMAGE = "image"  # input of the activation node, output of the camera node
CAMERA_INFO = "camera_info"
GROUND_TRUTH = "ground_truth"  # what happens in a synthetic world
GROUND_TRUTH_COMMENTARY = "ground_truth/commentary"
QUERY = "query"
WATCHES = "watches"
DESCRIBE = "describe"  # an action
WAIT_FOR_EVENT = "wait_for_event"  # an action
FRAMES = "frames"
SPAN = "activation/span"
WINDOW = "activation/window"
PICTURE = "activation/image"
COMMENTARY = "commentary"
COMMENTARY_TEXT = "commentary/text"
EVENT_PICTURE = "event"  # thumbnails in exports of the event log
DIAGNOSTICS = "/diagnostics"

RESULTS = (FRAMES, WINDOW, SPAN, COMMENTARY)  # what a replay writes and a recording of the nodes keeps


_NAME = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


def is_name(topic: str) -> bool:
    """Whether ROS accepts this as the name of a topic, absolute or relative, without substitutions."""
    return len(topic) <= 240 and _NAME.fullmatch(topic) is not None


def of_camera(camera: str, topic: str) -> str:
    """Return what a topic of one camera is called; the only camera of a node has no name."""
    return f"{camera}/{topic}" if camera else topic


def compressed(image_topic: str) -> str:
    """Return the topic of an image topic's JPEGs, as image_transport names it."""
    return f"{image_topic}/compressed"


def under(namespace: str, topic: str) -> str:
    """Return the full name of a relative topic in a namespace; an absolute one stays as it is."""
    return topic if topic.startswith("/") else f"/{namespace.strip('/')}/{topic}".replace("//", "/")
