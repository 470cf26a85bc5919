"""Random recordings by other writers: what is read is what was written.

HYPOTHESIS_EXAMPLES sets how many (default 50).
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from stride_ros.errors import SourceError

pytest.importorskip("hypothesis", reason="hypothesis is missing")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "50"))

FOREIGN = [
    ("status", "json", "jsonschema", b"{}"),
    ("x.Y", "protobuf", "protobuf", bytes(range(250, 256))),
    ("my_msgs/msg/Thing", "cdr", "unknown", b""),
    ("my_msgs/msg/Thing", "cdr", "ros2msg", b"?? ??\r\n"),
    ("my_msgs/srv/Do_Event", "cdr", "ros2idl", b"module {"),
    ("std_msgs/msg/String", "cdr", "ros2msg", b"string data"),
]
recordings = st.fixed_dictionaries(
    {
        "count": st.integers(1, 40),
        "gaps": st.lists(st.integers(10**7, 5 * 10**9), min_size=40, max_size=40),
        "stamps": st.sampled_from(["log", "late", "none", "one wrong", "negative"]),
        "wrong": st.integers(0, 39),
        "splits": st.integers(1, 4),
        "storage": st.sampled_from(["mcap", "sqlite3"]),
        "chunk_size": st.sampled_from([1, 700, 3000, 1 << 20]),
        "compression": st.sampled_from(["none", "zstd", "lz4"]),
        "chunking": st.booleans(),
        "messages": st.sampled_from(["", "zstd"]),
        "file": st.sampled_from(["", "zstd"]),
        "foreign": st.lists(st.sampled_from(FOREIGN), max_size=3),
        "schema": st.sampled_from([None, b"", b"?", b"uint8[] data"]),
        "metadata": st.sampled_from(["", "{", "rosbag2_bagfile_information: {version: 4, message_count: 3}"]),
        "cut": st.floats(0.0, 1.0),
        "damage": st.sampled_from(["none", "none", "cut", "bytes"]),
    }
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=recordings)
def test_what_is_read_is_what_was_written(forge, plan):
    folder = Path(tempfile.mkdtemp(prefix="random_recording_"))
    try:
        expected, damaged = write(forge, plan, folder / "bag")
        try:
            numbers, notes = forge.read(folder / "bag")
        except SourceError as error:  # a sentence, and only where something is wrong
            numbers, notes = [], [str(error)]
        if not damaged:
            assert numbers == expected
            return
        # Damage is told and costs images; the bytes of those that are left may be wrong without a checksum.
        assert len(numbers) <= len(expected)
        if plan["damage"] == "cut":
            assert [number for number in numbers if number not in expected] == []
            assert numbers == sorted(numbers)
        if len(numbers) < len(expected):
            assert notes
    finally:
        shutil.rmtree(folder)


def write(forge, plan, folder):
    """Write a recording as planned; the numbers of its images, and whether it was damaged."""
    folder.mkdir()
    times = [forge.START]
    for gap in plan["gaps"][: plan["count"] - 1]:
        times.append(times[-1] + gap)
    images = [(time, forge.image(i, stamp(plan, i, time))) for i, time in enumerate(times)]
    if plan["messages"]:
        import zstandard

        images = [(time, zstandard.compress(data)) for time, data in images]
    size = -(-len(images) // plan["splits"])
    parts = [images[i : i + size] for i in range(0, len(images), size)]
    files = [write_part(forge, plan, folder, i, part) for i, part in enumerate(parts)]
    damaged = plan["damage"] != "none"
    if damaged:
        data = bytearray(files[-1].read_bytes())
        place = int(plan["cut"] * len(data))
        if plan["damage"] == "cut":
            del data[place:]
        else:
            data[place : place + 20] = bytes(len(data[place : place + 20]))
        files[-1].write_bytes(data)
    if plan["metadata"]:
        (folder / "metadata.yaml").write_text(plan["metadata"])
    return list(range(len(images))), damaged


def stamp(plan, number, time):
    if plan["stamps"] == "none":
        return 0
    if plan["stamps"] == "negative":
        return -5 * 10**9
    if plan["stamps"] == "late":
        return time - 2 * 10**8
    if plan["stamps"] == "one wrong" and number == plan["wrong"] and number:
        return 2 * 10**18
    return time


def write_part(forge, plan, folder, number, images):
    topics = [forge.Topic(schema=plan["schema"], messages=images)]
    for i, (name, encoding, schema_encoding, schema) in enumerate(plan["foreign"]):
        messages = [(time, b"\0\1\0\0rest") for time, _ in images[::2]]
        topics.append(forge.Topic(f"/foreign{i}", name, encoding, schema_encoding, schema, messages))
    if plan["storage"] == "sqlite3":
        path = forge.database(folder / f"x_{number}.db3", topics)
    else:
        path = forge.mcap(
            folder / f"x_{number}.mcap",
            topics,
            profile=["ros2", ""][number % 2],
            chunk_size=plan["chunk_size"],
            compression=plan["compression"],
            use_chunking=plan["chunking"],
        )
    if plan["file"]:
        import zstandard

        packed = path.with_name(f"{path.name}.zstd")
        packed.write_bytes(zstandard.compress(path.read_bytes()))
        path.unlink()
        return packed
    return path
