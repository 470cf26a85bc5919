"""Recordings that were made, or damaged, so as to take all memory or time: a sentence, soon."""

import os
import sqlite3
import struct

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
    with pytest.raises(SourceError, match="compressed more than 3 times over"):
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
    assert "A chunk of packed.mcap is damaged (it holds what is no record)" in " ".join(notes)


def test_chunks_that_grow_beyond_measure_are_left_out(forge, tmp_path, whole):
    numbers, notes = forge.read(of_chunks(tmp_path / "x.mcap", whole, [record(0x81, bytes(110 << 20))] * 20))
    assert numbers == forge.ALL
    assert "x.mcap grows beyond 1024 MiB when decompressed; the rest was left out." in notes


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_topic_of_empty_messages_is_refused(forge, tmp_path, storage):
    topic = forge.Topic(messages=[(forge.START + i, b"") for i in range(100_001)])
    path = (forge.mcap if storage == "mcap" else forge.database)(tmp_path / "x", [topic])
    path = path.rename(tmp_path / ("x.mcap" if storage == "mcap" else "x.db3"))
    with pytest.raises(SourceError, match=r"More than 100,000 messages on .* empty"):  # noqa: SIM117
        with BagReader(path) as bag:
            list(bag.frames(10.0))


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
