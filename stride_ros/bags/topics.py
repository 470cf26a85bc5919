"""Choose the image topic of a recording, or explain why that is not possible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from stride_ros.bags.storage import Channel
from stride_ros.bags.types import IMAGE_TYPES, PACKET_TYPES, READABLE
from stride_ros.errors import SourceError

_LISTED = 10
# Suffixes that image_transport's plugins append to the name of a camera's topic.
_TRANSPORTS = ("compressed", "ffmpeg", "foxglove")
# Types of video packets that cannot be read, by the last part of their name.
_VIDEO_PACKETS = ("CompressedVideo", "FFMPEGPacket")
_THEORA = "theora_image_transport/msg/Packet"
# Images that are not ROS messages but, for example, protobuf or JSON, by the last part of their type.
_IMAGES = ("Image", "CompressedImage", "RawImage")


def choose(
    channels: Sequence[Channel], topic: str | None, path: Path, option: str, notes: Sequence[str]
) -> Channel:
    """The channel with the images of `topic` (None: the only one). `option`: the user's option for it.

    Raises SourceError if there is none, or more than one to choose from.
    """
    images = [channel for channel in channels if channel.msgtype in IMAGE_TYPES]
    usable = [channel for channel in images if channel.encoding in READABLE]
    recorded = [channel for channel in usable if channel.count]
    names = list(dict.fromkeys(sorted(channel.topic for channel in recorded)))
    if topic is not None:
        return _named("/" + topic.strip("/"), channels, names, path, notes)
    pictures = [channel for channel in recorded if channel.msgtype not in PACKET_TYPES]
    if len({channel.topic for channel in pictures}) == 1:
        return pictures[0]  # there may also be a video of the same camera
    if len(names) == 1:
        return next(channel for channel in recorded if channel.topic == names[0])
    if names:
        raise SourceError(f"{path} has {len(names)} image topics ({_list(names)}); choose one with {option}.")
    if usable:
        raise SourceError(
            f"{path} has no images on {_list(sorted({c.topic for c in usable}))}{in_brackets(notes)};"
            " record it again."
        )
    if images:
        raise _unreadable(images[0])
    raise SourceError(f"{path} has no image topic{in_brackets(notes)}; {_instead(channels)}")


def _named(
    topic: str, channels: Sequence[Channel], names: Sequence[str], path: Path, notes: Sequence[str]
) -> Channel:
    there = [channel for channel in channels if channel.topic.strip("/") == topic.strip("/")]
    if not any(channel.msgtype in IMAGE_TYPES for channel in there):
        for transport in _TRANSPORTS:  # as named by image_transport
            found = [c for c in channels if c.topic.strip("/") == f"{topic}/{transport}".strip("/")]
            if any(channel.msgtype in IMAGE_TYPES for channel in found):
                there = found
                break
    images = [channel for channel in there if channel.msgtype in IMAGE_TYPES]
    choice = f"choose one of its image topics: {_list(names)}." if names else _instead(channels)
    if not there:
        raise SourceError(f"{path} has no topic {topic}; {choice}")
    if not images:
        raise SourceError(f"{topic} carries {there[0].msgtype or there[0].encoding}, not images; {choice}")
    usable = [channel for channel in images if channel.encoding in READABLE]
    if not usable:
        raise _unreadable(images[0])
    recorded = [channel for channel in usable if channel.count]
    if not recorded:
        other = f"record it again or {choice}" if names else "record it again."
        raise SourceError(f"{path} has no images on {usable[0].topic}{in_brackets(notes)}; {other}")
    return recorded[0]


def _unreadable(channel: Channel) -> SourceError:
    return SourceError(
        f"The images on {channel.topic} ({channel.schema_name}) are encoded as"
        f" '{channel.encoding or 'nothing known'}', which cannot be read; record them as ROS messages (cdr)."
    )


def _instead(channels: Sequence[Channel]) -> str:
    """What a recording without images contains, with the remedy."""
    video = next((c for c in channels if _last_part(c) in _VIDEO_PACKETS or c.msgtype == _THEORA), None)
    if video is not None:
        return (
            f"{video.topic} carries packets of a video ({video.msgtype}), which must be decoded first:"
            " republish them as images and record those."
        )
    if not channels:
        return "it has no topics at all."
    image = next((c for c in channels if _last_part(c) in _IMAGES and c.encoding not in READABLE), None)
    remedy = "record the camera too."
    if image is not None:
        kind = image.encoding or "an unknown encoding"
        remedy = f"images in {kind} cannot be read, so record them as ROS messages (cdr)."
    return f"it has {_list(sorted({_described(channel) for channel in channels}))}; {remedy}"


def _last_part(channel: Channel) -> str:
    return channel.msgtype.replace(".", "/").rpartition("/")[2]


def _described(channel: Channel) -> str:
    encoding = "" if channel.encoding in READABLE else f", {channel.encoding or 'unknown encoding'}"
    return f"{channel.topic} ({channel.msgtype or 'no type'}{encoding})"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def in_brackets(notes: Iterable[str]) -> str:
    """What is odd about a recording, in the middle of the sentence about what it lacks."""
    told = "; ".join(note.rstrip(".") for note in notes)
    return f" ({told})" if told else ""
