"""Recordings written without this package: by the writers of `mcap` and `rosbags`, and by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")

SECOND = 10**9
START = 1_700_000_000 * SECOND
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
TOPIC = "/camera/image_raw"


def picture(number: int) -> np.ndarray:
    """A small picture that tells its number: (8, 12, 3) uint8 RGB."""
    return np.full((8, 12, 3), number % 256, np.uint8)


def _types(ros1: bool = False) -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)


def image(number: int, stamp: int, ros1: bool = False) -> bytes:
    """A serialised Image; `stamp` in ns."""
    types = _types(ros1)
    seconds, rest = divmod(stamp, SECOND)
    time = types.types["builtin_interfaces/msg/Time"](seconds, rest)
    header = types.types["std_msgs/msg/Header"](*([number] if ros1 else []), time, "camera")
    message = types.types[IMAGE](header, 8, 12, "rgb8", 0, 36, picture(number).reshape(-1))
    return bytes((types.serialize_ros1 if ros1 else types.serialize_cdr)(message, IMAGE))


def definition(name: str = IMAGE, ros1: bool = False) -> bytes:
    return _types(ros1).generate_msgdef(name, ros_version=1 if ros1 else 2)[0].encode()


@dataclass
class Topic:
    """A topic of a forged recording: messages are (log time in ns, data)."""

    name: str = TOPIC
    type: str = IMAGE
    encoding: str = "cdr"
    schema_encoding: str = "ros2msg"
    schema: bytes | None = None  # None: the true one of the type
    messages: Sequence[tuple[int, bytes]] = field(default_factory=list)

    def definition(self) -> bytes:
        return definition(self.type) if self.schema is None else self.schema


def images(count: int = 12, start: int = START, ros1: bool = False) -> list[tuple[int, bytes]]:
    """One image a second."""
    return [(start + i * SECOND, image(i, start + i * SECOND, ros1)) for i in range(count)]


def mcap(
    path: Path, topics: Sequence[Topic], *, profile: str = "ros2", finish: bool = True, **options: Any
) -> Path:
    """Write an MCAP file with the writer of `mcap`; `options` are its own."""
    writers = pytest.importorskip("mcap.writer", reason="mcap is missing")
    compression = options.pop("compression", "none").upper()
    with path.open("wb") as file:
        writer = writers.Writer(file, compression=writers.CompressionType[compression], **options)
        writer.start(profile, "forged")
        numbers = []
        for topic in topics:
            schema = 0
            if topic.schema_encoding or topic.type:
                schema = writer.register_schema(topic.type, topic.schema_encoding, topic.definition())
            numbers.append(writer.register_channel(topic.name, topic.encoding, schema))
        for time, number, data in sorted(
            (time, number, data)
            for topic, number in zip(topics, numbers, strict=True)
            for time, data in topic.messages
        ):
            writer.add_message(number, time, data, time)
        if finish:
            writer.finish()
    return path


def database(path: Path, topics: Sequence[Topic], keep_open: bool = False, old: bool = False) -> Any:
    """Write a database as rosbag2 does (`old`: as Foxy did); the open connection if asked for."""
    connection = sqlite3.connect(path)
    columns = "name text, type text, serialization_format text" + (
        "" if old else ", offered_qos_profiles text"
    )
    connection.execute(f"create table topics(id integer primary key, {columns})")
    connection.execute(
        "create table messages(id integer primary key, topic_id integer, timestamp integer, data blob)"
    )
    connection.execute("create index timestamp_idx on messages (timestamp asc)")
    insert(connection, topics, old=old)
    connection.commit()
    if keep_open:
        return connection
    connection.close()
    return path


def insert(
    connection: sqlite3.Connection, topics: Sequence[Topic], first: int = 1, old: bool = False
) -> None:
    for number, topic in enumerate(topics, first):
        values = (number, topic.name, topic.type, topic.encoding) + (() if old else ("",))
        connection.execute(f"insert or ignore into topics values ({','.join('?' * len(values))})", values)
        connection.executemany(
            "insert into messages (topic_id, timestamp, data) values (?, ?, ?)",
            [(number, time, data) for time, data in topic.messages],
        )


def read(path: Path, topic: str | None = None) -> tuple[list[int], list[str]]:
    """The numbers of the pictures that the package reads, and its notes."""
    from stride_ros.activation.notes import StreamNotes
    from stride_ros.bags.reader import BagReader

    noted = StreamNotes()
    with BagReader(path, topic) as bag:
        numbers = [int(frame[0, 0, 0]) for frame, _ in bag.frames(1000.0, noted)]
        return numbers, [*bag.notes, *noted.sentences()]


@pytest.fixture(scope="session")
def forge() -> SimpleNamespace:
    """The functions above."""
    return SimpleNamespace(
        Topic=Topic,
        image=image,
        images=images,
        definition=definition,
        mcap=mcap,
        database=database,
        insert=insert,
        read=read,
        SECOND=SECOND,
        START=START,
        TOPIC=TOPIC,
        ALL=list(range(12)),
    )
