"""Read the video packets of a recorded topic in the order of the pictures, decoded or not."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

from stride_ros.activation.clock import JUMP
from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.bags.storage import BagMessage
from stride_ros.bags.video import Packet, PacketStream, VideoMessage
from stride_ros.errors import FrameError

LEAD = 10 * NANOSECONDS  # how far before a time to look for a key frame at first
_MOST_READ = 100_000  # packets to read for a key frame before a time; cameras send one every few seconds
_REORDERED = 16  # packets; no codec here reorders more pictures


class VideoTopic:
    """Finds key frames on a topic, and decodes its packets."""

    def __init__(
        self,
        messages: Callable[[int, int], Iterator[BagMessage]],
        read: Callable[[BagMessage], Packet],
        start: int,
    ) -> None:
        """`messages` returns those of the topic between two log times (ns).

        `read` deserialises one and may raise FrameError; `start` is the log time of the first (ns).
        """
        self._messages, self._read, self._start = messages, read, start

    def pictures(self, packets: Iterator[BagMessage], start: int) -> Iterator[BagMessage | FrameError]:
        """Decode packets that begin at log time `start` (ns), with the earlier packets they need."""
        stream = PacketStream(self._read, start)
        for message in chain(self._lead(start), packets):
            yield from stream.push(message)
        yield from stream.end()

    def _lead(self, start: int) -> Iterator[BagMessage]:
        """The packets from a key frame before a log time (ns) up to that time.

        It is the last but one key frame: pictures around a key frame may need the one before it.
        """
        if start <= self._start:
            return
        keys: list[int] = []
        reach, begin, read = LEAD, start, 0
        while begin > self._start and len(keys) < 2 and read < _MOST_READ:
            later, begin, reach = begin, max(self._start, start - reach), reach * 4
            found = []
            for message in self._messages(begin, later):
                read += 1
                if read > _MOST_READ:
                    break
                if self._is_key(message):
                    found.append(message.log_time)
            keys = [*found, *keys]
        yield from self._messages(keys[-2:][0] if keys else start, start)

    def _is_key(self, message: BagMessage) -> bool:
        try:
            return self._read(message).is_key
        except FrameError:
            return False


def in_order(packets: Iterator[BagMessage], stamp: Callable[[BagMessage], int]) -> Iterator[BagMessage]:
    """Packets in the order of their pictures, by their stamps, without decoding them.

    A packet whose stamp is far from those before it stays in its place, unless the next one shows that the
    clock was set: then earlier packets are not mixed with later ones. `stamp` (ns) may raise FrameError.
    """
    waiting: list[tuple[int, int, int, BagMessage]] = []  # number of times the clock was set, stamp, count
    received: deque[int] = deque()
    settings, newest = 0, 0
    doubted: tuple[int, int, BagMessage] | None = None  # stamp, count

    def next_one() -> VideoMessage:
        message = heapq.heappop(waiting)[3]
        return VideoMessage(message.channel, message.log_time, message.data, received.popleft())

    for count, message in enumerate(packets):
        try:
            at = stamp(message)
        except FrameError:
            yield message
            continue
        received.append(message.log_time)
        is_far = at <= 0 or (newest > 0 and abs(at - newest) > JUMP)
        if doubted is not None:
            if is_far and at > 0 and abs(at - doubted[0]) <= JUMP:
                settings, newest, is_far = settings + 1, doubted[0], False
            heapq.heappush(waiting, (settings, newest, *doubted[1:]))
            doubted = None
        if is_far and at > 0:
            doubted = at, count, message
        else:
            newest = at if at > 0 else newest
            heapq.heappush(waiting, (settings, newest, count, message))
        while len(waiting) > _REORDERED:
            yield next_one()
    if doubted is not None:
        heapq.heappush(waiting, (settings, newest, *doubted[1:]))
    while waiting:
        yield next_one()
