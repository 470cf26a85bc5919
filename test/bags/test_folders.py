"""Folders of files: splits in any state, what metadata.yaml leaves out, compressed files, other things."""

import pytest
import yaml

from stride_ros.bags.reader import BagReader
from stride_ros.cli import main
from stride_ros.errors import SourceError

pytestmark = pytest.mark.slow


def splits(forge, folder, storage, names=("x_0", "x_1", "x_2")):
    """Three splits of four images each."""
    folder.mkdir(exist_ok=True)
    files = []
    for i, name in enumerate(names):
        topic = forge.Topic(messages=forge.images()[4 * i : 4 * i + 4])
        write = forge.mcap if storage == "mcap" else forge.database
        files.append(write(folder / f"{name}.{'mcap' if storage == 'mcap' else 'db3'}", [topic]))
    return files


def metadata(folder, paths, version=5, **changes):
    info = {
        "version": version,
        "storage_identifier": "mcap",
        "relative_file_paths": paths,
        "duration": {"nanoseconds": 11 * 10**9},
        "starting_time": {"nanoseconds_since_epoch": 1_700_000_000 * 10**9},
        "message_count": 12,
        "topics_with_message_count": [],
        "compression_format": "",
        "compression_mode": "",
    } | changes
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": info}))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize(
    "names", [("x_0", "x_1", "x_2"), ("x_2", "x_0", "x_1"), ("x_9", "x_10", "x_11"), "cab"]
)
def test_splits_are_read_in_the_order_of_their_times(forge, tmp_path, storage, names):
    files = splits(forge, tmp_path / "bag", storage, names)
    metadata(tmp_path / "bag", [file.name for file in files])
    assert forge.read(tmp_path / "bag") == (forge.ALL, [])
    assert forge.read(tmp_path / "bag" / "metadata.yaml") == (forge.ALL, [])
    for i, file in enumerate(files):
        assert forge.read(file) == (forge.ALL[4 * i : 4 * i + 4], [])


@pytest.mark.parametrize("version", range(1, 10))
@pytest.mark.parametrize("prefix", ["", "bag/", "/home/robot/bag/", "C:\\bags\\"])
def test_paths_of_every_version_are_followed(forge, tmp_path, version, prefix):
    files = splits(forge, tmp_path / "bag", "mcap")
    metadata(
        tmp_path / "bag",
        [prefix + file.name for file in files],
        version,
        custom_data={"robot": "7"},
        ros_distro="rolling",
        files=[],
    )
    text = (tmp_path / "bag" / "metadata.yaml").read_text()
    (tmp_path / "bag" / "metadata.yaml").write_bytes(text.replace("\n", "\r\n").encode())
    assert forge.read(tmp_path / "bag") == (forge.ALL, [])


def test_a_split_that_is_missing_is_named(forge, tmp_path):
    files = splits(forge, tmp_path / "bag", "mcap")
    metadata(tmp_path / "bag", [file.name for file in files])
    files[1].unlink()
    numbers, notes = forge.read(tmp_path / "bag")
    assert numbers == [0, 1, 2, 3, 8, 9, 10, 11]
    assert any("lists x_1.mcap, which is missing" in note for note in notes)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"SQLite format 3\0"])
def test_a_split_that_cannot_be_read_is_named(forge, tmp_path, capsys, content):
    files = splits(forge, tmp_path / "bag", "mcap")
    files[1].write_bytes(content)
    numbers, notes = forge.read(tmp_path / "bag")
    assert numbers == [0, 1, 2, 3, 8, 9, 10, 11]
    assert any(note.startswith("x_1.mcap cannot be read") for note in notes)
    assert main(["bag", str(tmp_path / "bag"), str(tmp_path / "copy")]) == 0
    assert "Note: x_1.mcap cannot be read" in capsys.readouterr().err


