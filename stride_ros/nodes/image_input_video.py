"""Video packets on an image topic: all are decoded in order in a separate thread, whatever is due."""

from __future__ import annotations

import importlib
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stride_ros.bags.storage import EARLIEST, BagMessage
from stride_ros.bags.types import COMPRESSED_VIDEO, FFMPEG_PACKET
from stride_ros.bags.video import Packet, PacketStream
from stride_ros.errors import FrameError
from stride_ros.imaging.packets import codec_of

if TYPE_CHECKING:
    from rclpy.node import Node

_MOST_PACKETS = 60  # waiting packets: two seconds of a fast camera; later decisions would be useless
_MOST_BYTES = 64_000_000  # in them
_MOST_PICTURES = 2  # decoded pictures that wait for the executor
_PATIENCE = 1.0  # s to wait for a decoder that is busy with a packet


@dataclass(frozen=True)
class LivePacket(BagMessage):
    """A message with a packet. `log_time`: the node's clock on its arrival, ns.

    `arrival`: the same by time.monotonic(), s. `epoch`: number of restarts of the input before it.
    """

    arrival: float
    epoch: int


class LivePackets:
    """A queue of packets, the thread that decodes them, and the pictures' way back to the executor.

    The queue is bounded. When the decoder cannot keep up, all waiting packets are dropped at once and
    decoding continues at the next key frame, so that pictures are never later than the length of the queue.
    """

    def __init__(
        self,
        node: Node,
        read: Callable[[BagMessage], Packet],
        show: Callable[[BagMessage | FrameError], None],
    ) -> None:
        """`read` deserialises a message, or raises FrameError.

        `show` is called in the executor's thread with each picture (see `PacketStream`), and with an error
        for each packet that gives none.
        """
        self._node, self._show = node, show
        self._stream = PacketStream(read, EARLIEST)
        self._wake = threading.Condition()
        self._packets: deque[LivePacket | None] = deque()  # None: packets are missing here
        self._bytes = 0
        self._outcomes: deque[BagMessage | FrameError] = deque()
        self._rest: list[BagMessage | FrameError] = []  # results without a place in the queue at the end
        self._busy = 0  # packets that are being decoded, and results that are being shown
        self._stopping = False
        self._guard = node.create_guard_condition(self._deliver)
        self._thread = threading.Thread(target=self._run, name="stride-video", daemon=True)
        self._thread.start()

    def push(self, packet: LivePacket) -> int:
        """Queue a packet; return how many were dropped to make room."""
        with self._wake:
            dropped = 0
            if len(self._packets) >= _MOST_PACKETS or self._bytes + len(packet.data) > _MOST_BYTES:
                dropped = sum(waiting is not None for waiting in self._packets)
                self._packets.clear()
                self._packets.append(None)
                self._bytes = 0
            self._packets.append(packet)
            self._bytes += len(packet.data)
            self._wake.notify_all()
        return dropped

    def interrupt(self) -> None:
        """Note that packets are missing before the next one, which makes the decoder wait for a key frame."""
        with self._wake:
            if not self._packets or self._packets[-1] is not None:
                self._packets.append(None)
                self._wake.notify_all()

    @property
    def is_idle(self) -> bool:
        """Whether everything that was pushed has been decoded and shown."""
        with self._wake:
            return not (self._packets or self._outcomes or self._busy)

    def destroy(self) -> int:
        """End the thread and show what was decoded; a hanging decoder is left behind.

        Returns the number of packets without a result.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._thread.join(_PATIENCE)
        self._node.destroy_guard_condition(self._guard)
        if not self._thread.is_alive():
            for outcome in [*self._outcomes, *self._rest, *self._decoded(None)]:
                self._show(outcome)
        waiting = sum(packet is not None for packet in self._packets)
        return waiting + (self._busy if self._thread.is_alive() else 0)

    # The executor's thread

    def _deliver(self) -> None:
        for _ in range(_MOST_PICTURES):
            with self._wake:
                if self._stopping or not self._outcomes:
                    return
                outcome = self._outcomes.popleft()
                self._busy += 1
                self._wake.notify_all()
            self._show(outcome)
            with self._wake:
                self._busy -= 1

    # The decoder's thread

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._packets or self._stopping)
                if self._stopping:
                    return
                packet = self._packets.popleft()
                self._busy += 1
                self._bytes -= len(packet.data) if packet is not None else 0
            outcomes = self._decoded(packet)
            for outcome in outcomes:
                with self._wake:
                    self._wake.wait_for(lambda: len(self._outcomes) < _MOST_PICTURES or self._stopping)
                    if self._stopping:
                        self._rest = [outcome, *outcomes]
                        return
                    self._outcomes.append(outcome)
                    self._guard.trigger()
            with self._wake:
                self._busy -= 1

    def _decoded(self, packet: LivePacket | None) -> Iterator[BagMessage | FrameError]:
        try:
            yield from self._stream.interrupt() if packet is None else self._stream.push(packet)
        except Exception as error:  # one packet must not end the thread
            yield FrameError(f"A video packet cannot be decoded ({error}); check the camera's encoder.")


def carries_packet(data: bytes) -> bool:
    """Whether a serialised CompressedImage holds a video packet, according to its `format`."""
    return codec_of(_cdr_format(data)) not in (None, "mjpeg")


def packet_class(kind: str) -> Any | None:
    """The class of a video packet type; None for other types, or if its package is not installed."""
    if kind not in (COMPRESSED_VIDEO, FFMPEG_PACKET):
        return None
    package, _, name = kind.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        return None


def _cdr_format(data: bytes) -> str:
    """Read `CompressedImage.format` without deserialising the image; empty if cut off."""
    try:
        order = "<I" if data[1] & 1 else ">I"
        (length,) = struct.unpack_from(order, data, 12)  # of frame_id, which follows the stamp
        begin = 16 + length + -length % 4
        (length,) = struct.unpack_from(order, data, begin)
    except (struct.error, IndexError):
        return ""
    return bytes(data[begin + 4 : begin + 4 + length]).rstrip(b"\0").decode("utf-8", "replace")
