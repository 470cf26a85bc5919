"""Video packets in recordings: decoded in order, and what gives no picture is counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is missing; install it with: pip install av")
from stride_ros.activation.intake import Intake  # noqa: E402
from stride_ros.activation.notes import StreamNotes  # noqa: E402
from stride_ros.bags.reader import BagReader  # noqa: E402
from stride_ros.errors import SourceError  # noqa: E402
from stride_ros.imaging import packets as packets_module  # noqa: E402
from stride_ros.sources import open_source  # noqa: E402
from stride_ros.training.sources.bag import BagVideo  # noqa: E402

from ..video_packets import encode_greys  # noqa: E402

SECOND = 10**9
START = 1_700_000_000 * SECOND
STEP = SECOND // 10
TOPIC = "/camera/image_raw"
COUNT = 30
FOXGLOVE = "foxglove_msgs/msg/CompressedVideo"
FFMPEG = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
TEXTS = {
    FOXGLOVE: "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n",
    FFMPEG: "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\n"
    "bool is_bigendian\nuint8[] data\n",
}
ENCODERS = {  # encoder, its options, what messages call it
    "h264": ("libx264", {"tune": "zerolatency", "g": "10"}, "h264"),
    "h264 with B-frames": ("libx264", {"bf": "2", "g": "10"}, "libx264"),
    "h264 without key frames": ("libx264", {"intra-refresh": "1", "g": "10", "tune": "zerolatency"}, "h264"),
    "h265": ("libx265", {"x265-params": "keyint=10:bframes=0:log-level=none"}, "h265"),
    "h265 with B-frames": ("libx265", {"x265-params": "keyint=10:log-level=none"}, "hevc;yuv420p;bgr8;bgr8"),
    "vp9": ("libvpx-vp9", {"g": "10", "lag-in-frames": "0", "deadline": "realtime"}, "vp9"),
    "av1": ("libsvtav1", {"g": "10", "preset": "12", "svtav1-params": "lookahead=0:pred-struct=1"}, "av1"),
}


def grey(number: int) -> int:
    return 8 * number + 8


def encode(name: str, numbers: Sequence[int] = range(COUNT), size: tuple[int, int] = (64, 48)) -> list[Any]:
    """(number of the picture, packet) in the order of decoding."""
    encoder, options, _ = ENCODERS[name]
    packets = encode_greys(encoder, options, tuple(grey(number) for number in numbers), size)
    return [(numbers[i], data) for i, data in packets]


def store(ros1: bool = False) -> Any:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    types = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
    for name, text in TEXTS.items():
        types.register(get_types_from_msg(text, name))
    return types


def serialised(kind: str, encoding: str, number: int, data: bytes, ros1: bool = False) -> bytes:
    types = store(ros1)
    time = types.types["builtin_interfaces/msg/Time"](*divmod(START + number * STEP, SECOND))
    header = types.types["std_msgs/msg/Header"](*([number] if ros1 else []), time, "lens")
    payload = np.frombuffer(data, np.uint8)
    message = {
        FOXGLOVE: lambda: types.types[FOXGLOVE](time, "lens", payload, encoding),
        FFMPEG: lambda: types.types[FFMPEG](header, 64, 48, encoding, number, 0, False, payload),
        COMPRESSED: lambda: types.types[COMPRESSED](header, encoding, payload),
    }[kind]()
    return bytes((types.serialize_ros1 if ros1 else types.serialize_cdr)(message, kind))


def record(
    path: Path,
    forge: Any,
    name: str,
    *,
    kind: str = FFMPEG,
    packets: list[Any] | None = None,
    storage: str = "mcap",
    others: Sequence[Any] = (),
) -> Path:
    """A recording with a packet every tenth of a second, in the order of decoding."""
    found = encode(name) if packets is None else packets
    messages = [
        (START + i * STEP, serialised(kind, ENCODERS[name][2], number, data))
        for i, (number, data) in enumerate(found)
    ]
    text, _ = store().generate_msgdef(kind, ros_version=2)
    topic = forge.Topic(TOPIC, kind, "cdr", "ros2msg", text.encode(), messages)
    if storage == "mcap":
        return forge.mcap(path.with_suffix(".mcap"), [topic, *others])
    return forge.database(path.with_suffix(".db3"), [topic, *others])  # without definitions


def read(
    path: Path, rate: float = 1000.0, topic: str | None = None
) -> tuple[list[int], list[float], list[str]]:
    """The numbers of the pictures, their times, and the notes."""
    odd = StreamNotes()
    with BagReader(path, topic) as bag:
        frames = list(bag.frames(rate, odd))
        notes = [*bag.notes, *odd.sentences()]
    return [round((float(image.mean()) - 8) / 8) for image, _ in frames], [time for _, time in frames], notes


ALL = list(range(COUNT))


@pytest.mark.parametrize("kind", [FOXGLOVE, FFMPEG, COMPRESSED])
@pytest.mark.parametrize("name", ENCODERS)
def test_every_picture_of_a_video_is_read_at_its_stamp(forge, tmp_path, name: str, kind: str) -> None:
    numbers, times, notes = read(record(tmp_path / "a", forge, name, kind=kind))
    assert numbers == ALL
    assert times == pytest.approx([i / 10 for i in ALL])
    assert notes == []


@pytest.mark.parametrize("kind", [FOXGLOVE, FFMPEG, COMPRESSED])
def test_a_recording_without_definitions_is_read_too(forge, tmp_path, kind: str) -> None:
    assert read(record(tmp_path / "a", forge, "h264", kind=kind, storage="sqlite3"))[0] == ALL


@pytest.mark.parametrize("kind", [FOXGLOVE, FFMPEG, COMPRESSED])
def test_a_ros1_recording_is_read_too(tmp_path, kind: str) -> None:
    from rosbags.rosbag1 import Writer

    types = store(ros1=True)
    with Writer(tmp_path / "a.bag") as writer:
        connection = writer.add_connection(TOPIC, kind, typestore=types)
        for number, data in encode("h264"):
            writer.write(connection, START + number * STEP, serialised(kind, "h264", number, data, ros1=True))
    numbers, times, _ = read(tmp_path / "a.bag")
    assert numbers == ALL
    assert times == pytest.approx([i / 10 for i in ALL])


@pytest.mark.parametrize("name", ENCODERS)
def test_decoding_begins_at_the_first_key_frame_and_what_came_before_is_counted(
    forge, tmp_path, name: str
) -> None:
    numbers, _, notes = read(record(tmp_path / "a", forge, name, packets=encode(name)[4:]))
    assert numbers
    assert min(numbers) >= 8
    assert numbers == list(range(min(numbers), COUNT))
    (note,) = notes
    assert note.startswith(
        f"{26 - len(numbers)} of 26 images could not be used: A video packet before the first"
    )


@pytest.mark.parametrize("name", ["h264", "h264 with B-frames", "h265", "vp9"])
def test_a_sampled_video_gives_the_same_pictures(forge, tmp_path, monkeypatch, name: str) -> None:
    from stride_ros.bags import reader

    converted = []
    real = reader.frame_to_rgb
    monkeypatch.setattr(reader, "frame_to_rgb", lambda frame: converted.append(1) or real(frame))
    numbers, times, _ = read(record(tmp_path / "a", forge, name), rate=1.0)
    assert numbers == [0, 10, 20]
    assert times == pytest.approx([0.0, 1.0, 2.0])
    assert len(converted) == 3  # only what is due is converted


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("start", [0.5, 1.3, 2.9])
def test_a_part_begins_where_it_is_asked_for_and_not_at_a_key_frame(forge, tmp_path, name, start) -> None:
    with BagReader(record(tmp_path / "a", forge, name)) as bag:
        begin, stop = bag.part(start, 1.0)
        notes = StreamNotes()
        found = [bag.decode(message)[0] for message, _ in bag.images(Intake(1.0, notes), begin, stop)]
    numbers = [round((float(image.mean()) - 8) / 8) for image in found]
    first = round(10 * start)
    assert abs(numbers[0] - first) <= (0 if "B-frames" not in name else 3)
    assert numbers == sorted(numbers)
    assert notes.unusable is None or "intra" in str(ENCODERS[name][1])


def test_a_damaged_packet_costs_its_picture_and_is_counted(forge, tmp_path) -> None:
    packets = encode("h265")
    packets[14] = (14, packets[14][1][:9])
    numbers, _, notes = read(record(tmp_path / "a", forge, "h265", packets=packets))
    assert set(range(14)) | set(range(20, COUNT)) <= set(numbers)
    assert 14 not in numbers
    assert any("could not be used" in note for note in notes)


def test_a_lost_key_frame_does_not_end_the_video(forge, tmp_path) -> None:
    packets = [packet for packet in encode("vp9") if packet[0] not in (0, 10)]
    numbers, _, notes = read(record(tmp_path / "a", forge, "vp9", packets=packets))
    assert numbers == list(range(20, COUNT))
    assert "18 of 28 images could not be used" in notes[0]


@pytest.mark.parametrize("name", ["h264", "h265", "vp9"])
def test_a_camera_that_changes_its_size_is_followed(forge, tmp_path, name: str) -> None:
    packets = encode(name, range(10)) + encode(name, range(10, 20), (96, 64))
    with BagReader(record(tmp_path / "a", forge, name, packets=packets)) as bag:
        shapes = [image.shape for image, _ in bag.frames(1000.0)]
    assert shapes == [(48, 64, 3)] * 10 + [(64, 96, 3)] * 10


def test_parameter_sets_in_a_packet_of_their_own_are_no_pictures(forge, tmp_path) -> None:
    packets: list[Any] = []
    for number, data in encode("h264"):
        units = [b"\0\0\0\1" + unit for unit in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
        sets = b"".join(unit for unit in units if unit[4] & 0x1F in (7, 8))
        if sets:
            packets.append((number, sets))
        packets.append((number, b"".join(unit for unit in units if unit[4] & 0x1F not in (7, 8))))
    numbers, _, notes = read(record(tmp_path / "a", forge, "h264", packets=packets))
    assert (numbers, notes) == (ALL, [])


def test_a_codec_that_is_not_known_is_named(forge, tmp_path) -> None:
    messages = [(START + i * STEP, serialised(FFMPEG, "hal9000", i, b"data")) for i in range(3)]
    text, _ = store().generate_msgdef(FFMPEG, ros_version=2)
    path = forge.mcap(
        tmp_path / "a.mcap", [forge.Topic(TOPIC, FFMPEG, "cdr", "ros2msg", text.encode(), messages)]
    )
    with pytest.raises(SourceError, match="encoding 'hal9000' is not supported; record it as h264, h265"):
        list(open_source(str(path)).frames())


def test_packets_that_hold_no_video_end_in_a_sentence(forge, tmp_path) -> None:
    noise = np.random.default_rng(0)
    packets = [(i, b"\0\0\0\1\x67" + noise.bytes(200)) for i in range(12)]
    with pytest.raises(SourceError, match=r"No image on .* can be used: it contains no"):
        list(open_source(str(record(tmp_path / "a", forge, "h264", packets=packets))).frames())


def test_a_video_beside_images_is_chosen_only_by_name(forge, tmp_path) -> None:
    images = forge.Topic("/other/image_raw", messages=forge.images())
    path = record(tmp_path / "a", forge, "h264", others=[images])
    with BagReader(path) as bag:
        assert bag.image.topic == "/other/image_raw"
    assert read(path, topic=TOPIC)[0] == ALL


@pytest.mark.parametrize("transport", ["ffmpeg", "foxglove", "compressed"])
def test_a_video_is_found_by_the_camera_s_topic(forge, tmp_path, transport: str) -> None:
    kind = {"ffmpeg": FFMPEG, "foxglove": FOXGLOVE, "compressed": COMPRESSED}[transport]
    text, _ = store().generate_msgdef(kind, ros_version=2)
    messages = [(START + n * STEP, serialised(kind, "h264", n, data)) for n, data in encode("h264")]
    topic = forge.Topic(f"{TOPIC}/{transport}", kind, "cdr", "ros2msg", text.encode(), messages)
    assert read(forge.mcap(tmp_path / "a.mcap", [topic]), topic=TOPIC)[0] == ALL


@pytest.mark.parametrize("name", ["h264 with B-frames", "h265"])
def test_training_sees_the_same_pictures(forge, tmp_path, name: str) -> None:
    video = BagVideo(record(tmp_path / "a", forge, name))
    assert video.end == pytest.approx(2.9)
    images, times = video.read([2.3, 2.5])
    assert times == pytest.approx([2.3, 2.5])
    assert [round((float(image.mean()) - 8) / 8) for image in images] == [23, 25]
    images, times = video.read([0.2, 1.7])
    assert [round((float(image.mean()) - 8) / 8) for image in images] == [2, 17]
    assert video.unusable == []


def test_names_of_codecs() -> None:
    names = {
        "h264": ("h264", "H264", "h264_nvenc", "libx264", "video/h264", "h264;yuv420p;bgr8;bgr8", "avc1"),
        "hevc": ("h265", "hevc", "hevc_vaapi", "libx265"),
        "vp9": ("vp9", "libvpx-vp9"),
        "av1": ("av1", "libsvtav1", "av1_nvenc"),
        None: ("jpeg", "png", "bgr8; jpeg compressed bgr8", "", "16UC1; compressedDepth", "rgb8"),
    }
    for codec, spellings in names.items():
        for spelling in spellings:
            assert packets_module.codec_of(spelling) == codec, spelling


def test_pictures_that_are_all_damaged_end_in_a_sentence(forge, tmp_path) -> None:
    noise = np.random.default_rng(0)
    damaged = [b"\0\0\0\1\x67" + noise.bytes(20) + b"\0\0\1\x65" + noise.bytes(200) for _ in range(12)]
    path = record(tmp_path / "a", forge, "h264", packets=list(enumerate(damaged)))
    with pytest.raises(SourceError, match=r"No image on .* can be used: A video packet cannot be decoded"):
        list(open_source(str(path)).frames())


def test_a_recording_of_a_loop_waits_for_a_key_frame_where_it_begins_again(forge, tmp_path) -> None:
    packets = encode("h264")[4:]
    numbers, _, notes = read(record(tmp_path / "a", forge, "h264", packets=[*packets, *packets]))
    assert numbers == [*range(10, COUNT), *range(10, COUNT)]
    assert any(note.startswith("12 of 52 images could not be used: A video packet before") for note in notes)


B_FRAMES = ["h264", "h264 with B-frames", "h265 with B-frames"]


@pytest.mark.parametrize("wrong", [-1000, 10**9], ids=["back", "forward"])
@pytest.mark.parametrize("place", [1, 17, 29])
@pytest.mark.parametrize("name", B_FRAMES)
def test_a_packet_with_a_wrong_stamp_is_one_image_with_a_wrong_stamp(
    forge, tmp_path, name: str, place: int, wrong: int
) -> None:
    packets = encode(name)
    right = packets[place][0]
    packets[place] = (wrong, packets[place][1])
    path = record(tmp_path / "a", forge, name, kind=COMPRESSED, packets=packets)
    numbers, times, notes = read(path)
    assert numbers == ALL
    assert times == pytest.approx([i / 10 for i in ALL], abs=0.101)
    (note,) = notes
    assert "1 of 30 images has a stamp far from the others" in note
    video = BagVideo(path)
    assert video.notes == notes
    assert video.end == pytest.approx(2.9, abs=0.101)
    near = [i for i in ALL if abs(i - right) > 3]
    images, _ = video.read([i / 10 for i in near])
    assert [round((float(image.mean()) - 8) / 8) for image in images] == near


@pytest.mark.parametrize("name", B_FRAMES)
@pytest.mark.parametrize("by", [-36_000, 36_000])
def test_a_clock_that_is_set_during_a_video_is_told_once(forge, tmp_path, name: str, by: int) -> None:
    packets = [(n + by if i >= 20 else n, data) for i, (n, data) in enumerate(encode(name))]
    path = record(tmp_path / "a", forge, name, kind=COMPRESSED, packets=packets)
    numbers, times, notes = read(path)
    assert numbers == ALL
    assert times == sorted(times)
    assert times[-1] == pytest.approx(2.9, abs=0.31)
    (note,) = notes
    assert f"the clock went {'back' if by < 0 else 'forward'} by" in note
    assert BagVideo(path).end == pytest.approx(2.9, abs=0.31)


def test_the_log_s_times_of_b_frames_are_in_order(forge, tmp_path) -> None:
    with BagReader(record(tmp_path / "a", forge, "h264 with B-frames")) as bag:
        stamps = [reading.stamp for _, reading in bag.images(Intake(1000.0), clock="log")]
    assert stamps == [START + i * STEP for i in ALL]