def test_a_split_that_metadata_does_not_list_is_read(forge, tmp_path):
    files = splits(forge, tmp_path / "bag", "sqlite3")
    metadata(tmp_path / "bag", [files[0].name])
    numbers, notes = forge.read(tmp_path / "bag")
    assert numbers == forge.ALL
    assert any("does not list x_1.db3, x_2.db3" in note for note in notes)


def test_another_recording_beside_it_is_left_out_and_named(forge, tmp_path):
    files = splits(forge, tmp_path / "bag", "mcap")
    forge.database(tmp_path / "bag" / "other.db3", [forge.Topic(messages=forge.images())])
    metadata(tmp_path / "bag", [file.name for file in files])
    numbers, notes = forge.read(tmp_path / "bag")
    assert numbers == forge.ALL
    assert any("other.db3 is not in metadata.yaml and was left out" in note for note in notes)


def test_files_that_were_renamed_are_read(forge, tmp_path):
    splits(forge, tmp_path / "bag", "mcap", ("new_0", "new_1", "new_2"))
    metadata(tmp_path / "bag", ["old_0.mcap", "old_1.mcap", "old_2.mcap"])
    numbers, notes = forge.read(tmp_path / "bag")
    assert numbers == forge.ALL
    assert "lists old_0.mcap, old_1.mcap, old_2.mcap, which are missing" in notes[0]


@pytest.mark.parametrize("kind", ["zstd", "lz4"])
@pytest.mark.parametrize("plain_too", [False, True])
def test_compressed_files_are_read_once(forge, tmp_path, kind, plain_too):
    compress = pytest.importorskip({"zstd": "zstandard", "lz4": "lz4.frame"}[kind]).compress
    files = splits(forge, tmp_path / "bag", "sqlite3")
    for file in files:
        file.with_name(f"{file.name}.{kind}").write_bytes(compress(file.read_bytes()))
        if not plain_too:
            file.unlink()
    metadata(tmp_path / "bag", [f"{file.name}.{kind}" for file in files])
    assert forge.read(tmp_path / "bag") == (forge.ALL, [])
    assert forge.read(tmp_path / "bag" / f"x_1.db3.{kind}") == (forge.ALL[4:8], [])


