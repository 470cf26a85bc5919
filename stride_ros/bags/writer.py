"""Write rosbag2 bags (MCAP or sqlite3) that contain message definitions."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stride_ros.bags import messages
from stride_ros.bags.files import open_recording
from stride_ros.bags.storage import Channel
from stride_ros.bags.storage_writers import metadata_of, new_storage, write_metadata
from stride_ros.bags.types import common_types
from stride_ros.errors import SourceError
from stride_ros.text import topics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

STORAGES = ("mcap", "sqlite3")
START_STAMP = 1_700_000_000 * 10**9  # ns, for content without times: bags should not begin at zero


class BagWriter:
    """Writes a new bag at `path`, a folder that must not exist; a context manager.

    It is written next to `path` and moved there when it is complete and reads back; an error inside the with
    block leaves nothing. Raises SourceError if the folder exists or cannot be written.
    """

    def __init__(self, path: str | Path, storage: str = "mcap") -> None:
        self._store = messages.typestore()  # raises an error with the remedy if rosbags is missing
        self._topics: dict[str, tuple[int, Channel]] = {}
        self._start, self._end = 2**63 - 1, -(2**63)
        self.path = Path(path)
        self._kind = storage
        try:
            self.path.name.encode()
        except UnicodeEncodeError:
            raise SourceError(
                f"Bag {path} cannot be written, since its name is not UTF-8, so metadata.yaml cannot name "
                "its files; choose another name."
            ) from None
        if self.path.exists() or self.path.is_symlink():
            raise SourceError(f"{path} exists already; remove it or write the bag elsewhere.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._beside = Path(mkdtemp(prefix=f"{self.path.name}.unfinished-", dir=self.path.parent))
            self._folder = self._beside / self.path.name
            self._folder.mkdir()
            self._storage, self._file = new_storage(self._folder, storage)
        except ImportError as error:
            raise SourceError(f"Bags need the package '{error.name}'; install it with pip.") from error
        except (OSError, sqlite3.Error) as error:
            if hasattr(self, "_beside"):
                shutil.rmtree(self._beside, ignore_errors=True)
            raise self._failure(error) from error

    def write(self, topic: str, message: Any, stamp: int) -> None:
        """Append a message of `stride_ros.bags.messages`; `stamp` is its log time in ns."""
        kind = message.__msgtype__
        if topic not in self._topics:
            text, _ = self._store.generate_msgdef(kind, ros_version=2)
            digest = self._store.hash_rihs01(kind)
            self._add(Channel(0, topic, kind, "cdr", "ros2msg", text.encode(), digest))
        self._append(topic, bytes(self._store.serialize_cdr(message, kind)), stamp)

    def write_image(
        self, topic: str, frame: NDArray[np.uint8], stamp: int, *, frame_id: str = "camera", raw: bool = False
    ) -> None:
        """Append a picture (H, W, 3) uint8 RGB: JPEG on `topic`/compressed, or raw on `topic`."""
        if raw:
            self.write(topic, messages.image(frame, stamp, frame_id), stamp)
        else:
            self.write(topics.compressed(topic), messages.compressed_image(frame, stamp, frame_id), stamp)

    def copy(self, original: Channel, data: bytes, stamp: int) -> None:
        """Append a message from another bag, with that bag's definition.

        ROS 1 messages are converted to ROS 2 if their type is part of ROS.
        """
        types = common_types()
        migrated = original.encoding == "ros1" and original.msgtype in types.fielddefs
        if original.topic not in self._topics:
            if migrated:
                text, _ = types.generate_msgdef(original.msgtype, ros_version=2)
                digest = types.hash_rihs01(original.msgtype)
                channel = Channel(
                    0, original.topic, original.msgtype, "cdr", "ros2msg", text.encode(), digest
                )
            else:
                channel = Channel(
                    0,
                    original.topic,
                    original.schema_name,
                    original.encoding,
                    original.schema_encoding,
                    original.schema,
                    original.digest,
                )
            self._add(channel)
        if migrated:
            data = bytes(types.ros1_to_cdr(data, original.msgtype))
        self._append(original.topic, data, stamp)

    def _add(self, channel: Channel) -> None:
        try:
            self._topics[channel.topic] = (self._storage.add(channel), channel)
        except (OSError, sqlite3.Error) as error:
            raise self._failure(error) from error

    def _append(self, topic: str, data: bytes, stamp: int) -> None:
        number, channel = self._topics[topic]
        try:
            self._storage.write(number, stamp, data)
        except (OSError, sqlite3.Error) as error:
            raise self._failure(error) from error
        channel.count += 1
        self._start, self._end = min(self._start, stamp), max(self._end, stamp)

    def _failure(self, error: Exception) -> SourceError:
        reason = getattr(error, "strerror", None) or str(error)
        return SourceError(
            f"Bag {self.path} cannot be written ({reason}); free space there or choose another folder."
        )

    def _finish(self) -> None:
        import yaml

        channels = [channel for _, channel in self._topics.values()]
        start, end = (self._start, self._end) if any(channel.count for channel in channels) else (0, 0)
        content = metadata_of(self._kind, self._file, channels, start, end)
        try:
            self._storage.finish(yaml.safe_dump(content, sort_keys=False))
            write_metadata(self._folder, content)
            self._check(channels)
            if self.path.exists():
                raise SourceError(f"{self.path} exists already; remove it or write the bag elsewhere.")
            self._folder.rename(self.path)
        except (OSError, sqlite3.Error) as error:
            raise self._failure(error) from error

    def _check(self, channels: list[Channel]) -> None:
        """Read the bag back, since a disk may lose written data."""
        written = {channel.topic: channel.count for channel in channels}
        with ExitStack() as stack:
            storages, notes = open_recording(self._folder, stack)
            found = {channel.topic: channel.count for storage in storages for channel in storage.channels}
            notes += [note for storage in storages for note in storage.notes]
        if found != written or notes:
            raise SourceError(
                f"Bag {self.path} does not read back as it was written ({'; '.join(notes) or found});"
                " check the disk."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            with suppress(Exception):
                self._storage.abort()
            shutil.rmtree(self._beside, ignore_errors=True)
