"""Read the images of one topic from a recording: rosbag2 (sqlite3, MCAP, compressed, split) or ROS 1."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.clock import LONGEST_PAUSE, Reading
from stride_ros.activation.intake import Intake, cdr_stamp
from stride_ros.activation.notes import StreamNotes
from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.bags.compression import decompress, kind_of
from stride_ros.bags.files import open_recording
from stride_ros.bags.messages import typestore
from stride_ros.bags.storage import (
    EARLIEST,
    LATEST,
    SHORTEST,
    BagMessage,
    Channel,
    Storage,
    StorageError,
)
from stride_ros.bags.topics import choose
from stride_ros.bags.types import (
    COMPRESSED_IMAGE,
    COMPRESSED_VIDEO,
    IMAGE,
    IMAGE_TYPES,
    PACKET_TYPES,
    READABLE,
    MessageDecoder,
)
from stride_ros.bags.video import Packet, PictureMessage, VideoMessage, packet_of
from stride_ros.bags.video_topic import LEAD, VideoTopic, in_order
from stride_ros.errors import FrameError, SourceError
from stride_ros.imaging.images import compressed_to_rgb, image_to_rgb
from stride_ros.imaging.video import frame_to_rgb
from stride_ros.text.wording import time_label

__all__ = ["BagMessage", "BagReader"]

_MOST_EMPTY = 100_000  # messages on an image topic without one, of which none will become a picture
_VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm")


class BagReader:
    """An open recording, with one image topic chosen. Use it as a context manager.

    `image_topic` None takes the only image topic there is; of one that was recorded compressed only, the
    base name will do. `option` is what the user chooses it with, for messages. Raises SourceError when the
    recording cannot be opened, or has no such topic or no image on it.

    `notes` say what is odd about the recording; reading it may add some.
    """

    def __init__(
        self, path: str | Path, image_topic: str | None = None, *, option: str = "--image-topic"
    ) -> None:
        self.path = Path(path)
        self._stack = ExitStack()
        try:
            self._storages, self._notes = _open(self.path, self._stack)
            channels = [channel for storage in self._storages for channel in storage.channels]
            if not any(channel.count for channel in channels):
                raise SourceError(f"{self.path} has no messages; record it again." + _told(self.notes))
            self.image = choose(channels, image_topic, self.path, option, self.notes)
            if sum(channel.empty for channel in channels if channel.topic == self.image.topic) > _MOST_EMPTY:
                raise self._emptiness()
            times = [s.log_times(self._channels(s, [self.image.topic])) for s in self._storages]
            self._log_times = np.sort(np.concatenate(times))
            self._times = _times(self._log_times)
        except BaseException:
            self._stack.close()
            raise
        self._decoders: dict[Channel, MessageDecoder] = {}

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._stack.close()

    @property
    def notes(self) -> list[str]:
        """What was odd about the recording so far, a sentence each."""
        found = [*(note for storage in self._storages for note in storage.notes), *self._notes]
        return list(dict.fromkeys(found))

    @property
    def start(self) -> int:
        """Log time of the first image in ns."""
        return int(self._log_times[0])

    @property
    def end(self) -> int:
        """Log time of the last image in ns."""
        return int(self._log_times[-1])

    @property
    def seconds(self) -> float:
        """Time of the last image in s from the first one, by the log."""
        return float(self._times[-1]) / 1e9

    @property
    def topics(self) -> dict[str, str]:
        """Types by topic."""
        return {channel.topic: channel.msgtype for storage in self._storages for channel in storage.channels}

    def part(self, start: float = 0.0, duration: float | None = None) -> tuple[int, int]:
        """The log times (ns) between which a part lies, in s from the first image; all of it without limits.

        A clock that was set between two images does not count as time, nor does a log time of zero.
        """
        first = np.searchsorted(self._times, round(start * 1e9))
        begin = EARLIEST if start <= 0 else self._log_times[first] if first < len(self._times) else LATEST
        stop = LATEST
        if duration is not None:
            end = np.searchsorted(self._times, round((start + duration) * 1e9))
            stop = self._log_times[end] if end < len(self._times) else LATEST
        return int(begin), int(stop)

    def time(self, log_time: int) -> float:
        """A log time (ns) in s from the first image, as `part` counts."""
        index = min(int(np.searchsorted(self._log_times, log_time)), len(self._times) - 1)
        return float(self._times[index]) / 1e9

    def messages(
        self, topics: Sequence[str], start: int = EARLIEST, stop: int = LATEST
    ) -> Iterator[BagMessage]:
        """Messages on `topics` with `start <= log time < stop` (ns), in the order of the log.

        Damaged ones are left out; `notes` then say how many.
        """
        found = [s.messages(self._channels(s, topics), start, stop) for s in self._storages]
        return heapq.merge(*found, key=lambda message: message.log_time)

    def stamp(self, message: BagMessage) -> int:
        """The header's stamp of an image in ns, read without deserialising it; FrameError when cut off."""
        data = message.data
        if kind_of(data):
            data = _unpacked(data)
        if message.channel.encoding != "ros1":
            return cdr_stamp(data)
        try:
            # A sequence number comes first in a header.
            begin = 0 if message.channel.msgtype == COMPRESSED_VIDEO else 4
            seconds, nanoseconds = struct.unpack_from("<II", data, begin)
        except struct.error as error:
            raise FrameError("An image message is cut off; check its publisher or recorder.") from error
        return int(seconds) * NANOSECONDS + int(nanoseconds)

    def images(
        self,
        intake: Intake,
        start: int = EARLIEST,
        stop: int = LATEST,
        *,
        topics: Sequence[str] = (),
        clock: str = "header",
        other: Callable[[BagMessage], None] = lambda message: None,
        packets: bool = False,
    ) -> Iterator[tuple[BagMessage, Reading]]:
        """The images between two log times (ns) with what counts as their stamps.

        `intake` judges them; its notes count what is odd. `clock`: stamps of the "header" or the "log". All
        messages on `topics` are shown to `other` on the way.

        A video is decoded from the key frame before `start` on, and the messages are its pictures in the
        order in which they are shown; packets of which none comes are counted as unusable. With `packets`
        they are not decoded, and come in the order of their stamps.
        """
        found: Iterator[BagMessage | FrameError] = self._pictures(start, stop, topics, other)
        if packets:
            plain = self._packets(start, stop, topics, other)
            found = in_order(plain, self.stamp) if self.is_video else plain
        for message in found:
            if isinstance(message, FrameError):
                intake.reject(message)
                continue
            try:
                # A log that begins at 0 has a time there, unlike a header.
                received = message.received if isinstance(message, VideoMessage) else message.log_time
                stamp = max(received, 1) if clock == "log" else self.stamp(message)
            except FrameError as error:
                intake.reject(error)
                continue
            if (reading := intake.read(stamp, received)) is not None:
                yield message, reading

    def _packets(
        self, start: int, stop: int, topics: Sequence[str], other: Callable[[BagMessage], None]
    ) -> Iterator[BagMessage]:
        """The messages on the image topic. SourceError when there are very many without an image."""
        empty = 0
        for message in self.messages([self.image.topic, *topics], start, stop):
            if message.channel.topic in topics:
                other(message)
            if message.channel.topic == self.image.topic:
                empty += len(message.data) < SHORTEST
                if empty > _MOST_EMPTY:
                    raise self._emptiness()
                yield message

    def _emptiness(self) -> SourceError:
        return SourceError(
            f"More than {_MOST_EMPTY:,} messages on {self.image.topic} of {self.path} are empty;"
            " record the camera again."
        )

    def _pictures(
        self, start: int, stop: int, topics: Sequence[str], other: Callable[[BagMessage], None]
    ) -> Iterator[BagMessage | FrameError]:
        """The same with the packets of a video decoded."""
        if not self.is_video:
            yield from self._packets(start, stop, topics, other)
            return
        packets = self._packets(start, stop, topics, other)
        yield from VideoTopic(self._image_messages, self._packet, self.start).pictures(packets, start)

    @cached_property
    def is_video(self) -> bool:
        """Whether the image topic has packets of a video, each of which needs those before it."""
        if self.image.msgtype != COMPRESSED_IMAGE:
            return self.image.msgtype in PACKET_TYPES
        for message in self.messages([self.image.topic]):
            try:
                return self._packet(message).codec is not None
            except FrameError:
                continue
        return False

    def _packet(self, message: BagMessage) -> Packet:
        found = self._deserialised(message)
        with _fields_of(message):
            return packet_of(found, message.channel.msgtype)

    def _image_messages(self, start: int, stop: int) -> Iterator[BagMessage]:
        return self.messages([self.image.topic], start, stop)

    def images_at(self, log_times: Collection[int]) -> dict[int, NDArray[np.uint8] | FrameError]:
        """The images with these log times (ns), (H, W, 3) uint8 RGB, or why one cannot be used.

        Those of a video are decoded from the key frame before on, in one go where they are near each other.
        """
        wanted = sorted(log_times)
        found: dict[int, NDArray[np.uint8] | FrameError] = {}
        for i, first in enumerate(wanted):
            if first in found:
                continue
            last = first
            if self.is_video:
                near = [a for a, b in zip(wanted[i:], wanted[i + 1 :], strict=False) if b - a > LEAD]
                last = near[0] if near else wanted[-1]
            for message in self._pictures(first, last + 1, (), lambda message: None):
                if isinstance(message, FrameError) or message.log_time in found:
                    continue
                if message.log_time in log_times:
                    try:
                        found[message.log_time] = self.decode(message)[0]
                    except FrameError as error:
                        found[message.log_time] = error
            for log_time in wanted[i:]:
                if log_time <= last:
                    found.setdefault(log_time, FrameError("The image is damaged; leave it out."))
        return found

    def frames(
        self, rate: float, notes: StreamNotes | None = None
    ) -> Iterator[tuple[NDArray[np.uint8], float]]:
        """Images (H, W, 3) uint8 RGB, at most `rate` a second, with times in s from the first one.

        Images that cannot be used, and those whose time does not increase, are left out and counted in
        `notes`.
        """
        intake, origin = Intake(rate, notes), None
        for message, reading in self.images(intake):
            if reading.jump is not None:
                at = time_label(reading.time / 1e9)
                intake.notes.happened(f"At {at} {reading.jump}; times count on from there.")
            if not intake.is_due(reading):
                continue
            try:
                image, _ = self.decode(message)
            except FrameError as error:
                intake.notes.reject(error)
                continue
            origin = reading.time if origin is None else origin
            yield image, (reading.time - origin) / 1e9

    def decode(self, message: BagMessage) -> tuple[NDArray[np.uint8], str]:
        """An image as (H, W, 3) uint8 RGB, and its frame_id. Raises FrameError."""
        if isinstance(message, PictureMessage):
            return frame_to_rgb(message.picture), message.frame_id
        image = self._deserialised(message)
        convert = image_to_rgb if message.channel.msgtype == IMAGE else compressed_to_rgb
        with _fields_of(message):
            return convert(image), str(image.header.frame_id)

    def _deserialised(self, message: BagMessage) -> Any:
        channel, data = message.channel, message.data
        if kind_of(data):
            data = _unpacked(data)
        decoder = self._decoders.setdefault(channel, MessageDecoder(channel))
        try:
            return decoder(data)
        except Exception as error:  # the deserialisers fail in many ways on data that is cut off
            raise FrameError("An image message cannot be deserialised; check its publisher.") from error

    def _channels(self, storage: Storage, topics: Sequence[str]) -> list[Channel]:
        """The channels of a file on these topics; of the image topic only those with images."""
        return [
            channel
            for channel in storage.channels
            if channel.topic in topics
            and (
                channel.topic != self.image.topic
                or (channel.msgtype in IMAGE_TYPES and channel.encoding in READABLE)
            )
        ]


