"""Recordings of the world: bags with ground truth that read back without this package, videos, labels."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from stride_ros.cli import main
from stride_ros.errors import SourceError
from stride_ros.sources.world_bag import START_STAMP, write_bag, write_video
from stride_ros.world import World

SPAN = "stride_ros/msg/ActivationSpan"


@pytest.fixture(scope="module")
def world():
    return World(seed=0, seconds=12, size=(160, 120), fps=5)


def read(path):
    """Every message as (topic, log time, type, deserialised) with the definitions found in the bag only."""
    from rosbags.highlevel import AnyReader

    with AnyReader([path]) as reader:
        return [
            (connection.topic, stamp, connection.msgtype, reader.deserialize(data, connection.msgtype))
            for connection, stamp, data in reader.messages()
        ]


def seconds(time):
    return time.sec + time.nanosec * 1e-9 - START_STAMP / 1e9


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("raw", [True, False])
def test_a_bag_holds_the_camera_and_what_truly_happens(world, tmp_path, storage, raw):
    write_bag(world, tmp_path / "bag", topic="/cam", storage=storage, raw=raw)
    messages = read(tmp_path / "bag")

    topic = "/cam" if raw else "/cam/compressed"
    images = [message for name, _, _, message in messages if name == topic]
    assert len(images) == 61
    assert [round(seconds(image.header.stamp), 3) for image in images[:3]] == [0.0, 0.2, 0.4]
    if raw:
        np.testing.assert_array_equal(images[10].data.reshape(120, 160, 3), world.frame(2.0))

    spans = [message for _, _, kind, message in messages if kind == SPAN]
    ended = [span for span in spans if span.state == span.OFFSET]
    assert len(ended) == len(world.events) == sum(span.state == span.ONSET for span in spans)
    found = sorted((span.query, round(seconds(span.start), 2), round(seconds(span.end), 2)) for span in ended)
    true = sorted((event.query, round(event.start, 2), round(event.end, 2)) for event in world.events)
    assert found == true

    texts = [message.text for name, _, _, message in messages if name == "/ground_truth/commentary"]
    assert sorted(texts) == sorted(event.text for event in world.events)


def test_messages_are_in_the_order_of_time(world, tmp_path):
    write_bag(world, tmp_path / "bag")
    stamps = [stamp for _, stamp, _, _ in read(tmp_path / "bag")]
    assert stamps == sorted(stamps)


def test_an_existing_bag_is_not_overwritten(world, tmp_path):
    (tmp_path / "bag").mkdir()
    with pytest.raises(SourceError, match="exists already"):
        write_bag(world, tmp_path / "bag")


def test_a_video_decodes_to_the_world(world, tmp_path):
    import av

    write_video(world, tmp_path / "world.mp4")
    with av.open(str(tmp_path / "world.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 61
    assert np.abs(frames[30].astype(int) - world.frame(6.0)).mean() < 8


def test_a_video_of_an_unknown_kind_is_refused(world, tmp_path):
    with pytest.raises(SourceError, match=r"world\.mp4"):
        write_video(world, tmp_path / "world.unknown")


def test_the_command_writes_bag_and_labels(tmp_path, capsys):
    bag, labels = tmp_path / "bag", tmp_path / "labels.yaml"
    arguments = [
        "--seed",
        "3",
        "--seconds",
        "15",
        "--size",
        "64x48",
        "--bag",
        str(bag),
        "--labels",
        str(labels),
    ]
    assert main(["world", *arguments]) == 0
    assert Path(bag, "metadata.yaml").is_file()
    written = yaml.safe_load(labels.read_text())
    events = World(3, 15, (64, 48)).events
    assert [(item["query"], item["start"], item["end"], item["text"]) for item in written] == [
        (event.query, round(event.start, 2), round(event.end, 2), event.text) for event in events
    ]
    assert "Wrote" in capsys.readouterr().out


def test_the_command_takes_the_kinds_of_events(capsys):
    assert main(["world", "--seconds", "60", "--seed", "4", "--kinds", "on_table", "hand", "taken"]) == 0
    told = capsys.readouterr().out
    assert "takes away the" in told
    assert "touches" not in told
    assert main(["world", "--kinds", "stolen"]) != 0
    assert "choose from on_table, held, touch, hand, dark, taken" in capsys.readouterr().err


def test_a_missing_folder_is_named(tmp_path, capsys):
    assert main(["world", "--video", str(tmp_path / "no" / "world.mp4")]) == 2
    assert "does not exist" in capsys.readouterr().err
