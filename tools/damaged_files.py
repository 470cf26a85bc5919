"""Make small files of every kind that this package reads, with one damaged at random per case.

They are recordings, the JSON and tokenizer of a checkpoint, and the YAML and JSON that users write. A case
depends on a seed and its number.
"""

from __future__ import annotations

import json
import random
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

START = 1_700_000_000 * 10**9  # ns
QUERY = "Tell me when a cup falls."
NUMBERS = (0, 1, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1, 10**18)
PIECES = (
    *"[]{},:\"'|>#!?_-=&*\n\t",
    *("- ", ": ", "<<: ", "&a ", "*a", "!!int ", "!!binary ", "--- \n", "\\ud83d", "\ufeff", "\x00", "null"),
    *("1e999", "-1", "NaN", ".inf", "9" * 400, "0x", "1:", "true", '"a"', "{}", "[]", "[" * 70, "1e-400"),
)
Read = Callable[[Path], object]


@dataclass(frozen=True)
class Base:
    """Files by name, one of which is damaged, and the function that reads `entry`, one of the names."""

    name: str
    files: Mapping[str, bytes]
    damaged: tuple[str, ...]
    read: Read
    entry: str = ""
    share: int = 1


def recordings() -> list[Base]:
    """Small recordings of every kind that is read."""
    from stride_ros.bags.writer import BagWriter

    made: dict[str, dict[str, bytes]] = {}
    with TemporaryDirectory() as name:
        for storage in ("mcap", "sqlite3"):
            for raw in (True, False):
                path = Path(name, f"{storage}{raw}")
                with BagWriter(path, storage) as bag:
                    for i in range(4):
                        bag.write_image("/camera", picture(i), START + i * 10**9, raw=raw)
                kind = f"{storage} {'raw' if raw else 'jpeg'}"
                made[kind] = {f"x{file.suffix}": file.read_bytes() for file in sorted(path.iterdir())}
    plain = made["mcap raw"]["x.mcap"]
    for compression in ("zstd", "lz4"):
        made[f"mcap {compression}"] = {"x.mcap": chunked(plain, compression)}
    made["ros1"] = {"x.bag": ros1()}
    found = []
    for kind, files in made.items():
        storage = next(file for file in files if not file.endswith(".yaml"))
        found.append(Base(f"bag {kind}", files, (storage,), read_bag, storage, 4))
        if "x.yaml" in files:
            folder = {"bag/metadata.yaml": files["x.yaml"], f"bag/{storage}": files[storage]}
            found.append(Base(f"bag folder {kind}", folder, tuple(folder), read_bag, "bag", 1))
    return found


def chunked(plain: bytes, compression: str) -> bytes:
    """The messages of an MCAP file in small chunks, written with `mcap`."""
    from mcap.reader import make_reader
    from mcap.writer import CompressionType, Writer

    stream = BytesIO()
    writer = Writer(stream, chunk_size=2000, compression=CompressionType[compression.upper()])
    writer.start("ros2", "forged")
    for schema, channel, message in make_reader(BytesIO(plain)).iter_messages():
        if not message.sequence and schema is not None:
            number = writer.register_schema(schema.name, schema.encoding, schema.data)
            topic = writer.register_channel(channel.topic, channel.message_encoding, number)
        writer.add_message(topic, message.log_time, message.data, message.publish_time)
    writer.finish()
    return stream.getvalue()


