"""ROS messages without ROS: the type store of `rosbags` with this package's messages.

Stamps are integers in nanoseconds, images (H, W, 3) uint8 RGB arrays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stride_ros.errors import ConfigError, SourceError
from stride_ros.imaging.picture_file import encode_jpeg
from stride_ros.process.share import share_folders

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

SPAN = "stride_ros/msg/ActivationSpan"
WINDOW = "stride_ros/msg/ActivationWindow"
COMMENTARY = "stride_ros/msg/Commentary"
OWN = (SPAN, WINDOW, COMMENTARY)
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
STRING = "std_msgs/msg/String"


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """The common ROS 2 types and this package's own; raises an error with the remedy if they are missing."""
    try:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    except ImportError as error:
        raise ConfigError("Bags need the package 'rosbags'; install it with: pip install rosbags.") from error
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in OWN:
        text = (_message_folder() / f"{name.rpartition('/')[2]}.msg").read_text(encoding="utf-8")
        store.register(get_types_from_msg(text, name))
    return store


def _message_folder() -> Path:
    """The folder of the .msg files: in the source tree, a ROS workspace, or next to a pip installation."""
    for root in share_folders():
        if (root / "msg/ActivationSpan.msg").is_file():
            return root / "msg"
    raise SourceError(
        "The message definitions of stride_ros were not found; source the workspace or reinstall the package."
    )


def upgraded(message: Any) -> Any:
    """One of this package's messages in its current definition; fields that its recording lacks are empty.

    Definitions only grow at their end. Two definitions of one type in a bag would make it unreadable.
    """
    kind: Any = typestore().types[message.__msgtype__]
    empty = {"watch": "", "camera": "", "respond": True, "model": "", "onset": time(0), "frame_stamps": []}
    fields = (field.name for field in dataclasses.fields(kind) if field.init)
    return kind(**{name: getattr(message, name, empty.get(name)) for name in fields})


def header(stamp: int, frame_id: str) -> Any:
    """A std_msgs/Header; `stamp` in ns."""
    types = typestore().types
    return types["std_msgs/msg/Header"](stamp=time(stamp), frame_id=frame_id)


def time(stamp: int) -> Any:
    """A builtin_interfaces/Time; `stamp` in ns."""
    return typestore().types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)


def nanoseconds(stamp: Any) -> int:
    """The ns of a builtin_interfaces/Time."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def image(frame: np.ndarray, stamp: int, frame_id: str) -> Any:
    """A raw rgb8 Image."""
    height, width = frame.shape[:2]
    return typestore().types[IMAGE](
        header=header(stamp, frame_id),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=np.ascontiguousarray(frame).reshape(-1),
    )


def compressed_image(frame: np.ndarray, stamp: int, frame_id: str, quality: int = 90) -> Any:
    """A JPEG CompressedImage; `quality` 1 to 100."""
    return jpeg_image(encode_jpeg(frame, quality), stamp, frame_id)


def jpeg_image(jpeg: bytes, stamp: int, frame_id: str) -> Any:
    """A CompressedImage with this JPEG file."""
    return typestore().types[COMPRESSED_IMAGE](
        header=header(stamp, frame_id),
        format="rgb8; jpeg compressed bgr8",
        data=np.frombuffer(jpeg, np.uint8),
    )


def span(
    span_id: int,
    state: int,
    query: str,
    *,
    start: int,
    end: int,
    stamp: int,
    frame_id: str,
    confidence: float,
    onset: int,
    latency: float = 0.0,
    watch: str = "",
    camera: str = "",
    respond: bool = True,
    model: str = "",
) -> Any:
    """An ActivationSpan; `start`, `end`, `stamp` and `onset` in ns."""
    return typestore().types[SPAN](
        header=header(stamp, frame_id),
        span_id=span_id,
        state=int(state),
        query=query,
        start=time(start),
        end=time(end),
        confidence=confidence,
        latency=latency,
        watch=watch,
        camera=camera,
        respond=respond,
        model=model,
        onset=time(onset),
    )


def window(
    query: str,
    *,
    stamp: int,
    frame_id: str,
    resolution: float,
    labels: np.ndarray,
    probabilities: np.ndarray,
    steps: int,
    inference_time: float,
    watch: str = "",
) -> Any:
    """An ActivationWindow; `labels` (W,) uint8, `probabilities` (W,), times in s, `stamp` in ns."""
    return typestore().types[WINDOW](
        header=header(stamp, frame_id),
        query=query,
        resolution=resolution,
        labels=np.asarray(labels, np.uint8),
        probabilities=np.asarray(probabilities, np.float32),
        steps=min(steps, 255),
        inference_time=inference_time,
        watch=watch,
        camera="",
    )


def commentary(
    span_id: int,
    query: str,
    text: str,
    *,
    stamp: int,
    frame_id: str,
    model: str,
    final: bool = True,
    latency: float = 0.0,
    status: int = 0,
    error: str = "",
    watch: str = "",
    camera: str = "",
    frame_stamps: Sequence[int] = (),
) -> Any:
    """A Commentary; `stamp` and `frame_stamps` in ns, `latency` in s."""
    return typestore().types[COMMENTARY](
        header=header(stamp, frame_id),
        span_id=span_id,
        query=query,
        text=text,
        final=final,
        model=model,
        latency=latency,
        status=status,
        error=error,
        watch=watch,
        camera=camera,
        frame_stamps=[time(stamp) for stamp in frame_stamps],
    )
