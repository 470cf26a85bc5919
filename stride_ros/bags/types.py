"""Deserialise the images of a channel, even if its own definition is damaged."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from stride_ros.bags.storage import Channel

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
# Packets of a video stream, one per message.
COMPRESSED_VIDEO = "foxglove_msgs/msg/CompressedVideo"
FFMPEG_PACKET = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
# The types that Foxglove's tools record from a camera.
FOXGLOVE_RAW, FOXGLOVE_COMPRESSED = "foxglove_msgs/msg/RawImage", "foxglove_msgs/msg/CompressedImage"
RAW_TYPES = (IMAGE, FOXGLOVE_RAW)
WITHOUT_HEADER = (COMPRESSED_VIDEO, FOXGLOVE_RAW, FOXGLOVE_COMPRESSED)  # but with a stamp and frame_id
PACKET_TYPES = (COMPRESSED_VIDEO, FFMPEG_PACKET)
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE, FOXGLOVE_RAW, FOXGLOVE_COMPRESSED, *PACKET_TYPES)
READABLE = ("cdr", "ros1")  # encodings of messages
_FIELDS = {
    IMAGE: {"header", "height", "width", "encoding", "is_bigendian", "step", "data"},
    COMPRESSED_IMAGE: {"header", "format", "data"},
    COMPRESSED_VIDEO: {"frame_id", "data", "format"},
    FOXGLOVE_RAW: {"frame_id", "height", "width", "encoding", "step", "data"},
    FOXGLOVE_COMPRESSED: {"frame_id", "data", "format"},
    FFMPEG_PACKET: {"header", "encoding", "data"},
}
# Definitions of types that are not part of ROS, for recordings without them. ROS 1 uses `time` for the stamp.
_FOREIGN = {
    COMPRESSED_VIDEO: "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n",
    FOXGLOVE_RAW: "builtin_interfaces/Time timestamp\nstring frame_id\nuint32 width\nuint32 height\n"
    "string encoding\nuint32 step\nuint8[] data\n",
    FOXGLOVE_COMPRESSED: "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n",
    FFMPEG_PACKET: "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\n"
    "uint8 flags\nbool is_bigendian\nuint8[] data\n",
}
_RULE = "=" * 80 + "\n"


def deserialise(channel: Channel, data: bytes) -> Any:
    """A message of a channel, by its own definition or by the type's name.

    Raises the deserialiser's exception if the data is not one; those are of many types.
    """
    own = _own_types(channel.msgtype, channel.schema_encoding, channel.schema)
    if own is not None:
        try:
            return _read_with(own, channel, data)
        except Exception:  # a damaged definition may still be parsed
            pass
    return _read_with(common_types(channel.encoding == "ros1"), channel, data)


def _read_with(store: Typestore, channel: Channel, data: bytes) -> Any:
    return (store.deserialize_ros1 if channel.encoding == "ros1" else store.deserialize_cdr)(
        data, channel.msgtype
    )


@lru_cache(maxsize=2)
def common_types(ros1: bool = False) -> Typestore:
    """The types of ROS and those of video packets."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
    for name, text in _FOREIGN.items():
        store.register(get_types_from_msg(text, name))
    return store


# Parsing a definition takes as long as hundreds of messages. All splits of a recording have the same one, and
# mostly all recordings of a robot.
@lru_cache(maxsize=32)
def _own_types(msgtype: str, encoding: str, schema: bytes) -> Typestore | None:
    """The types from a channel's definition in this encoding; None if it cannot be used."""
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

    text = schema.decode("utf-8", "replace").replace("\r\n", "\n")
    types: dict[str, Any] = {}
    try:
        if encoding in ("ros2msg", "ros1msg"):
            types.update(get_types_from_msg(text, msgtype))
        elif encoding == "ros2idl":
            for part in text.split(_RULE):
                types.update(get_types_from_idl(part.partition("\n")[2] if part.startswith("IDL:") else part))
        if not _FIELDS.get(msgtype, set()) <= {name for name, _ in types[msgtype][1]}:
            return None
        store = get_typestore(Stores.EMPTY)
        store.register(types)
    except Exception:  # the parsers raise many types, also internal ones
        return None
    return store
