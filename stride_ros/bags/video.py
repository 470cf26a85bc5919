"""Decode the video packets of a recorded topic in order, so that each picture is a message again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stride_ros.activation.sampling import NANOSECONDS, REORDER_TOLERANCE_NS
from stride_ros.bags.storage import BagMessage
from stride_ros.bags.types import COMPRESSED_IMAGE, COMPRESSED_VIDEO, FFMPEG_PACKET
from stride_ros.errors import FrameError
from stride_ros.imaging.packets import KNOWN, PacketDecoder, begins_decoding, codec_of, holds_picture

_KEPT = 64  # packets; no packet is in the decoder for that long
_REORDERED = 17  # consecutive packets whose stamps may be out of order: no codec here reorders more pictures


@dataclass(frozen=True)
class VideoMessage(BagMessage):
    """The message of a packet, in the order of the pictures.

    `received`: ns, when the picture at that position arrived. Packets arrive in decoding order, so the log
    times of B-frames go back and forth.
    """

    received: int = 0


@dataclass(frozen=True)
class PictureMessage(VideoMessage):
    """A message with the decoded picture of its packet, an av.VideoFrame."""

    picture: Any = None
    frame_id: str = ""
    packet: BagMessage | None = None  # the message as it was pushed


@dataclass(frozen=True)
class Packet:
    """The packet in a message; `codec` is None for a picture that is not a packet; `stamp` in ns."""

    codec: str | None
    data: bytes
    frame_id: str
    stamp: int = 0

    @property
    def is_key(self) -> bool:
        """Whether decoding can begin here."""
        return self.codec is not None and begins_decoding(self.codec, self.data)


def packet_of(message: Any, msgtype: str) -> Packet:
    """The packet in a deserialised message. Raises FrameError for an unknown codec."""
    if msgtype == COMPRESSED_VIDEO:
        name, frame_id, stamp = message.format, message.frame_id, message.timestamp
    else:
        name = message.encoding if msgtype == FFMPEG_PACKET else message.format
        frame_id, stamp = message.header.frame_id, message.header.stamp
    codec = codec_of(name)
    if codec == "mjpeg" and msgtype == COMPRESSED_IMAGE:
        codec = None  # complete pictures
    if codec is None and msgtype != COMPRESSED_IMAGE:
        raise FrameError(f"The video's encoding '{name[:40]}' is not supported; record it as {KNOWN}.")
    at = int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)
    return Packet(codec, bytes(memoryview(message.data)), str(frame_id), at)


class PacketStream:
    """Decodes the packets of one topic."""

    def __init__(self, read: Callable[[BagMessage], Packet], start: int) -> None:
        """`read` deserialises a message, or raises FrameError.

        Packets logged before `start` (ns) are decoded but not shown.
        """
        self._read, self._start = read, start
        self._decoder = PacketDecoder()
        self._count = 0
        self._waiting: dict[int, tuple[BagMessage, str]] = {}
        self._received: deque[int] = deque()  # ns, of the packets whose results are due
        self._stamps: deque[int] = deque(maxlen=_REORDERED)
        self._held: tuple[BagMessage, Packet] | None = None

    def push(self, message: BagMessage) -> Iterator[BagMessage | FrameError]:
        """Decode a message; return the pictures that are ready, and an error for each packet without one."""
        try:
            packet = self._read(message)
        except FrameError as error:
            if message.log_time >= self._start:
                yield error
            return
        if packet.codec is None:  # a complete picture among packets
            yield message
            return
        strayed = self._strayed(packet)
        if strayed and self._held is None:
            self._held = message, packet
            return
        if strayed:  # the second one: the decoder would use earlier pictures as references for these
            yield from self._told(self._decoder.flush())
            self._stamps.clear()
        yield from self._release()
        yield from self._decode(message, packet)

    def interrupt(self) -> Iterator[BagMessage | FrameError]:
        """Note that packets are missing; return pending pictures. Decoding continues at a key frame."""
        self._stamps.clear()
        yield from self.end()

    def end(self) -> Iterator[BagMessage | FrameError]:
        """Return the pictures that are still in the decoder."""
        yield from self._release()
        yield from self._told(self._decoder.flush())

    def _strayed(self, packet: Packet) -> bool:
        """Whether a packet may belong to a stream that started over, like a recording played in a loop.

        Such a packet waits for the next one, since a single packet may have a wrong stamp.

        At a key frame the decoder starts over by itself.
        """
        if packet.stamp <= 0:
            return False
        is_full = len(self._stamps) == _REORDERED
        if is_full and packet.stamp < min(self._stamps) - REORDER_TOLERANCE_NS:
            if not packet.is_key:
                return True
            self._stamps.clear()
        self._stamps.append(packet.stamp)
        return False

    def _release(self) -> Iterator[BagMessage | FrameError]:
        """Decode the waiting packet."""
        if self._held is not None:
            held, self._held = self._held, None
            yield from self._decode(*held)

    def _decode(self, message: BagMessage, packet: Packet) -> Iterator[BagMessage | FrameError]:
        assert packet.codec is not None, "complete pictures are not decoded here"
        self._count += 1
        self._waiting[self._count] = message, packet.frame_id
        if holds_picture(packet.codec, packet.data):
            self._received.append(message.log_time)
        try:
            yield from self._told(self._decoder.push(self._count, packet.codec, packet.data))
        except FrameError as error:  # there is no decoder
            self._received.clear()
            yield error
        # Parameter sets alone have no result.
        for number in [number for number in self._waiting if number < self._count - _KEPT]:
            del self._waiting[number]

    def _told(self, outcomes: Iterator[tuple[int, Any]]) -> Iterator[BagMessage | FrameError]:
        for number, outcome in outcomes:
            message, frame_id = self._waiting.pop(number)
            received = self._received.popleft() if self._received else message.log_time
            if message.log_time < self._start:
                continue
            if isinstance(outcome, FrameError):
                yield outcome
            else:
                yield PictureMessage(
                    message.channel, message.log_time, message.data, received, outcome, frame_id, message
                )