def test_a_compressed_file_that_is_cut_is_read_up_to_there(forge, tmp_path):
    zstandard = pytest.importorskip("zstandard", reason="zstandard is missing")
    path = forge.mcap(tmp_path / "x.mcap", [forge.Topic(messages=forge.images(200))], use_chunking=False)
    packed = zstandard.compress(path.read_bytes(), 1)
    (tmp_path / "y.mcap.zstd").write_bytes(packed[: len(packed) * 2 // 3])
    try:
        numbers, notes = forge.read(tmp_path / "y.mcap.zstd")
    except SourceError as error:  # one block holds all
        numbers, notes = [], [str(error)]
    assert numbers == list(range(len(numbers)))
    assert any("cut off" in note for note in notes)


def test_a_bomb_of_a_file_is_refused(tmp_path):
    zstandard = pytest.importorskip("zstandard", reason="zstandard is missing")
    with zstandard.open(tmp_path / "x.mcap.zstd", "wb") as file:
        file.write(b"\x89MCAP0\r\n")
        for _ in range(1100):
            file.write(bytes(1 << 20))
    with pytest.raises(SourceError, match="grows more than"):
        BagReader(tmp_path / "x.mcap.zstd")


def test_a_kind_is_known_by_its_content(forge, tmp_path):
    path = forge.database(tmp_path / "a", [forge.Topic(messages=forge.images())])
    assert forge.read(path.rename(tmp_path / "x.mcap")) == (forge.ALL, [])


def test_a_pipe_is_no_recording(tmp_path):
    import os

    os.mkfifo(tmp_path / "x.mcap")
    with pytest.raises(SourceError, match="neither a file nor a folder"):
        BagReader(tmp_path / "x.mcap")


# Which topic


def test_several_image_topics_are_listed_with_the_option_there_is(forge, tmp_path, capsys):
    from stride_ros.sources import open_source

    topics = [forge.Topic(name, messages=forge.images()) for name in ("/left", "/right")]
    path = str(forge.mcap(tmp_path / "x.mcap", topics))
    with pytest.raises(
        SourceError, match=r"2 image topics \(/left, /right\); choose one with the parameter s"
    ):
        open_source(path, topic_option="the parameter source_topic")
    assert main(["bag", path, str(tmp_path / "copy")]) == 2
    assert "choose one with --image-topic" in capsys.readouterr().err
    assert main(["bag", path, str(tmp_path / "copy"), "--image-topic", "/right"]) == 0
    assert len(list(open_source(path, image_topic="left").frames())) == 12
    with pytest.raises(SourceError, match="is not a recording"):
        open_source("world", image_topic="/left")


@pytest.mark.parametrize(
    ("type", "encoding", "told"),
    [
        (
            "std_msgs/msg/String",
            "cdr",
            r"no image topic; it has /x \(std_msgs/msg/String\); record the camera",
        ),
        ("foxglove.CompressedImage", "protobuf", r"/x \(foxglove.CompressedImage, protobuf\)"),
        ("foxglove.CompressedVideo", "protobuf", "packets of a video .* must be decoded first"),
        ("sensor_msgs/msg/Image", "json", r"images on /x \(sensor_msgs/msg/Image\) are encoded as 'json'"),
    ],
)
def test_why_there_is_nothing_to_see_is_said(forge, tmp_path, type, encoding, told):
    topic = forge.Topic("/x", type, encoding, "unknown", b"", [(forge.START, b"\0\1\0\0")])
    with pytest.raises(SourceError, match=told):
        BagReader(forge.mcap(tmp_path / "x.mcap", [topic]))


def test_images_that_cannot_be_used_are_counted_by_every_reader(forge, tmp_path, capsys):
    messages = forge.images()
    for i in (2, 5, 6):
        messages[i] = (messages[i][0], messages[i][1][:-100])
    path = forge.mcap(tmp_path / "x.mcap", [forge.Topic(messages=messages)])
    assert main(["bag", str(path), str(tmp_path / "copy")]) == 0
    output = capsys.readouterr()
    assert "9 images" in output.out
    assert "Note: 3 of 12 images could not be used" in output.err


def test_stamps_that_jump_are_followed_by_every_reader(forge, tmp_path):
    from stride_ros.sources import open_source

    offsets = [0, 0, 0, 5000, 5000, 5000, -3000, -3000, 4e8, -3000, -3000, -3000]
    messages = [
        (forge.START + i * forge.SECOND, forge.image(i, forge.START + int(i + offset) * forge.SECOND))
        for i, offset in enumerate(offsets)
    ]
    source = open_source(str(forge.mcap(tmp_path / "x.mcap", [forge.Topic(messages=messages)])))
    assert [round(frame.time) for frame in source.frames()] == forge.ALL
    assert len([note for note in source.notes if "the clock went" in note]) == 2
    assert (
        "1 of 12 images has a stamp far from the others; the time it was received was used." in source.notes
    )


# Writing


def test_a_write_that_fails_leaves_nothing(forge, tmp_path, capsys):
    import resource

    path = str(forge.mcap(tmp_path / "x.mcap", [forge.Topic(messages=forge.images(300))]))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for storage in ("mcap", "sqlite3"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
        try:
            assert main(["bag", path, str(tmp_path / "copy"), "--raw", "--storage", storage]) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "cannot be written" in capsys.readouterr().err
        assert [file.name for file in tmp_path.iterdir()] == ["x.mcap"]


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"\x1f\x8b\x08", "gzip; unpack it"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"PK\3\4", "a zip archive"),
    ],
)
def test_archives_are_named(tmp_path, head, told):
    (tmp_path / "x.mcap").write_bytes(head + bytes(100))
    with pytest.raises(SourceError, match=told):
        BagReader(tmp_path / "x.mcap")
