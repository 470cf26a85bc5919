"""Write the files of a rosbag2 folder: the storage (MCAP or sqlite3) and metadata.yaml."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from stride_ros.bags.files import METADATA
from stride_ros.bags.storage import Channel

_VERSION = 9  # of metadata.yaml
_DISTRO = "unknown"
_TABLES = """
create table schema(schema_version integer primary key, ros_distro text not null);
create table metadata(id integer primary key, metadata_version integer not null, metadata text not null);
create table topics(id integer primary key, name text not null, type text not null,
  serialization_format text not null, offered_qos_profiles text not null,
  type_description_hash text not null);
create table message_definitions(id integer primary key, topic_type text not null, encoding text not null,
  encoded_message_definition text not null, type_description_hash text not null);
create table messages(id integer primary key, topic_id integer not null, timestamp integer not null,
  data blob not null);
create index timestamp_idx on messages (timestamp asc);
"""  # version 4 of rosbag2_storage_sqlite3
_COMMIT_EVERY = 64  # messages; so that a full disk is noticed early


class StorageWriter(Protocol):
    """Writes a new storage file."""

    def add(self, channel: Channel) -> int:
        """Declare a channel; return the number to write to."""

    def write(self, number: int, log_time: int, data: bytes) -> None:
        """Append a message."""

    def finish(self, metadata: str) -> None:
        """Write the rest and close; `metadata` is the text of metadata.yaml."""

    def abort(self) -> None:
        """Close the file in any state."""


class McapStorage:
    """Writes an MCAP file with the writer of `mcap`."""

    def __init__(self, path: Path) -> None:
        from mcap.writer import CompressionType, Writer

        self._file = path.open("xb")
        self._writer = Writer(self._file, compression=CompressionType.NONE)
        self._writer.start(profile="ros2", library="stride_ros")
        self._schemas: dict[tuple[str, str, bytes], int] = {}

    def add(self, channel: Channel) -> int:
        key = (channel.schema_name, channel.schema_encoding, channel.schema)
        if key == ("", "", b""):
            self._schemas[key] = 0  # a channel without a schema
        elif key not in self._schemas:
            self._schemas[key] = self._writer.register_schema(*key)
        metadata = {"offered_qos_profiles": "", "topic_type_hash": channel.digest}
        return int(
            self._writer.register_channel(channel.topic, channel.encoding, self._schemas[key], metadata)
        )

    def write(self, number: int, log_time: int, data: bytes) -> None:
        log_time = max(log_time, 0)  # MCAP has no times before 1970
        self._writer.add_message(number, log_time, data, log_time)

    def finish(self, metadata: str) -> None:
        self._writer.add_metadata("rosbag2", {"serialized_metadata": metadata})
        self._writer.finish()
        self._file.close()

    def abort(self) -> None:
        self._file.close()


class SqliteStorage:
    """Writes a database in the format of rosbag2."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)  # not a URI, which would misinterpret some characters
        self._database.executescript(_TABLES)
        self._database.execute("insert into schema values (4, ?)", (_DISTRO,))
        self._types: set[str] = set()
        self._count = 0

    def add(self, channel: Channel) -> int:
        if channel.schema_name not in self._types:
            self._types.add(channel.schema_name)
            self._database.execute(
                "insert into message_definitions (topic_type, encoding, encoded_message_definition,"
                " type_description_hash) values (?, ?, ?, ?)",
                (
                    channel.schema_name,
                    channel.schema_encoding or "unknown",
                    channel.schema.decode("utf-8", "replace"),
                    channel.digest,
                ),
            )
        cursor = self._database.execute(
            "insert into topics (name, type, serialization_format, offered_qos_profiles,"
            " type_description_hash) values (?, ?, ?, '', ?)",
            (channel.topic, channel.schema_name, channel.encoding, channel.digest),
        )
        return int(cursor.lastrowid or 0)

    def write(self, number: int, log_time: int, data: bytes) -> None:
        self._database.execute(
            "insert into messages (topic_id, timestamp, data) values (?, ?, ?)", (number, log_time, data)
        )
        self._count += 1
        if self._count % _COMMIT_EVERY == 0:
            self._database.commit()

    def finish(self, metadata: str) -> None:
        self._database.execute(
            "insert into metadata (metadata_version, metadata) values (?, ?)", (_VERSION, metadata)
        )
        self._database.commit()
        self._database.close()

    def abort(self) -> None:
        self._database.close()


def new_storage(folder: Path, storage: str) -> tuple[StorageWriter, str]:
    """Create the storage file of a bag in its folder; return it and its name."""
    if storage == "mcap":
        return McapStorage(folder / f"{folder.name}.mcap"), f"{folder.name}.mcap"
    return SqliteStorage(folder / f"{folder.name}.db3"), f"{folder.name}.db3"


def metadata_of(storage: str, file: str, channels: Sequence[Channel], start: int, end: int) -> dict[str, Any]:
    """The content of metadata.yaml for channels with their counts; `start` and `end` are log times in ns."""
    count = sum(channel.count for channel in channels)
    times = {
        "starting_time": {"nanoseconds_since_epoch": start},
        "duration": {"nanoseconds": end - start},
        "message_count": count,
    }
    return {
        "version": _VERSION,
        "storage_identifier": storage,
        **times,
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": channel.topic,
                    "type": channel.schema_name,
                    "serialization_format": channel.encoding,
                    "offered_qos_profiles": [],
                    "type_description_hash": channel.digest,
                },
                "message_count": channel.count,
            }
            for channel in channels
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file],
        "files": [{"path": file, **times}],
        "custom_data": None,
        "ros_distro": _DISTRO,
    }


def write_metadata(folder: Path, content: dict[str, Any]) -> None:
    """Write metadata.yaml."""
    import yaml

    text = yaml.safe_dump({"rosbag2_bagfile_information": content}, sort_keys=False, allow_unicode=True)
    (folder / METADATA).write_text(text, encoding="utf-8")
