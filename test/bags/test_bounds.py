"""Recordings that were made, or damaged, so as to take all memory or time: a sentence, soon."""

import os
import sqlite3
import struct
import subprocess
import sys

import numpy as np
import pytest

from stride_ros.bags.reader import BagReader
from stride_ros.errors import SourceError


def record(opcode, content):
    return struct.pack("<BQ", opcode, len(content)) + content


def of_records(path, whole, records):
    """An MCAP file with `records` after those of `whole` up to its first message."""
    data = whole.read_bytes()
    at = 8
    while data[at] not in (5, 6):  # a message, a chunk
        at += 9 + struct.unpack_from("<Q", data, at + 1)[0]
    path.write_bytes(data[:at] + records + data[at:])
    return path


def zstd(data, times=1):
    module = pytest.importorskip("zstandard", reason="zstandard is missing")
    for _ in range(times):
        data = module.compress(data)
    return data


@pytest.fixture
def whole(forge, tmp_path):
    return forge.mcap(tmp_path / "whole.mcap", [forge.Topic(messages=forge.images())], use_chunking=False)


def test_a_message_that_grows_beyond_measure_is_left_out(forge, tmp_path):
    messages = forge.images()
    messages[3] = (messages[3][0], zstd(bytes(200 << 20)))
    path = forge.mcap(tmp_path / "x.mcap", [forge.Topic(messages=messages)])
    numbers, notes = forge.read(path)
    assert numbers == [number for number in forge.ALL if number != 3]
    assert "grows beyond 128 MiB" in " ".join(notes)


def test_a_file_is_not_unpacked_over_and_over(tmp_path, whole):
    (tmp_path / "x.mcap.zst").write_bytes(zstd(whole.read_bytes(), 500))
    with pytest.raises(SourceError, match="compressed more than 3 times"):
        BagReader(tmp_path / "x.mcap.zst")


def test_a_recording_that_was_compressed_twice_is_read(forge, tmp_path, whole):
    (tmp_path / "x.mcap.zst").write_bytes(zstd(whole.read_bytes(), 2))
    assert forge.read(tmp_path / "x.mcap.zst")[0] == forge.ALL


@pytest.mark.parametrize("content", [b"x", struct.pack("<HI", 1, 0)], ids=["unknown", "index"])
def test_more_than_a_million_records_without_content_are_damage(forge, tmp_path, whole, content):
    opcode = 7 if len(content) == 6 else 0x81
    few = of_records(tmp_path / "few.mcap", whole, record(opcode, content) * 1000)
    assert forge.read(few)[0] == forge.ALL
    many = of_records(tmp_path / "many.mcap", whole, record(opcode, content) * 1_001_000)
    with pytest.raises(SourceError, match=r"many\.mcap is cut off or damaged"):
        BagReader(many)


def of_chunks(path, whole, contents):
    """An MCAP file with chunks of such contents at its end, which nothing indexes."""
    data = whole.read_bytes()
    chunks = b""
    for content in contents:
        packed = zstd(content)
        head = struct.pack("<QQQI", 0, 0, len(content), 0) + struct.pack("<I", 4) + b"zstd"
        chunks += record(6, head + struct.pack("<Q", len(packed)) + packed)
    path.write_bytes(data[:-37] + chunks + data[-37:])
    return path


@pytest.mark.parametrize("opcode", [3, 4], ids=["schema", "channel"])
def test_more_than_a_million_definitions_are_damage(forge, tmp_path, whole, opcode):
    content = struct.pack("<H", 99) + bytes(14 if opcode == 4 else 12)
    few = of_records(tmp_path / "few.mcap", whole, record(opcode, content) * 1000)
    assert forge.read(few)[0] == forge.ALL
    many = record(opcode, content) * 1_001_000
    with pytest.raises(SourceError, match=r"many\.mcap is cut off or damaged"):
        BagReader(of_records(tmp_path / "many.mcap", whole, many))
    numbers, notes = forge.read(of_chunks(tmp_path / "packed.mcap", whole, [many]))
    assert numbers == forge.ALL
    assert "A chunk of packed.mcap is damaged (it contains something that is not a record)" in " ".join(notes)


def test_chunks_that_grow_beyond_measure_are_left_out(forge, tmp_path, whole):
    numbers, notes = forge.read(of_chunks(tmp_path / "x.mcap", whole, [record(0x81, bytes(110 << 20))] * 20))
    assert numbers == forge.ALL
    assert "x.mcap grows beyond 1024 MiB when decompressed; the rest was left out." in notes


def junk(kind, whole):
    """A message on an image topic that holds no picture; some cannot even be deserialised."""
    return {
        "empty": b"",
        "zeros": bytes(40),
        "random": bytes((7 * i * i + 3) % 251 for i in range(60)),
        "cut off": whole[:-8],
        "header only": whole[:40],
    }[kind]


def of_messages(forge, path, storage, messages, type=None):
    topic = forge.Topic(messages=messages, **({"type": type} if type else {}))
    if storage == "mcap":
        return forge.mcap(path / "x.mcap", [topic])
    if storage == "sqlite3":
        return forge.database(path / "x.db3", [topic])
    return ros1(path / "x.bag", messages)


def ros1(path, messages):
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    with Writer(path) as bag:
        kind = "sensor_msgs/msg/Image"
        connection = bag.add_connection(
            "/camera/image_raw", kind, typestore=get_typestore(Stores.ROS1_NOETIC)
        )
        for time, data in messages:
            bag.write(connection, time, data)
    return path


