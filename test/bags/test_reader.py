"""Recordings of every kind, whole and damaged: what can be read is read, what cannot is said."""

import shutil

import pytest
import yaml

from stride_ros.bags.reader import BagReader
from stride_ros.errors import SourceError

pytestmark = pytest.mark.slow


def images(path, topic=None):
    """(number of images read, notes) of a recording."""
    with BagReader(path, topic) as bag:
        count = sum(1 for _ in bag.messages([bag.image.topic], bag.start, bag.end + 1))
        return count, bag.notes


def stamps(count):
    return [(i * 0.1, i * 0.1) for i in range(count)]


@pytest.fixture(params=["mcap", "sqlite3"])
def bag(request, write_images, tmp_path):
    return shutil.copytree(write_images(stamps(200), request.param), tmp_path / "bag")


def storage_file(bag):
    return next(file for file in bag.iterdir() if file.suffix in (".mcap", ".db3"))


def test_a_folder_and_its_file_give_the_same_images(bag):
    assert images(bag) == (200, [])
    assert images(storage_file(bag)) == (200, [])


def test_the_only_image_topic_is_found(world_bag):
    with BagReader(world_bag) as bag:
        assert bag.image.topic == "/camera/image_raw/compressed"


def test_images_recorded_compressed_are_found_by_the_camera_s_topic(world_bag):
    with BagReader(world_bag, "/camera/image_raw") as bag:
        assert bag.image.topic == "/camera/image_raw/compressed"


def test_a_video_is_told_from_a_bag(tmp_path):
    (tmp_path / "drive.MP4").write_bytes(b"video")
    with pytest.raises(SourceError, match="stride-ros demo --source"):
        BagReader(tmp_path / "drive.MP4")


def test_without_metadata_the_storage_is_read_directly(bag):
    (bag / "metadata.yaml").unlink()
    count, notes = images(bag)
    assert count == 200
    assert "metadata.yaml is missing" in notes[0]


def test_a_truncated_mcap_is_read_up_to_the_cut(write_images, tmp_path):
    bag = shutil.copytree(write_images(stamps(200)), tmp_path / "bag")
    file = storage_file(bag)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 6 // 10])
    count, notes = images(bag)
    assert 60 < count < 125
    assert "cut off" in notes[0]


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_truncated_sqlite_bag_is_a_gap_or_an_error(write_images, tmp_path, share):
    bag = shutil.copytree(write_images(stamps(200), "sqlite3"), tmp_path / "bag")
    file = storage_file(bag)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    try:
        count, notes = images(bag)
    except SourceError as error:  # it cannot even be opened
        count, notes = 1, [f"breaks off: {error}"]
    assert 0 < count < 200
    assert "breaks off" in notes[0]


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x89MCAP0\r\n"])
def test_a_file_that_is_no_recording_is_refused(tmp_path, content):
    (tmp_path / "x.mcap").write_bytes(content)
    with pytest.raises(SourceError):
        BagReader(tmp_path / "x.mcap")


def edit_metadata(bag, **changes):
    path = bag / "metadata.yaml"
    metadata = yaml.safe_load(path.read_text())
    metadata["rosbag2_bagfile_information"].update(changes)
    path.write_text(yaml.safe_dump(metadata))


@pytest.mark.parametrize(
    "changes",
    [
        {"compression_format": "snappy", "compression_mode": "FILE"},
        {"storage_identifier": ""},
        {"relative_file_paths": ["gone.mcap"]},
        {"relative_file_paths": None},
        {"version": 99},
        {"version": "4"},
        {"message_count": 0},
        {"starting_time": {"nanoseconds_since_epoch": 0}},
        {"duration": {"nanoseconds": 5 * 10**9}},
        {"duration": "long"},
        {"topics_with_message_count": []},
    ],
)
def test_what_metadata_says_is_not_believed(bag, changes):
    edit_metadata(bag, **changes)
    assert images(bag)[0] == 200


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"relative_file_paths": ["gone.mcap"]}, "lists gone.mcap, which is missing"),
        ({"version": 99}, "has version 99"),
        ({"message_count": 0}, "0 messages instead of 200"),
        ({"duration": {"nanoseconds": 5 * 10**9}}, "5.0 s instead of 19.9 s"),
        ({"starting_time": {"nanoseconds_since_epoch": 0}}, "a start at 0 s instead of 1700000000 s"),
    ],
)
def test_what_metadata_has_wrong_is_told(bag, changes, told):
    edit_metadata(bag, **changes)
    assert any(told in note for note in images(bag)[1])


