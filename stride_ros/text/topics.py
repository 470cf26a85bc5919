"""The names of the topics, each defined once, for nodes, launch files, recordings and tools.

A name without a leading slash is relative to the namespace of the node.
"""

from __future__ import annotations

import re

NAMESPACE = "stride"  # default of the launch files; also used by the demo and recorded results
CAMERA = "/camera/image_raw"  # default camera topic of the launch files and of written bags

IMAGE = "image"  # input of the activation node, output of the camera node
CAMERA_INFO = "camera_info"
GROUND_TRUTH = "ground_truth"  # the events of a synthetic world
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

RESULTS = (FRAMES, WINDOW, SPAN, COMMENTARY)  # topics written by a replay and by a recording of the nodes


_NAME = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


def is_name(topic: str) -> bool:
    """Whether ROS accepts this as the name of a topic, absolute or relative, without substitutions."""
    return len(topic) <= 240 and _NAME.fullmatch(topic) is not None


def of_camera(camera: str, topic: str) -> str:
    """Return the name of a camera's topic; the only camera of a node may have no name."""
    return f"{camera}/{topic}" if camera else topic


def compressed(image_topic: str) -> str:
    """Return the topic of an image topic's JPEGs, as named by image_transport."""
    return f"{image_topic}/compressed"


def under(namespace: str, topic: str) -> str:
    """Return the full name of a relative topic in a namespace; an absolute one is unchanged."""
    return topic if topic.startswith("/") else f"/{namespace.strip('/')}/{topic}".replace("//", "/")
