"""Parse launch arguments; errors are raised before anything is started."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from launch.logging import get_logger
from launch_ros.utilities import make_namespace_absolute, prefix_namespace
from rclpy.expand_topic_name import expand_topic_name
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_namespace import validate_namespace

from launch import LaunchContext
from stride_ros.errors import ConfigError
from stride_ros.parameters.cameras import check_cameras
from stride_ros.text import topics


def text(context: LaunchContext, name: str) -> str:
    """The value of an argument."""
    return str(context.launch_configurations[name])


def flag(context: LaunchContext, name: str) -> bool:
    """The value of an argument that is true or false."""
    return text(context, name) == "true"


def number(context: LaunchContext, name: str, unit: str) -> float:
    """The value of an argument that is a number and not negative. Raises ConfigError."""
    value = text(context, name)
    try:
        parsed = float(value)
    except ValueError:
        parsed = math.nan
    if not (math.isfinite(parsed) and parsed >= 0.0):
        raise ConfigError(f"{name} cannot be '{value}'; give {unit}, 0.0 or more.")
    return parsed


def namespace(context: LaunchContext) -> str:
    """The full namespace, including those pushed by including launch files. Raises ConfigError."""
    given = text(context, "namespace")
    pushed = context.launch_configurations.get("ros_namespace")
    full = str(make_namespace_absolute(prefix_namespace(pushed, given)) or "/")
    full = "/" + full.strip("/")
    try:
        validate_namespace(full)
    except Exception as error:
        raise ConfigError(
            f"namespace cannot be '{given}' ({_reason(error)}); use a name like front."
        ) from None
    return full


class Camera(NamedTuple):
    """One of several cameras: its image topic, without the transport, and the transport."""

    topic: str
    transport: str


def image_topic(context: LaunchContext, full_namespace: str) -> str:
    """The image topic as given. Raises ConfigError if it is not a topic name."""
    given = text(context, "image_topic")
    _check_topic("image_topic", given, full_namespace)
    return given


def cameras(context: LaunchContext, full_namespace: str) -> dict[str, Camera]:
    """The cameras by name; empty if there is only that of image_topic. Raises ConfigError."""
    found: dict[str, Camera] = {}
    for given in text(context, "cameras").replace(",", " ").split():
        name, separator, topic = given.partition(":=")
        if not (separator and name and topic):
            raise ConfigError(
                f"cameras cannot be '{given}'; write each as name:=topic, for example "
                "front:=/front/image_raw."
            )
        check_cameras([*found, name])
        _check_topic(f"The topic of {name}", topic, full_namespace)
        base = topic.removesuffix("/compressed")
        found[name] = Camera(base, "raw" if base == topic else "compressed")
    if found and text(context, "image_topic") != topics.CAMERA:
        raise ConfigError(
            "image_topic and cameras cannot both be given; leave out image_topic, and list its camera in "
            "cameras."
        )
    return found


def _check_topic(what: str, given: str, full_namespace: str) -> None:
    try:
        validate_full_topic_name(expand_topic_name(given, "activation", full_namespace))
    except Exception as error:
        message = f"{what} cannot be '{given}' ({_reason(error)}); use a name like {topics.CAMERA}."
        raise ConfigError(message) from None


def given_parameters(context: LaunchContext, parameters: dict[str, str]) -> dict[str, Any]:
    """Parameters (keys) whose launch arguments (values) are given, that is, not empty."""
    values = {parameter: text(context, argument) for parameter, argument in parameters.items()}
    return {name: value for name, value in values.items() if value}


def warn(sentence: str) -> None:
    """Log a warning about something that is probably not intended."""
    get_logger("launch").warning(sentence)


def _reason(error: Exception) -> str:
    return re.sub(r",? at /.*", "", str(error).splitlines()[0]).rstrip(":. ")