@pytest.mark.parametrize("storage", ["mcap", "sqlite3", "ros1"])
@pytest.mark.parametrize("kind", ["empty", "zeros", "random", "cut off", "header only"])
def test_a_topic_without_pictures_is_refused_soon(forge, tmp_path, monkeypatch, storage, kind):
    monkeypatch.setattr("stride_ros.bags.patience.MOST_BARREN", 3000)
    ((_, whole),) = forge.images(1, ros1=storage == "ros1")
    path = of_messages(forge, tmp_path, storage, [(forge.START + i, junk(kind, whole)) for i in range(3100)])
    told = r"More than 3,000 messages in a row on .*no usable picture: An"
    with BagReader(path) as bag, pytest.raises(SourceError, match=told):
        list(bag.frames(10.0))


def test_packets_of_a_video_without_pictures_are_refused_soon(forge, tmp_path, monkeypatch):
    pytest.importorskip("av", reason="PyAV is missing; install it with: pip install av")
    monkeypatch.setattr("stride_ros.bags.patience.MOST_BARREN", 3000)
    from stride_ros.bags.messages import header, typestore

    name, data = "sensor_msgs/msg/CompressedImage", np.frombuffer(b"\0\0\0\1\x65" + bytes(20), np.uint8)
    message = typestore().types[name](header(forge.START, "camera"), "h264", data)
    packet = bytes(typestore().serialize_cdr(message, name))
    messages = [(forge.START + i, packet) for i in range(3100)]
    path = of_messages(forge, tmp_path, "mcap", messages, name)
    with BagReader(path) as bag:
        assert bag.is_video
        with pytest.raises(SourceError, match=r"More than 3,000 messages in a row on"):
            list(bag.frames(10.0))


def test_pictures_after_a_stretch_without_any_are_read(forge, tmp_path, monkeypatch):
    monkeypatch.setattr("stride_ros.bags.patience.MOST_BARREN", 3000)
    messages = [(forge.START + i, bytes(40)) for i in range(2900)]
    whole = forge.image(0, forge.START + forge.SECOND)
    messages += [(forge.START + forge.SECOND + i, whole) for i in range(2000)]
    messages += [(forge.START + 2 * forge.SECOND + i, b"") for i in range(2900)]
    messages += forge.images(12, forge.START + 3 * forge.SECOND)
    numbers, notes = forge.read(of_messages(forge, tmp_path, "sqlite3", messages))
    assert numbers[-12:] == forge.ALL
    assert notes


def test_pictures_that_are_never_due_count_as_pictures(forge, tmp_path, monkeypatch):
    monkeypatch.setattr("stride_ros.bags.patience.MOST_BARREN", 3000)
    whole = forge.image(0, forge.START)  # once, as it takes a while
    messages = [(forge.START + i, bytes(40) if i % 2 else whole) for i in range(20_000)]
    numbers, _ = forge.read(of_messages(forge, tmp_path, "mcap", messages))
    assert numbers == [0]


@pytest.mark.parametrize("cell", ["'text'", "10000000000000", "1.5", "null"])
def test_cells_that_are_no_messages_are_left_out(forge, tmp_path, cell):
    path = forge.database(tmp_path / "x.db3", [forge.Topic(messages=forge.images())])
    connection = sqlite3.connect(path)
    connection.execute(f"update messages set data = {cell} where id = 4")
    connection.commit()
    connection.close()
    numbers, notes = forge.read(path)
    assert numbers == [number for number in forge.ALL if number != 3]
    assert "1 of 12 images could not be used" in " ".join(notes)


def test_a_pipe_beside_a_database_is_no_log_of_it(forge, tmp_path):
    path = forge.database(tmp_path / "x.db3", [forge.Topic(messages=forge.images())])
    os.mkfifo(tmp_path / "x.db3-wal")
    assert forge.read(path)[0] == forge.ALL


def test_columns_that_are_no_text_end_in_a_sentence(forge, tmp_path):
    path = forge.database(tmp_path / "x.db3", [forge.Topic(messages=forge.images())])
    data = path.read_bytes()
    assert data.count(b"serialization_format") == 1
    path.write_bytes(data.replace(b"serialization_format", b"serialization_forma\xff"))
    with pytest.raises(SourceError, match=r"x\.db3 cannot be read"):
        BagReader(path)
    assert sqlite3.connect(path).execute("select count(*) from messages").fetchone() == (12,)


def test_a_definition_that_lacks_a_field_makes_its_images_unusable(forge, tmp_path):
    schema = forge.definition().replace(b"string frame_id", b"string frame_ie")
    path = forge.mcap(tmp_path / "x.mcap", [forge.Topic(schema=schema, messages=forge.images())])
    numbers, notes = forge.read(path)
    assert numbers == []
    assert "its definition in the recording is damaged" in " ".join(notes)


_READ_WITH_FEW_FILES = """
import resource, sys
from stride_ros.activation.notes import StreamNotes
from stride_ros.bags.reader import BagReader
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
with BagReader(sys.argv[1], None) as bag:
    print([int(frame[0, 0, 0]) for frame, _ in bag.frames(1000.0, StreamNotes())], *bag.notes)
"""


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_more_splits_than_a_process_may_open(forge, tmp_path, storage):
    (tmp_path / "x").mkdir()
    schema = forge.definition()
    for number, message in enumerate(forge.images(80)):
        topic = forge.Topic(schema=schema, messages=[message])
        if storage == "mcap":
            forge.mcap(tmp_path / "x" / f"x_{number}.mcap", [topic])
        else:
            forge.database(tmp_path / "x" / f"x_{number}.db3", [topic])
    # In a process of its own: what tests before have left open counts in this one.
    command = [sys.executable, "-c", _READ_WITH_FEW_FILES, str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    numbers = list(range(80))
    told = "metadata.yaml is missing; the storage files were read directly."
    assert done.stdout == f"{numbers} {told}\n", done.stderr
