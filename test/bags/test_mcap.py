"""MCAP files of every make and in every state: the images are read, and what is not is told."""

import struct

import cv2
import numpy as np
import pytest

from stride_ros.bags.reader import BagReader
from stride_ros.errors import SourceError

pytestmark = pytest.mark.slow

THING = "my_msgs/msg/Thing"
RULE = "=" * 80 + "\n"
FOREIGN = {
    "json": ("status", "jsonschema", b'{"type": "object"}', "json"),
    "json without a schema": ("", "", b"", "json"),
    "protobuf": ("foxglove.SceneUpdate", "protobuf", bytes(range(200, 256)), "protobuf"),
    "flatbuffer": ("foxglove.Log", "flatbuffer", b"\xff\xfe\0\1", "flatbuffer"),
    "omgidl": ("my::Thing", "omgidl", b"module my { struct Thing { long x; }; };", "cdr"),
    "unknown": (THING, "unknown", b"", "cdr"),
    "empty definition": (THING, "ros2msg", b"", "cdr"),
    "rubbish": (THING, "ros2msg", b"???\n", "cdr"),
    "no text": (THING, "ros2msg", b"\xff\xfe\xfa", "cdr"),
    "Windows": (THING, "ros2msg", b"float64 x\r\nint32 y\r\n", "cdr"),
    "missing part": (THING, "ros2msg", b"other_msgs/Part part\n", "cdr"),
    "service event": ("my_msgs/srv/Do_Event", "ros2msg", b"service_msgs/ServiceEventInfo info\n---\n", "cdr"),
    "action": ("my_msgs/action/Go_FeedbackMessage", "ros2msg", b"", "cdr"),
    "union": (
        THING,
        "ros2idl",
        (
            f"{RULE}IDL: {THING}\nmodule my_msgs {{ module msg {{ union Thing switch (long)"
            " { case 1: long a; default: double b; }; }; };"
        ).encode(),
        "cdr",
    ),
    "include": (
        THING,
        "ros2idl",
        (
            f'{RULE}IDL: {THING}\n#include "std_msgs/msg/Header.idl"\nmodule my_msgs {{ module msg {{'
            " struct Thing { std_msgs::msg::Header header; @default (value=3) long k; }; }; };"
        ).encode(),
        "cdr",
    ),
    "ROS 1": ("my_msgs/Thing", "ros1msg", b"Header header\n", "ros1"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_topic_leaves_the_images_alone(forge, tmp_path, kind):
    name, schema_encoding, schema, encoding = FOREIGN[kind]
    other = forge.Topic("/other", name, encoding, schema_encoding, schema, [(forge.START + 5, b"\0\1\0\0\7")])
    path = forge.mcap(tmp_path / "x.mcap", [other, forge.Topic(messages=forge.images())])
    assert forge.read(path) == (forge.ALL, [])


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_foreign_topic_is_copied_as_it_is(forge, tmp_path, kind, storage):
    from stride_ros.bags.writer import BagWriter

    name, schema_encoding, schema, encoding = FOREIGN[kind]
    messages = [(forge.START + i, bytes([0, 1, 0, 0, i])) for i in range(3)]
    other = forge.Topic("/other", name, encoding, schema_encoding, schema, messages)
    path = forge.mcap(tmp_path / "x.mcap", [other, forge.Topic(messages=forge.images())])
    with BagReader(path) as bag, BagWriter(tmp_path / "copy", storage) as copy:
        for message in bag.messages(["/other", forge.TOPIC]):
            copy.copy(message.channel, message.data, message.log_time)
    with BagReader(tmp_path / "copy") as bag:
        found = list(bag.messages(["/other"]))
        assert bag.notes == []
    assert [(message.log_time, message.data) for message in found] == messages
    assert (found[0].channel.schema_name, found[0].channel.encoding) == (name, encoding)
    if storage == "mcap":
        assert (found[0].channel.schema_encoding, found[0].channel.schema) == (schema_encoding, schema)
    assert forge.read(tmp_path / "copy") == (forge.ALL, [])


@pytest.mark.parametrize(
    ("type", "encoding", "schema_encoding", "schema"),
    [
        ("sensor_msgs/msg/Image", "cdr", "ros2msg", b"???"),
        ("sensor_msgs/msg/Image", "cdr", "ros2msg", b"uint8[] data\n"),  # of another type
        ("sensor_msgs/msg/Image", "cdr", "ros2msg", b""),
        ("sensor_msgs/msg/Image", "cdr", "unknown", b""),
        ("sensor_msgs/msg/Image", "", "ros2msg", None),
        ("sensor_msgs::msg::dds_::Image_", "cdr", "omgidl", b"module"),
        ("sensor_msgs/Image", "cdr", "ros2msg", b""),
    ],
)
def test_images_are_known_by_their_type(forge, tmp_path, type, encoding, schema_encoding, schema):
    schema = forge.definition() if schema is None else schema
    topic = forge.Topic(forge.TOPIC, type, encoding, schema_encoding, schema, forge.images())
    assert forge.read(forge.mcap(tmp_path / "x.mcap", [topic])) == (forge.ALL, [])


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_an_image_type_with_more_fields_is_read_by_its_own_definition(forge, tmp_path, ends):
    text = forge.definition().decode().replace("uint32 height", "uint32 height", 1)
    text = text.replace("\nuint8[] data", "\nuint8[] data\nuint32 exposure").replace("\n", ends)
    messages = [(time, data + bytes([9, 0, 0, 0])) for time, data in forge.images()]
    topic = forge.Topic(schema=text.encode(), messages=messages)
    assert forge.read(forge.mcap(tmp_path / "x.mcap", [topic])) == (forge.ALL, [])


@pytest.mark.parametrize("profile", ["", "ros1", "ros2", "x-robot"])
def test_ros1_messages_are_read_whatever_the_profile(forge, tmp_path, profile):
    topic = forge.Topic(
        "/cam", "sensor_msgs/Image", "ros1", "ros1msg", forge.definition(ros1=True), forge.images(ros1=True)
    )
    assert forge.read(forge.mcap(tmp_path / "x.mcap", [topic], profile=profile)) == (forge.ALL, [])


@pytest.mark.parametrize(
    "options",
    [
        {"use_chunking": False},
        {"compression": "zstd", "chunk_size": 2000},
        {"compression": "lz4", "chunk_size": 2000},
        {"compression": "lz4", "index_types": "NONE"},
        {"chunk_size": 1000, "index_types": "NONE", "use_statistics": False, "use_summary_offsets": False},
        {"chunk_size": 1000, "repeat_channels": False, "repeat_schemas": False},
        {"chunk_size": 1000, "enable_crcs": False},
        {"chunk_size": 1000, "enable_data_crcs": True},
    ],
)
def test_every_way_to_write_is_read(forge, tmp_path, options):
    if options.get("index_types") == "NONE":
        from mcap.writer import IndexType

        options = options | {"index_types": IndexType.NONE}
    other = forge.Topic("/other", "std_msgs/msg/String", messages=[(forge.START + 5, b"\0\1\0\0\0\0\0\0")])
    empty = forge.Topic("/empty")
    path = forge.mcap(tmp_path / "x.mcap", [other, empty, forge.Topic(messages=forge.images())], **options)
    assert forge.read(path, forge.TOPIC) == (forge.ALL, [])
    assert forge.read(path) == (forge.ALL, [])  # a topic without messages is none to choose


@pytest.mark.parametrize("kind", ["zstd", "lz4"])
def test_messages_that_were_compressed_one_by_one_are_read(forge, tmp_path, kind):
    if kind == "zstd":
        compress = pytest.importorskip("zstandard", reason="zstandard is missing").compress
    else:
        compress = pytest.importorskip("lz4.frame", reason="lz4 is missing").compress
    messages = [(time, compress(data)) for time, data in forge.images()]
    assert forge.read(forge.mcap(tmp_path / "x.mcap", [forge.Topic(messages=messages)])) == (forge.ALL, [])


def test_a_bomb_of_a_message_is_left_out(forge, tmp_path):
    zstandard = pytest.importorskip("zstandard", reason="zstandard is missing")
    messages = forge.images()
    messages[3] = (messages[3][0], zstandard.compress(bytes(1 << 30)))
    numbers, notes = forge.read(forge.mcap(tmp_path / "x.mcap", [forge.Topic(messages=messages)]))
    assert numbers == [n for n in forge.ALL if n != 3]
    assert "grows beyond" in notes[0]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("compression", ["none", "zstd", "lz4"])
@pytest.mark.parametrize("chunk_size", [500, 1 << 20])
def test_a_cut_file_is_read_up_to_the_cut(forge, tmp_path, share, compression, chunk_size):
    topic = forge.Topic(messages=forge.images())
    path = forge.mcap(
        tmp_path / "x.mcap", [topic], compression=compression, chunk_size=chunk_size, finish=False
    )
    if chunk_size == 1 << 20:  # nothing was written yet: take a finished file
        forge.mcap(path, [topic], compression=compression)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    try:
        numbers, notes = forge.read(path)
    except SourceError as error:
        numbers, notes = [], [str(error)]
    assert numbers == forge.ALL[: len(numbers)]
    assert "cut off" in notes[0]
    if compression == "none" and share == 0.5:
        assert len(numbers) >= 3


def test_a_damaged_chunk_costs_its_own_messages_only(forge, tmp_path):
    path = forge.mcap(
        tmp_path / "x.mcap", [forge.Topic(messages=forge.images())], compression="zstd", chunk_size=800
    )
    data = bytearray(path.read_bytes())
    place = data.index(b"\x28\xb5\x2f\xfd", len(data) // 3)
    data[place + 8 : place + 24] = bytes(16)
    path.write_bytes(data)
    numbers, notes = forge.read(path)
    assert 8 <= len(numbers) < 12
    assert "is damaged" in notes[0]
    assert any(note.startswith(f"{12 - len(numbers)} messages in damaged parts") for note in notes)


def test_a_wrong_checksum_is_told_and_the_images_are_used(forge, tmp_path):
    path = forge.mcap(tmp_path / "x.mcap", [forge.Topic(messages=forge.images())])
    data = bytearray(path.read_bytes())
    chunk = next(at for at, opcode, _ in records(data) if opcode == 6)
    data[chunk + 9 + 24] ^= 0xFF
    path.write_bytes(data)
    numbers, notes = forge.read(path)
    assert numbers == forge.ALL
    assert "checksum" in notes[0]


def test_damage_between_chunks_is_jumped_over(forge, tmp_path):
    path = forge.mcap(tmp_path / "x.mcap", [forge.Topic(messages=forge.images())], chunk_size=400)
    data = bytearray(path.read_bytes())
    second = [at for at, opcode, _ in records(data) if opcode == 6][1]
    data[second : second + 9] = b"\xee" * 9
    path.write_bytes(data)
    numbers, notes = forge.read(path)
    assert 8 <= len(numbers) < 12
    assert numbers[-1] == 11
    assert any("were left out" in note for note in notes)


def test_zeros_after_a_power_cut_are_the_end(forge, tmp_path):
    path = forge.mcap(tmp_path / "x.mcap", [forge.Topic(messages=forge.images())], use_chunking=False)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(5000))
    numbers, notes = forge.read(path)
    assert numbers == forge.ALL[: len(numbers)] != []
    assert "cut off or damaged" in notes[0]


def test_millions_of_empty_records_are_damage(tmp_path):
    (tmp_path / "x.mcap").write_bytes(b"\x89MCAP0\r\n" + struct.pack("<BQ", 0x7F, 0) * 3_000_000)
    with pytest.raises(SourceError, match="no messages"):
        BagReader(tmp_path / "x.mcap")


def records(data):
    """Place, opcode and length of every record of a file."""
    at = 8
    while at + 9 <= len(data) - 8:
        opcode, length = struct.unpack_from("<BQ", data, at)
        yield at, opcode, length
        at += 9 + length


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("kind", ["CompressedImage", "RawImage"])
def test_images_of_foxglove_messages_are_read(forge, tmp_path, kind, defined):
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    time = "builtin_interfaces/Time timestamp\nstring frame_id\n"
    raw = "uint32 width\nuint32 height\nstring encoding\nuint32 step\nuint8[] data\n"
    text = time + (raw if kind == "RawImage" else "uint8[] data\nstring format\n")
    name = f"foxglove_msgs/msg/{kind}"
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(text, name))
    messages = []
    for number in range(12):
        at = store.types["builtin_interfaces/msg/Time"](forge.START // forge.SECOND + number, 0)
        picture = np.full((8, 12, 3), number, np.uint8)
        if kind == "RawImage":
            message = store.types[name](at, "lens", 12, 8, "rgb8", 36, picture.reshape(-1))
        else:
            png = cv2.imencode(".png", picture)[1].reshape(-1)
            message = store.types[name](at, "lens", png, "png")
        messages.append((forge.START + number * forge.SECOND, bytes(store.serialize_cdr(message, name))))
    definition = f"{text}{'=' * 80}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
    schema = definition.encode() if defined else b""
    topic = forge.Topic("/front", name, schema=schema, messages=messages)
    path = forge.mcap(tmp_path / "x.mcap", [topic])
    assert forge.read(path) == (forge.ALL, [])
    with BagReader(path) as bag:
        first = next(bag.messages(["/front"]))
        assert bag.stamp(first) == forge.START
        assert bag.decode(first)[1] == "lens"


def test_images_that_are_no_ros_messages_are_named_with_their_encoding(forge, tmp_path):
    topic = forge.Topic("/front", "foxglove.CompressedImage", "protobuf", "protobuf", b"x", [(1, b"x")])
    path = forge.mcap(tmp_path / "x.mcap", [topic])
    told = (
        r"/front \(foxglove.CompressedImage, protobuf\); images in protobuf cannot be read, so record them as"
    )
    with pytest.raises(SourceError, match=told):
        BagReader(path)


def record(opcode, content):
    return struct.pack("<BQ", opcode, len(content)) + content


def text(value):
    return struct.pack("<I", len(value)) + value


def of_records(forge, path, *records):
    """An MCAP file by hand: the records and nothing else."""
    head = b"\x89MCAP0\r\n" + record(1, text(b"ros2") + text(b"forged"))
    path.write_bytes(head + b"".join(records) + record(15, bytes(4)) + record(2, bytes(20)) + head[:8])
    return path


def schema(forge, number=1):
    parts = text(b"sensor_msgs/msg/Image") + text(b"ros2msg") + text(forge.definition())
    return record(3, struct.pack("<H", number) + parts)


def channel(number=1, topic=b"/front", schema=1, encoding=b"cdr"):
    return record(4, struct.pack("<HH", number, schema) + text(topic) + text(encoding) + bytes(4))


def messages(forge, numbers, channel=1):
    found = forge.images()
    return b"".join(
        record(5, struct.pack("<HIQQ", channel, 0, found[i][0], found[i][0]) + found[i][1]) for i in numbers
    )


@pytest.mark.parametrize("order", ["cs", "cms", "mcs", "msc"])
def test_definitions_may_come_in_any_order(forge, tmp_path, order):
    records = {"c": channel(), "s": schema(forge), "m": messages(forge, range(12))}
    order += "" if "m" in order else "m"
    path = of_records(forge, tmp_path / "x.mcap", *(records[kind] for kind in order))
    assert forge.read(path) == (forge.ALL, [])


def test_messages_on_the_image_topic_that_are_no_images_are_told(forge, tmp_path):
    path = of_records(
        forge,
        tmp_path / "x.mcap",
        schema(forge),
        channel(),
        channel(2, schema=0, encoding=b"json"),
        messages(forge, range(12)),
        messages(forge, range(3), 2),
    )
    numbers, notes = forge.read(path)
    assert numbers == forge.ALL
    assert notes == ["/front also has 3 messages that cannot be read as images (no type, json)."]


def test_a_channel_that_is_defined_for_two_topics_is_told(forge, tmp_path):
    path = of_records(
        forge,
        tmp_path / "x.mcap",
        schema(forge),
        channel(),
        messages(forge, range(6)),
        channel(topic=b"/rear"),
        messages(forge, range(6, 12)),
    )
    numbers, notes = forge.read(path)
    assert numbers == forge.ALL
    assert notes == ["x.mcap has one channel for /front and /rear; its messages count as those of /front."]


def test_messages_without_a_channel_are_told(forge, tmp_path):
    lost = messages(forge, range(2), 9)
    path = of_records(forge, tmp_path / "x.mcap", schema(forge), channel(), messages(forge, range(12)), lost)
    assert forge.read(path) == (forge.ALL, ["x.mcap: 2 messages of no known topic left out."])


def test_what_follows_the_end_of_a_file_is_told(forge, tmp_path):
    path = of_records(forge, tmp_path / "x.mcap", schema(forge), channel(), messages(forge, range(12)))
    path.write_bytes(path.read_bytes() + bytes(1000))
    assert forge.read(path) == (forge.ALL, ["x.mcap has data after its end; 1000 bytes were left out."])
