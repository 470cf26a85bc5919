"""Read the images of one topic from a recording: rosbag2 (sqlite3, MCAP, compressed, split) or ROS 1."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from stride_ros.errors import FrameError, SourceError
from stride_ros.nodes.images import compressed_to_rgb, image_to_rgb
from stride_ros.nodes.sampling import Sampler, Verdict
from stride_ros.replay.mcap_repair import RepairedMcap, is_cut_off
from stride_ros.replay.messages import COMPRESSED_IMAGE, IMAGE, typestore

if TYPE_CHECKING:
    from rosbags.highlevel import AnyReader
    from rosbags.interfaces import Connection

_IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)
_VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm")


@dataclass(frozen=True)
class BagMessage:
    """One message, still serialised; ``log_time`` in ns."""

    connection: Connection
    log_time: int
    data: bytes


class BagReader:
    """An open recording, with one image topic chosen. Use it as a context manager.

    ``image_topic`` None takes the only image topic there is; of one that was recorded compressed only, the
    base name will do. Raises SourceError when the recording cannot be
    opened, or has no such topic or no image on it.
    """

    def __init__(self, path: str | Path, image_topic: str | None = None) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        self._reader = _open(self.path, self.notes)
        try:
            self.image = _choose(self._reader.connections, image_topic, self.path)
        except BaseException:
            self._reader.close()
            raise
        self.ros1 = not self._reader.is2

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    @property
    def start(self) -> int:
        """Log time of the first message in ns."""
        return int(self._reader.start_time)

    @property
    def end(self) -> int:
        """Log time of the last message in ns."""
        return int(self._reader.end_time) - 1

    @property
    def topics(self) -> dict[str, str]:
        """Types by topic."""
        return {connection.topic: connection.msgtype for connection in self._reader.connections}

    def messages(self, topics: Sequence[str], start: int, stop: int) -> Iterator[BagMessage]:
        """Messages on ``topics`` with ``start <= log time < stop`` (ns), in the order of the log.

        Damage ends the iteration with a note in `notes`; what came before is good.
        """
        chosen = [connection for connection in self._reader.connections if connection.topic in topics]
        newest = start
        try:
            for connection, log_time, data in self._reader.messages(chosen, start, stop):
                newest = max(newest, log_time)
                yield BagMessage(connection, log_time, bytes(data))
        except GeneratorExit:
            raise
        except Exception as error:  # each storage and each compression raises its own types
            self.notes.append(
                f"The recording breaks off {(newest - self.start) / 1e9:.1f} s after its start"
                f" ({_reason(error)}); what came before was used."
            )

    def stamp(self, message: BagMessage) -> int:
        """The header's stamp of an image in ns, read without deserialising it; FrameError when cut off."""
        data = message.data
        try:
            if self.ros1:  # a sequence number, then the stamp
                seconds, nanoseconds = struct.unpack_from("<II", data, 4)
            else:  # four bytes of CDR, of which the second tells the byte order, then the stamp
                seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
        except (struct.error, IndexError) as error:
            raise FrameError("An image message is cut off; record the bag again.") from error
        return int(seconds) * 10**9 + int(nanoseconds)

    def frames(self, rate: float) -> Iterator[tuple[np.ndarray, float]]:
        """Images (H, W, 3) uint8 RGB, at most ``rate`` a second, with times in s from the first one.

        Images that cannot be used, and those whose time does not increase, are left out.
        """
        sampler, origin = Sampler(rate), None
        for message in self.messages([self.image.topic], self.start, self.end + 1):
            try:
                stamp = self.stamp(message) or message.log_time
                if sampler.offer(stamp) is not Verdict.KEEP:
                    continue
                image, _ = self.decode(message)
            except FrameError:
                continue
            origin = stamp if origin is None else origin
            yield image, (stamp - origin) / 1e9

    def deserialize(self, message: BagMessage) -> Any:
        """The message as an object, by the definition in the recording. Raises SourceError."""
        try:
            return self._reader.deserialize(message.data, message.connection.msgtype)
        except Exception as error:  # the deserialisers fail in many ways on data that is cut off
            raise SourceError(
                f"A message on {message.connection.topic} cannot be deserialised; leave the topic out."
            ) from error

    def decode(self, message: BagMessage) -> tuple[np.ndarray, str]:
        """An image as (H, W, 3) uint8 RGB, and its frame_id. Raises FrameError."""
        try:
            image = self.deserialize(message)
        except SourceError as error:
            raise FrameError("An image message cannot be deserialised; check its publisher.") from error
        convert = image_to_rgb if message.connection.msgtype == IMAGE else compressed_to_rgb
        return np.asarray(convert(image)), str(image.header.frame_id)


