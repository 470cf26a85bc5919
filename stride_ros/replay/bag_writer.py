"""Write rosbag2 bags (MCAP or sqlite3) with message definitions inside."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stride_ros.errors import SourceError
from stride_ros.replay import messages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rosbags.interfaces import Connection
    from typing_extensions import Self

STORAGES = ("mcap", "sqlite3")
START_STAMP = 1_700_000_000 * 10**9  # ns, of what has no time of its own: bags should not begin at zero


class BagWriter:
    """A new bag at ``path`` (a folder that must not exist). Use it as a context manager.

    Raises SourceError when the folder exists or cannot be made.
    """

    def __init__(self, path: str | Path, storage: str = "mcap") -> None:
        store = messages.typestore()  # says what to install when rosbags is missing
        from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

        self._store = store
        self._topics: dict[str, Connection] = {}
        self.path = Path(path)
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        try:
            self._writer = Writer(self.path, version=9, storage_plugin=plugin)
            self._writer.open()
        except (WriterError, OSError) as error:
            if self.path.exists():
                raise SourceError(f"{path} exists already; remove it or write the bag elsewhere.") from error
            raise SourceError(f"Bag {path} cannot be written ({error}); choose another folder.") from error

    def write(self, topic: str, message: Any, stamp: int) -> None:
        """Append a message of `stride_ros.replay.messages`; ``stamp`` is its log time in ns."""
        kind = message.__msgtype__
        connection = self._topics.get(topic)
        if connection is None:
            connection = self._writer.add_connection(topic, kind, typestore=self._store)
            self._topics[topic] = connection
        self._writer.write(connection, stamp, self._store.serialize_cdr(message, kind))

    def write_image(
        self, topic: str, frame: NDArray[np.uint8], stamp: int, *, frame_id: str = "camera", raw: bool = False
    ) -> None:
        """Append a picture (H, W, 3) uint8 RGB: JPEG on ``topic``/compressed, or raw on ``topic``."""
        if raw:
            self.write(topic, messages.image(frame, stamp, frame_id), stamp)
        else:
            self.write(f"{topic}/compressed", messages.compressed_image(frame, stamp, frame_id), stamp)

    def copy(self, original: Connection, data: bytes, stamp: int) -> None:
        """Append a message as another bag has it, with that bag's definition."""
        connection = self._topics.get(original.topic)
        if connection is None:
            connection = self._writer.add_connection(
                original.topic, original.msgtype, msgdef=original.msgdef.data, rihs01=original.digest
            )
            self._topics[original.topic] = connection
        self._writer.write(connection, stamp, data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