def ros1() -> bytes:
    """A ROS 1 bag, written with `rosbags`."""
    import numpy as np
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS1_NOETIC)
    image = types.types["sensor_msgs/msg/Image"]
    header, stamp = types.types["std_msgs/msg/Header"], types.types["builtin_interfaces/msg/Time"]
    with TemporaryDirectory() as name:
        path = Path(name, "x.bag")
        with Writer(path) as writer:
            connection = writer.add_connection("/camera", image.__msgtype__, typestore=types)
            for i in range(4):
                data = np.ascontiguousarray(picture(i).reshape(-1))
                message = image(header(i, stamp(START // 10**9 + i, 0), "camera"), 8, 12, "rgb8", 0, 36, data)
                log_time = START + i * 10**9
                writer.write(connection, log_time, types.serialize_ros1(message, image.__msgtype__))
        return path.read_bytes()


def picture(number: int) -> Any:
    """A small picture (8, 12, 3) uint8."""
    import numpy as np

    return np.full((8, 12, 3), 60 * number, np.uint8)


def read_bag(path: Path) -> None:
    """Read a whole recording as the commands do."""
    from stride_ros.sources import open_source

    source = open_source(str(path), rate=100.0)
    for frame in source.frames():
        assert frame.image.ndim == 3, frame.image.shape
    list(source.notes)


def checkpoints() -> list[Base]:
    """The text files of a checkpoint, with weights that are empty."""
    from stride_ros.qwen3_vl import checkpoint
    from stride_ros.qwen3_vl.weight_files import map_weights

    tiny = ROOT / "models/stride-tiny"
    files = {file.name: file.read_bytes() for file in tiny.iterdir() if file.suffix in (".json", ".jinja")}
    files["tokenizer.json"] = shortened(files["tokenizer.json"])
    header = json.dumps({"a.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(4)
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = json.dumps({"metadata": {"total_size": 8}, "weight_map": {"a.weight": shards[0]}}).encode()
    indexed = {"model.safetensors.index.json": index, shards[0]: weights, shards[1]: weights}
    read = checkpoint.read_architecture
    tokens = tuple(name for name in files if "token" in name or "template" in name)
    return [
        Base("checkpoint config", files, ("config.json",), read, share=6),
        Base("checkpoint index", indexed, ("model.safetensors.index.json",), map_weights, share=4),
        Base("checkpoint weights", indexed, (shards[0],), map_weights, share=3),
        Base("checkpoint tokenizer", files, tokens, checkpoint.read_tokenizer, share=2),
    ]


def shortened(tokenizer: bytes) -> bytes:
    """A tokenizer with only its first tokens, so that damage hits its structure."""
    content = json.loads(tokenizer)
    model = content["model"]
    model["vocab"] = {token: i for token, i in model["vocab"].items() if i < 300}
    model["merges"] = []
    return json.dumps(content).encode()


class Minute:
    """Stands in for the recording of labels."""

    name, start, end = "a minute", 0.0, 60.0


def user_files() -> list[Base]:
    """Files that users write or pass on."""
    from stride_ros.parameters.tuning import read_tuning
    from stride_ros.runs.difference import differences, read_run
    from stride_ros.runs.expectations import read_expectations
    from stride_ros.runs.judging import add_to, judge
    from stride_ros.runs.record import QueryRun, Run, Said, Span
    from stride_ros.training.sources.annotations import annotation_recordings
    from stride_ros.training.sources.labels import labelled_recordings
    from stride_ros.training.sources.recording import Intake

    span = Span(1, 1.0, 5.0, 2.0, 0.9, said=Said("It fell.", "m"))
    run = Run("bag", 60.0, [QueryRun(QUERY, spans=[span])])
    spans = (
        f'- {{query: "{QUERY}", start: 1.5, end: 10, text: hi}}\n- {{query: &a q, none: [0, 6]}}\n'
        "- query: *a\n  start: 1:30\n  end: 2e2\n- thresholds: {recall: 1.0, iou: 0.5}\n"
    )
    parameters = (
        "/**:\n  ros__parameters: {rate: 2.0, trigger: {min_confidence: 0.6}}\n"
        '/front/activation:\n  ros__parameters:\n    max_gap: 1.5\n    queries: ["a", b]\n'
    )
    line = {"query": [QUERY], "video": {"source": "x", "metadata": {"duration": 9}}, "segment": []}
    line["segment"] = [{"start_time": 1.0, "end_time": 2.5, "description": "It fell."}]

    def expect(file: Path) -> None:
        wanted = read_expectations(file)
        judge(run, wanted).table()
        add_to(run, wanted)

    def compare(file: Path) -> None:
        before = read_run(file)
        list(differences(before, before))

    def label(file: Path) -> object:
        video: Any = Minute()
        return labelled_recordings(video, file, Intake(lambda text: None))

    def annotate(file: Path) -> object:
        return annotation_recordings([file], file.parent, Intake(lambda text: None))

    texts: tuple[tuple[str, str, str, Read], ...] = (
        ("expectations", "e.yaml", spans, expect),
        ("labels", "l.yaml", spans.rpartition("- thr")[0], label),
        ("run", "r.json", run.to_json(latencies=True), compare),
        ("parameters", "p.yaml", parameters, lambda file: read_tuning(file).config),
        ("annotations", "a.jsonl", (json.dumps(line) + "\n") * 2, annotate),
    )
    return [
        Base(f"user {name}", {file: text.encode()}, (file,), read, file, 6)
        for name, file, text, read in texts
    ]


def damage(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one to five changes."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
        at = chance.randrange(len(found) + 1)
        kind = chance.randrange(8)
        if kind == 0 and at < len(found):
            found[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and at < len(found):
            found[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind == 2:
            del found[at:]
        elif kind == 3:
            del found[at : at + chance.choice((1, 2, 4, 8, 64, 512))]
        elif kind == 4:
            found[at:at] = chance.randbytes(chance.choice((1, 2, 4, 8, 64, 512)))
        elif kind == 5:
            found[at:at] = chance.choice(PIECES).encode()
        elif kind == 6:
            size = chance.choice((2, 4, 8))
            number = chance.choice(NUMBERS) % 256**size
            found[at : at + size] = number.to_bytes(size, chance.choice(("little", "big")))
        else:
            begin = chance.randrange(len(found) + 1)
            found[at:at] = found[begin : begin + chance.choice((1, 8, 100, 1000))] * chance.choice((1, 1, 3))
    return bytes(found)


def bases() -> list[Base]:
    """All base files, each as often as it should be chosen."""
    return [base for base in (*recordings(), *checkpoints(), *user_files()) for _ in range(base.share)]


def prepare(number: int, seed: int, chosen: list[Base], folder: Path) -> tuple[Base, Path]:
    """Write the files of a case; return what to read and where."""
    chance = random.Random(f"{seed}:{number}")
    base = chance.choice(chosen)
    wrong = chance.choice(base.damaged)
    for name, data in base.files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(damage(data, chance) if name == wrong else data)
    return base, folder / base.entry