def _open(path: Path, stack: ExitStack) -> tuple[list[Storage], list[str]]:
    typestore()  # says what to install when rosbags is missing
    if not path.exists():
        raise SourceError(f"There is no recording {path}; give the folder or file of a bag.")
    if path.suffix.lower() in _VIDEOS:
        raise SourceError(
            f"{path} is a video, not a bag; watch it with `stride-ros demo --source {path}`, or make a bag"
            f" of it with `stride-ros bag {path} BAG`."
        )
    return open_recording(path, stack)


def _unpacked(data: bytes) -> bytes:
    """A message that its recorder compressed. Raises FrameError."""
    try:
        unpacked, reason = decompress(data, kind_of(data))
    except StorageError as error:
        raise FrameError(f"A compressed message cannot be used: {error}.") from error
    if reason:
        raise FrameError(f"A compressed message is damaged ({reason}); record the bag again.")
    return unpacked


@contextmanager
def _fields_of(message: BagMessage) -> Iterator[None]:
    """The definition in the file decides which fields a message has, and it may be damaged: FrameError."""
    try:
        yield
    except FrameError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise FrameError(
            f"An image message lacks fields of {message.channel.msgtype}: its definition in the "
            "recording is damaged; record the bag again."
        ) from error


def _times(log_times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Log times (ns, ascending) as ns from the first; a step that is no pause counts as a usual one."""
    steps = np.diff(log_times.astype(np.float64))
    sane = (steps >= 0) & (steps <= LONGEST_PAUSE)
    usual = float(np.median(steps[sane])) if sane.any() else float(NANOSECONDS)
    exact = np.where(sane, np.diff(log_times), round(usual))
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(exact, dtype=np.int64)])


def _told(notes: Sequence[str]) -> str:
    return "".join(f" {note}" for note in notes)
