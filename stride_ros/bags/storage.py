"""The interface of all storage files: channels, log times and messages."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

EARLIEST, LATEST = -(2**63), 2**63 - 1  # ns


class StorageError(Exception):
    """A storage file cannot be read; the message is the reason, without the file's name."""


@dataclass(eq=False)
class Channel:
    """A topic in one storage file.

    `msgtype` is spelt as in ROS 2 (sensor_msgs/msg/Image), `schema_name` as in the file. `encoding` is that
    of the messages (cdr, ros1, json ...), `schema_encoding` that of the definition `schema` (ros2msg,
    ros2idl, ros1msg, jsonschema ..., "" for none). `count`: number of messages.
    """

    number: int
    topic: str
    schema_name: str
    encoding: str
    schema_encoding: str = ""
    schema: bytes = b""
    digest: str = ""
    count: int = 0

    @property
    def msgtype(self) -> str:
        return ros_type(self.schema_name)


@dataclass(frozen=True)
class BagMessage:
    """One message, still serialised; `log_time` in ns."""

    channel: Channel
    log_time: int
    data: bytes


class Storage(Protocol):
    """One open storage file."""

    name: str  # of the file
    channels: list[Channel]
    notes: list[str]  # what was odd, one sentence each; reading may add more

    def span(self) -> tuple[int, int] | None:
        """Log times (ns) of the first and the last message; None if there is none or they are unknown."""

    def log_times(self, channels: Collection[Channel]) -> NDArray[np.int64]:
        """Log times (ns) of all messages of these channels, ascending."""

    def messages(self, channels: Collection[Channel], start: int, stop: int) -> Iterator[BagMessage]:
        """Messages with `start <= log time < stop` (ns), by log time; damaged ones are left out and noted."""

    def rest(self) -> None:
        """Release memory and the open file until more is requested."""

    def close(self) -> None:
        """Close the file."""


def ros_type(name: str) -> str:
    """Convert the name of a type to its ROS 2 spelling.

    sensor_msgs/Image and sensor_msgs::msg::dds_::Image_ become sensor_msgs/msg/Image. Other names are
    returned unchanged.
    """
    parts = name.replace("::", "/").split("/")
    if len(parts) > 2 and parts[-2] == "dds_":
        parts = [*parts[:-2], parts[-1].removesuffix("_")]
    if len(parts) == 2 and all(re.fullmatch(r"[A-Za-z]\w*", part) for part in parts):
        parts.insert(1, "msg")
    return "/".join(parts)