@pytest.mark.parametrize("text", ["{ no yaml", "", "[]", "rosbag2_bagfile_information: 3", "a: &a [*a]"])
def test_broken_metadata_is_told(bag, text):
    (bag / "metadata.yaml").write_text(text)
    count, notes = images(bag)
    assert count == 200
    assert "metadata.yaml is" in notes[0]


def test_a_compressed_bag_is_read(write_images, tmp_path):
    zstd = pytest.importorskip("backports.zstd", reason="backports.zstd is missing")
    bag = shutil.copytree(write_images(stamps(50), "sqlite3"), tmp_path / "bag")
    file = storage_file(bag)
    (bag / f"{file.name}.zstd").write_bytes(zstd.compress(file.read_bytes()))
    file.unlink()
    edit_metadata(
        bag, compression_format="zstd", compression_mode="FILE", relative_file_paths=[f"{file.name}.zstd"]
    )
    assert images(bag) == (50, [])


def test_a_ros1_bag_is_read(tmp_path):
    import numpy as np
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    image, header, time = (
        store.types[name]
        for name in ("sensor_msgs/msg/Image", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    with Writer(tmp_path / "old.bag") as writer:
        connection = writer.add_connection("/cam", "sensor_msgs/msg/Image", typestore=store)
        for i in range(10):
            message = image(
                header=header(seq=i, stamp=time(sec=100 + i, nanosec=5), frame_id="cam"),
                height=32,
                width=32,
                encoding="rgb8",
                is_bigendian=0,
                step=96,
                data=np.full(32 * 96, 10 * i, np.uint8),
            )
            data = store.serialize_ros1(message, "sensor_msgs/msg/Image")
            writer.write(connection, (100 + i) * 10**9, data)
    with BagReader(tmp_path / "old.bag") as bag:
        messages = list(bag.messages(["/cam"], bag.start, bag.end + 1))
        assert [bag.stamp(message) for message in messages] == [(100 + i) * 10**9 + 5 for i in range(10)]
        frame, frame_id = bag.decode(messages[3])
    assert frame.shape == (32, 32, 3)
    assert frame[0, 0, 0] == 30
    assert frame_id == "cam"


def test_a_split_bag_is_read_in_order(write_images, tmp_path):
    first, second = write_images(stamps(30)), write_images([(3 + i * 0.1, 3 + i * 0.1) for i in range(30)])
    bag = tmp_path / "split"
    bag.mkdir()
    shutil.copy(storage_file(first), bag / "split_0.mcap")
    shutil.copy(storage_file(second), bag / "split_1.mcap")
    with BagReader(bag) as reader:
        times = [message.log_time for message in reader.messages(["/cam"], reader.start, reader.end + 1)]
    assert len(times) == 60
    assert times == sorted(times)


def test_topics_are_named_when_the_choice_is_wrong(world_bag):
    with pytest.raises(SourceError, match="/camera/image_raw/compressed"):
        BagReader(world_bag, "/no/such/topic")
    with pytest.raises(SourceError, match="ActivationSpan, not images"):
        BagReader(world_bag, "/ground_truth")


def test_a_bag_without_images_is_refused(tmp_path):
    from stride_ros.bags import messages
    from stride_ros.bags.writer import BagWriter

    with BagWriter(tmp_path / "bag") as bag:
        said = messages.commentary(1, "q", "text", stamp=5, frame_id="", model="m")
        bag.write("/said", said, 5)
    with pytest.raises(SourceError, match="has no image topic"):
        BagReader(tmp_path / "bag")


def test_an_empty_bag_and_a_missing_one_are_refused(tmp_path):
    from stride_ros.bags.writer import BagWriter

    with BagWriter(tmp_path / "empty"):
        pass
    with pytest.raises(SourceError, match="no messages"):
        BagReader(tmp_path / "empty")
    with pytest.raises(SourceError, match="no recording"):
        BagReader(tmp_path / "missing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match="contains no recording; give a folder"):
        BagReader(tmp_path / "folder")


def test_a_folder_of_recordings_names_one_of_them(world_bag, tmp_path):
    for name in ("drive_2", "drive_1"):
        shutil.copytree(world_bag, tmp_path / name)
    (tmp_path / "notes").mkdir()
    with pytest.raises(SourceError) as caught:
        BagReader(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} contains no recording itself, but 2 folders with one; give one of them, such as "
        f"{tmp_path / 'drive_1'}, or watch all of them with `stride-ros mine`."
    )
