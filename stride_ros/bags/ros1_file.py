"""Read a ROS 1 bag with the reader of `rosbags`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stride_ros.bags.storage import BagMessage, Channel, StorageError

MAGIC = b"#ROSBAG V2.0"


class Ros1File:
    """An open .bag file; see `storage.Storage`. Raises StorageError, OSError."""

    def __init__(self, path: Path) -> None:
        from rosbags.rosbag1 import Reader, ReaderError

        self.name = path.name
        self.notes: list[str] = []
        try:
            self._reader = Reader(path)
            self._reader.open()
        except OSError:
            raise
        except Exception as error:  # many types on damaged data, even MemoryError for a wrong length
            known = isinstance(error, ReaderError | ValueError)
            reason = (str(error).rstrip(".") if known else "") or "its index is damaged"
            if "not indexed" in reason or "damaged" in reason or _is_cut_off(path):
                reason = "its recorder did not finish it; repair it with `rosbag reindex`"
            raise StorageError(reason) from error
        self._connections = {connection.id: connection for connection in self._reader.connections}
        self.channels = [
            Channel(c.id, c.topic, c.msgtype, "ros1", "ros1msg", c.msgdef.data.encode(), count=c.msgcount)
            for c in self._reader.connections
        ]

    def rest(self) -> None:
        """Keep the file open, since reopening it means reading its index again."""

    def close(self) -> None:
        self._reader.close()

    def span(self) -> tuple[int, int] | None:
        times = self.log_times(self.channels)
        return (int(times[0]), int(times[-1])) if len(times) else None

    def log_times(self, channels: Collection[Channel]) -> NDArray[np.int64]:
        times = [entry.time for c in channels for entry in self._reader.indexes.get(c.number, ())]
        return np.sort(np.array(times, np.int64))

    def messages(self, channels: Collection[Channel], start: int, stop: int) -> Iterator[BagMessage]:
        by_number = {channel.number: channel for channel in channels}
        times = self.log_times(channels)
        wanted = int(((times >= start) & (times < stop)).sum())
        done = 0
        if not wanted:
            return
        chosen = [self._connections[number] for number in by_number]
        try:
            for connection, log_time, data in self._reader.messages(chosen, start, stop):
                done += 1
                yield BagMessage(by_number[connection.id], log_time, bytes(data))
        except GeneratorExit:
            raise
        except Exception as error:  # the decompressors raise their own types
            self.notes.append(
                f"{self.name} is damaged ({str(error).rstrip('.')}); the last {wanted - done} messages were"
                " left out."
            )


def _is_cut_off(path: Path) -> bool:
    """Whether the bag ends before the index that its first record points to."""
    with path.open("rb") as file:
        head = file.read(4096)
    at = head.find(b"index_pos=")
    position = int.from_bytes(head[at + 10 : at + 18], "little") if at >= 0 else 0
    return position == 0 or position >= path.stat().st_size
