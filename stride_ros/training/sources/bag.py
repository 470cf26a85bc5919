"""A rosbag as training data, so that a model learns the events of one's own robot."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import SourceError
from stride_ros.nodes.images import compressed_to_rgb, image_to_rgb
from stride_ros.replay.messages import typestore

CACHE_BYTES = 1 << 30  # of decoded images
RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class BagVideo:
    """The images of one topic (see recording.Video); times in s from its first image, by header stamp.

    `until` (s) leaves out what follows. SourceError when the bag or the topic is unusable.
    """

    def __init__(self, path: Path, topic: str, until: float | None = None) -> None:
        self.path, self.topic, self.name = path, topic, f"{path} {topic}"
        stamps: list[int] = []
        logged: list[int] = []
        with _open(path) as reader:
            connection = _connection(reader, path, topic)
            self._compressed = connection.msgtype == COMPRESSED
            for _, log_time, data in reader.messages([connection]):
                stamps.append(_stamp(data) or log_time)
                logged.append(log_time)
        if not stamps:
            raise SourceError(f"Topic {topic} in {path} holds no images; choose another topic or bag.")
        # Samples of one recording overlap: decoding an image again would take most of the training time.
        self._decoded: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        order = np.argsort(stamps, kind="stable")
        self._times = (np.array(stamps)[order] - min(stamps)) / 1e9
        self._logged = np.array(logged)[order]
        self.start, self.end = 0.0, float(self._times[-1] if until is None else min(until, self._times[-1]))

    def read(self, times: Sequence[float]) -> tuple[list[NDArray[np.uint8]], list[float]]:
        """The images nearest to `times` (s), each at most once. FrameError for an image that cannot be
        converted."""
        nearest = np.abs(self._times[:, None] - np.asarray(times)[None, :]).argmin(axis=0)
        indices: list[int] = list(dict.fromkeys(nearest.tolist()))
        images = {index: self._decoded[index] for index in indices if index in self._decoded}
        images |= self._decode([index for index in indices if index not in images])
        for index in indices:
            self._decoded[index] = images[index]
            self._decoded.move_to_end(index)
        while sum(image.nbytes for image in self._decoded.values()) > CACHE_BYTES and len(self._decoded) > 1:
            self._decoded.popitem(last=False)
        return [images[index] for index in indices], [float(self._times[index]) for index in indices]

    def _decode(self, indices: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        if not indices:
            return {}
        convert = compressed_to_rgb if self._compressed else image_to_rgb
        store = typestore()
        images = {}
        with _open(self.path) as reader:
            connection = _connection(reader, self.path, self.topic)
            for index in indices:
                log_time = int(self._logged[index])
                for _, _, data in reader.messages([connection], start=log_time, stop=log_time + 1):
                    message: Any = store.deserialize_cdr(data, connection.msgtype)
                    images[index] = np.ascontiguousarray(convert(message))
                    break
        return images


def _open(path: Path) -> Any:
    from rosbags.highlevel import AnyReader
    from rosbags.highlevel.anyreader import AnyReaderError

    if not path.exists():
        raise SourceError(f"The bag {path} does not exist; check its name.")
    try:
        reader = AnyReader([path], default_typestore=typestore())
        reader.open()
    except AnyReaderError as error:
        raise SourceError(
            f"{path} cannot be read as a bag ({_first_line(error)}); check its name."
        ) from error
    return _Closing(reader)


class _Closing:
    """Closes a reader that is already open at the end of a with block."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def __enter__(self) -> Any:
        return self._reader

    def __exit__(self, *details: object) -> None:
        self._reader.close()


def _connection(reader: Any, path: Path, topic: str) -> Any:
    """The connection of `topic`, or of `topic`/compressed when only that was recorded."""
    images = {c.topic: c for c in reader.connections if c.msgtype in (RAW, COMPRESSED)}
    for name in (topic, f"{topic}/compressed"):
        if name in images:
            return images[name]
    known = ", ".join(sorted(images)) or "none"
    raise SourceError(f"The bag {path} has no images on {topic}; choose one of its image topics: {known}.")


def _stamp(data: bytes | memoryview) -> int:
    """The header stamp (ns) of a serialised message: its first eight bytes after the encapsulation."""
    order = "<" if bytes(data[1:2]) == b"\x01" else ">"
    seconds, rest = np.frombuffer(data, dtype=f"{order}u4", count=2, offset=4).tolist()
    return int(seconds) * 10**9 + int(rest)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