def _open(path: Path, notes: list[str]) -> AnyReader:
    store = typestore()  # says what to install when rosbags is missing
    from rosbags.highlevel import AnyReader

    if not path.exists():
        raise SourceError(f"There is no recording {path}; give the folder or file of a bag.")
    if path.suffix.lower() in _VIDEOS:
        raise SourceError(
            f"{path} is a video, not a bag; watch it with `stride-ros demo --source {path}`, or make a bag"
            f" of it with `stride-ros bag {path} BAG`."
        )
    try:
        reader = AnyReader(_files(path, notes), default_typestore=store)
        reader.open()
    except SourceError:
        raise
    except Exception as error:  # rosbags, sqlite, the decompressors and YAML raise their own types
        if "ompression" in str(error):
            raise SourceError(
                f"{path} cannot be read ({_reason(error)}); rewrite it with"
                " `ros2 bag convert`, as zstd or plain."
            ) from error
        raise SourceError(
            f"{path} cannot be read ({_reason(error)}); check that it is a bag, or repair it with"
            " `ros2 bag reindex` or `mcap recover`."
        ) from error
    if not reader.message_count:
        reader.close()
        raise SourceError(f"{path} has no messages; record it again.")
    return reader


def _files(path: Path, notes: list[str]) -> list[Any]:
    """What to open: the folder, or its files where its metadata.yaml is missing or a file is cut off."""
    files = [path] if path.is_file() else _storage_files(path)
    cut_off = [file for file in files if file.suffix == ".mcap" and is_cut_off(file)]
    notes += [f"{file.name} is cut off at its end; all whole parts of it were used." for file in cut_off]
    described = path.is_file() or (path / "metadata.yaml").is_file()
    if described and not cut_off:
        return [path]
    if not files:
        raise SourceError(f"{path} holds no recording; give a folder with .mcap or .db3 files, or a .bag.")
    if not described and files[0].suffix != ".bag":
        notes.append("metadata.yaml is missing; the storage files were read directly.")
    return [RepairedMcap(file) if file in cut_off else file for file in files]


def _storage_files(folder: Path) -> list[Path]:
    """The storage files of a folder, _2 before _10."""
    files = [file for file in folder.iterdir() if file.suffix in (".mcap", ".db3", ".bag")]
    return sorted(files, key=lambda file: (len(file.name), file.name))


def _choose(connections: Sequence[Connection], topic: str | None, path: Path) -> Connection:
    images = {
        connection.topic: connection for connection in connections if connection.msgtype in _IMAGE_TYPES
    }
    listed = ", ".join(sorted(images)) or "none"
    if topic is not None:
        topic = "/" + topic.strip("/")
        if topic not in images and f"{topic}/compressed" in images:  # named as image_transport names it
            topic = f"{topic}/compressed"
        known = next((connection for connection in connections if connection.topic == topic), None)
        if known is not None and topic not in images:
            raise SourceError(
                f"{topic} carries {known.msgtype}, not images; choose one of its image topics: {listed}."
            )
        if known is None:
            raise SourceError(f"{path} has no topic {topic}; choose one of its image topics: {listed}.")
    elif len(images) != 1:
        raise SourceError(f"{path} has {len(images)} image topics ({listed}); choose one with --image-topic.")
    chosen = images[topic] if topic is not None else next(iter(images.values()))
    if not any(found.msgcount for found in connections if found.topic == chosen.topic):
        raise SourceError(
            f"{path} has no image on {chosen.topic}; record it again or choose one of: {listed}."
        )
    return chosen


def _reason(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text.splitlines()[0] if text else type(error).__name__
