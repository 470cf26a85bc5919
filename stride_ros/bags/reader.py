"""Read the images of one topic from a recording: rosbag2 (sqlite3, MCAP, compressed, split) or ROS 1."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.clock import Reading
from stride_ros.activation.intake import Intake
from stride_ros.activation.notes import StreamNotes
from stride_ros.bags.decoding import check_packet, packet_in, picture_of, stamp_of
from stride_ros.bags.files import VIDEO_SUFFIXES, open_recording
from stride_ros.bags.merging import Part, merged, parts_of
from stride_ros.bags.messages import typestore
from stride_ros.bags.patience import MOST_BARREN, Patience
from stride_ros.bags.storage import EARLIEST, LATEST, BagMessage, Channel, Storage
from stride_ros.bags.timeline import Timeline
from stride_ros.bags.topics import choose, in_brackets
from stride_ros.bags.types import COMPRESSED_IMAGE, IMAGE_TYPES, PACKET_TYPES, READABLE
from stride_ros.bags.video import PictureMessage, VideoMessage
from stride_ros.bags.video_topic import LEAD, VideoTopic, in_order
from stride_ros.errors import FrameError, SourceError
from stride_ros.imaging.video import frame_to_rgb
from stride_ros.text.wording import counted, time_label
from stride_ros.user_files.paths import given_path

__all__ = ["BagMessage", "BagReader"]

_FEW = 1000  # messages


class BagReader:
    """An open recording with a chosen image topic; a context manager.

    `image_topic` None takes the only image topic; for a topic that was only recorded compressed, the base
    name is enough. `option` is the name of the user's option for it, for messages. Raises SourceError if the
    recording cannot be opened, or has no such topic or no images on it.

    `notes` tell what is odd about the recording; reading may add some.
    """

    def __init__(
        self, path: str | Path, image_topic: str | None = None, *, option: str = "--image-topic"
    ) -> None:
        self.path = given_path(path)
        self._stack = ExitStack()
        try:
            self._storages, self._notes = _open(self.path, self._stack)
            channels = [channel for storage in self._storages for channel in storage.channels]
            if not any(channel.count for channel in channels):
                raise SourceError(f"{self.path} has no messages{in_brackets(self.notes)}; record it again.")
            self.image = choose(channels, image_topic, self.path, option, self.notes)
            self._notes += _other_channels(channels, self.image)
            self._parts: dict[tuple[str, ...], list[Part]] = {}  # of recently requested topics
            self._timeline = Timeline([part.log_times for part in self._parts_of((self.image.topic,))])
        except BaseException:
            self._stack.close()
            raise
        self._patience: Patience | None = None  # of the current reader

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
        """What was odd about the recording so far, one sentence each."""
        found = [*(note for storage in self._storages for note in storage.notes), *self._notes]
        return list(dict.fromkeys(found))

    @property
    def start(self) -> int:
        """Log time of the first image in ns."""
        return self._timeline.start

    @property
    def end(self) -> int:
        """Log time of the last image in ns."""
        return self._timeline.end

    @property
    def seconds(self) -> float:
        """Time of the last image (s) since the first one, by log time."""
        return self._timeline.seconds

    @property
    def rate(self) -> float:
        """Images per second, as usual in the recording."""
        return self._timeline.rate

    def until(self, newest: float) -> float:
        """When the recording is over, if its newest image is at `newest`; s from the first image."""
        return self._timeline.until(newest)

    @property
    def topics(self) -> dict[str, str]:
        """Types by topic."""
        return {channel.topic: channel.msgtype for storage in self._storages for channel in storage.channels}

    def part(self, start: float = 0.0, duration: float | None = None) -> tuple[int, int]:
        """Convert a part, in s from the first image, to its first and last log time (ns); all without limits.

        A change of the clock between two images does not count as time, nor does a log time of zero.
        """
        return self._timeline.part(start, duration)

    def time(self, log_time: int) -> float:
        """Convert a log time (ns) to s from the first image, as counted by `part`."""
        return self._timeline.time(log_time)

    def messages(
        self, topics: Sequence[str], start: int = EARLIEST, stop: int = LATEST
    ) -> Iterator[BagMessage]:
        """Messages on `topics` with `start <= log time < stop` (ns), by log time.

        Damaged ones are left out; `notes` then tell how many.
        """
        return merged(self._parts_of(tuple(topics)), start, stop)

    def stamp(self, message: BagMessage) -> int:
        """The header stamp of an image in ns, read without deserialising it; FrameError if cut off."""
        return stamp_of(message)

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
        """The images between two log times (ns), with the readings of their stamps.

        `intake` judges them; its notes count what is odd. `clock`: stamps from the "header" or the "log". All
        messages on `topics` are passed to `other` on the way.

        A video is decoded from the key frame before `start`, and the messages are its pictures in display
        order; packets that give no picture are counted as unusable. With `packets` they are not decoded, and
        come in the order of their stamps.
        """
        found: Iterator[BagMessage | FrameError] = self._pictures(start, stop, topics, other)
        if packets:
            probe = check_packet if self.is_video else picture_of
            plain = self._packets(start, stop, topics, other, probe)
            found = in_order(plain, self.stamp) if self.is_video else plain
        for message in found:
            if isinstance(message, FrameError):
                intake.reject(message)
                continue
            try:
                # A log that begins at 0 means that time, unlike a header.
                received = message.received if isinstance(message, VideoMessage) else message.log_time
                stamp = max(received, 1) if clock == "log" else self.stamp(message)
            except FrameError as error:
                intake.reject(error)
                continue
            if (reading := intake.read(stamp, received)) is not None:
                yield message, reading

    def _packets(
        self,
        start: int,
        stop: int,
        topics: Sequence[str],
        other: Callable[[BagMessage], None],
        probe: Callable[[BagMessage], object] | None,
    ) -> Iterator[BagMessage]:
        """The messages on the image topic. SourceError if very many have no picture."""
        patience = self._patience = Patience(self.image.topic, self.path, probe)
        for message in self.messages([self.image.topic, *topics], start, stop):
            if message.channel.topic in topics:
                other(message)
            if message.channel.topic == self.image.topic:
                patience.message(message)
                yield message

    def _pictures(
        self, start: int, stop: int, topics: Sequence[str], other: Callable[[BagMessage], None]
    ) -> Iterator[BagMessage | FrameError]:
        """The messages on the image topic, with the packets of a video decoded."""
        if not self.is_video:
            yield from self._packets(start, stop, topics, other, picture_of)
            return
        packets = self._packets(start, stop, topics, other, None)
        video = VideoTopic(self._image_messages, packet_in, self.start)
        for message in video.pictures(packets, start):
            if self._patience is not None:
                if isinstance(message, FrameError):
                    self._patience.failed(message)
                elif isinstance(message, PictureMessage):
                    self._patience.picture()
            yield message

    @cached_property
    def is_video(self) -> bool:
        """Whether the image topic has video packets, each of which needs those before it."""
        if self.image.msgtype != COMPRESSED_IMAGE:
            return self.image.msgtype in PACKET_TYPES
        longest = 0  # bytes of a message that does not tell
        for count, message in enumerate(self.messages([self.image.topic])):
            if count > MOST_BARREN:
                break
            if count > _FEW and len(message.data) <= longest:
                continue
            try:
                return packet_in(message).codec is not None
            except FrameError:
                longest = max(longest, len(message.data))
        return False

    def _image_messages(self, start: int, stop: int) -> Iterator[BagMessage]:
        return self.messages([self.image.topic], start, stop)

    def images_at(self, log_times: Collection[int]) -> dict[int, NDArray[np.uint8] | FrameError]:
        """The images with these log times (ns), (H, W, 3) uint8 RGB, or an error for each unusable one.

        Those of a video are decoded from the key frame before them, in one pass if they are near each other.
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
        """Images (H, W, 3) uint8 RGB, up to `rate` per second, with times in s from the first one.

        Images that cannot be used, and those whose time does not increase, are left out and counted in
        `notes`.
        """
        intake, origin = Intake(rate, notes), None
        for message, reading in self.images(intake):
            if reading.jump is not None:
                at = time_label(reading.time / 1e9)
                intake.notes.happened(f"At {at} {reading.jump}; times continue from there.")
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
        """Decode an image to (H, W, 3) uint8 RGB; also return its frame_id. Raises FrameError."""
        if isinstance(message, PictureMessage):
            found = frame_to_rgb(message.picture), message.frame_id
        else:
            found = picture_of(message)
        if self._patience is not None:
            self._patience.picture()
        return found

    def _parts_of(self, topics: tuple[str, ...]) -> list[Part]:
        if topics not in self._parts:
            self._parts = {topics: parts_of(self._storages, lambda s: self._channels(s, topics))}
        return self._parts[topics]

    def _channels(self, storage: Storage, topics: Sequence[str]) -> list[Channel]:
        """The channels of a file on these topics; for the image topic, only those with images."""
        return [
            channel
            for channel in storage.channels
            if channel.topic in topics and (channel.topic != self.image.topic or _is_readable(channel))
        ]


def _open(path: Path, stack: ExitStack) -> tuple[list[Storage], list[str]]:
    typestore()  # raises an error with the remedy if rosbags is missing
    if not path.exists():
        raise SourceError(f"There is no recording {path}; give the folder or file of a bag.")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise SourceError(
            f"{path} is a video, not a bag; watch it with `stride-ros demo --source {path}`, train on it "
            f"with --data video --video {path}, or make a bag from it with `stride-ros bag {path} BAG`."
        )
    return open_recording(path, stack)


def _other_channels(channels: Sequence[Channel], image: Channel) -> list[str]:
    """Notes on messages on the image topic that are not readable images."""
    notes = []
    for channel in channels:
        if channel.topic == image.topic and channel.count and not _is_readable(channel):
            kind = channel.schema_name or "no type"
            notes.append(
                f"{channel.topic} also has {counted(channel.count, 'message')} that cannot be read as images"
                f" ({kind}, {channel.encoding or 'unknown encoding'})."
            )
    return notes


def _is_readable(channel: Channel) -> bool:
    return channel.msgtype in IMAGE_TYPES and channel.encoding in READABLE
