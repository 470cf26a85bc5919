"""Read the images of one topic from a recording: rosbag2 (sqlite3, MCAP, compressed, split) or ROS 1."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
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
from stride_ros.bags.storage import EARLIEST, LATEST, BagMessage, Channel, Storage, StorageError
from stride_ros.bags.topics import choose
from stride_ros.bags.types import IMAGE, IMAGE_TYPES, READABLE, MessageDecoder
from stride_ros.errors import FrameError, SourceError
from stride_ros.imaging.images import compressed_to_rgb, image_to_rgb
from stride_ros.text.wording import time_label

__all__ = ["BagMessage", "BagReader"]

_VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm")


class BagReader:
    """An open recording, with one image topic chosen. Use it as a context manager.

    ``image_topic`` None takes the only image topic there is; of one that was recorded compressed only, the
    base name will do. ``option`` is what the user chooses it with, for messages. Raises SourceError when the
    recording cannot be opened, or has no such topic or no image on it.

    ``notes`` say what is odd about the recording; reading it may add some.
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
        """Messages on ``topics`` with ``start <= log time < stop`` (ns), in the order of the log.

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
            seconds, nanoseconds = struct.unpack_from("<II", data, 4)  # behind a sequence number
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
    ) -> Iterator[tuple[BagMessage, Reading]]:
        """The images between two log times (ns) with what counts as their stamps.

        ``intake`` judges them; its notes count what is odd. ``clock``: stamps of the "header" or the "log".
        All messages on ``topics`` are shown to ``other`` on the way.
        """
        for message in self.messages([self.image.topic, *topics], start, stop):
            if message.channel.topic in topics:
                other(message)
            if message.channel.topic != self.image.topic:
                continue
            try:
                # A log that begins at 0 has a time there, unlike a header.
                stamp = max(message.log_time, 1) if clock == "log" else self.stamp(message)
            except FrameError as error:
                intake.reject(error)
                continue
            if (reading := intake.read(stamp, message.log_time)) is not None:
                yield message, reading

    def frames(self, rate: float, notes: StreamNotes | None = None) -> Iterator[tuple[np.ndarray, float]]:
        """Images (H, W, 3) uint8 RGB, at most ``rate`` a second, with times in s from the first one.

        Images that cannot be used, and those whose time does not increase, are left out and counted in
        ``notes``.
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

    def decode(self, message: BagMessage) -> tuple[np.ndarray, str]:
        """An image as (H, W, 3) uint8 RGB, and its frame_id. Raises FrameError."""
        channel, data = message.channel, message.data
        if kind_of(data):
            data = _unpacked(data)
        decoder = self._decoders.setdefault(channel, MessageDecoder(channel))
        try:
            image: Any = decoder(data)
        except Exception as error:  # the deserialisers fail in many ways on data that is cut off
            raise FrameError("An image message cannot be deserialised; check its publisher.") from error
        convert = image_to_rgb if channel.msgtype == IMAGE else compressed_to_rgb
        return np.asarray(convert(image)), str(image.header.frame_id)

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


def _times(log_times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Log times (ns, ascending) as ns from the first; a step that is no pause counts as a usual one."""
    steps = np.diff(log_times.astype(np.float64))
    sane = (steps >= 0) & (steps <= LONGEST_PAUSE)
    usual = float(np.median(steps[sane])) if sane.any() else float(NANOSECONDS)
    exact = np.where(sane, np.diff(log_times), round(usual))
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(exact, dtype=np.int64)])


def _told(notes: Sequence[str]) -> str:
    return "".join(f" {note}" for note in notes)
