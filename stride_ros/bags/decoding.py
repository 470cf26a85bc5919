"""Decode the messages of an image topic to pictures: decompress, deserialise, convert.

All functions raise FrameError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.intake import cdr_stamp
from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.bags.compression import decompress, kind_of
from stride_ros.bags.storage import BagMessage, StorageError
from stride_ros.bags.types import RAW_TYPES, WITHOUT_HEADER, deserialise
from stride_ros.bags.video import Packet, packet_of
from stride_ros.errors import FrameError
from stride_ros.imaging.images import compressed_to_rgb, image_to_rgb
from stride_ros.imaging.packets import holds_picture


def stamp_of(message: BagMessage) -> int:
    """The header's stamp in ns, read without deserialising the message."""
    data = _plain(message.data)
    if message.channel.encoding != "ros1":
        return cdr_stamp(data)
    try:
        # A sequence number comes first in a header.
        begin = 0 if message.channel.msgtype in WITHOUT_HEADER else 4
        seconds, nanoseconds = struct.unpack_from("<II", data, begin)
    except struct.error as error:
        raise FrameError("An image message is cut off; check its publisher or recorder.") from error
    return int(seconds) * NANOSECONDS + int(nanoseconds)


def picture_of(message: BagMessage) -> tuple[NDArray[np.uint8], str]:
    """Decode an image that is not a packet to (H, W, 3) uint8 RGB; also return its frame_id."""
    image = _deserialised(message)
    convert = image_to_rgb if message.channel.msgtype in RAW_TYPES else compressed_to_rgb
    with _fields_of(message):
        named = image if message.channel.msgtype in WITHOUT_HEADER else image.header
        return convert(image), str(named.frame_id)


def packet_in(message: BagMessage) -> Packet:
    """The packet of a video, or one that marks the message as a complete picture."""
    found = _deserialised(message)
    with _fields_of(message):
        return packet_of(found, message.channel.msgtype)


def check_packet(message: BagMessage) -> None:
    """Check whether a message may contain a picture, without decoding its packet."""
    packet = packet_in(message)
    if packet.codec is not None and not holds_picture(packet.codec, packet.data):
        raise FrameError("A packet of the video contains no picture; check its publisher.")


def _deserialised(message: BagMessage) -> Any:
    data = _plain(message.data)
    if not data:
        raise FrameError("An image message is empty; check its publisher or recorder.")
    try:
        return deserialise(message.channel, data)
    except Exception as error:  # deserialisers fail in many ways on data that is cut off
        raise FrameError("An image message cannot be deserialised; check its publisher.") from error


def _plain(data: bytes) -> bytes:
    """The message without its recorder's compression. Raises FrameError."""
    kind = kind_of(data)
    if not kind:
        return data
    try:
        unpacked, reason = decompress(data, kind)
    except StorageError as error:
        raise FrameError(f"A compressed message cannot be used: {error}.") from error
    if reason:
        raise FrameError(f"A compressed message is damaged ({reason}); record the bag again.")
    return unpacked


@contextmanager
def _fields_of(message: BagMessage) -> Iterator[None]:
    """Raise FrameError for missing fields: the definition in the file decides them, and may be damaged."""
    try:
        yield
    except FrameError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise FrameError(
            f"An image message lacks fields of {message.channel.msgtype}: its definition in the "
            "recording is damaged; record the bag again."
        ) from error
