"""``stride-ros bag``: what a video or a folder shows becomes a bag that replays and trains."""

import cv2
import numpy as np
import pytest

from stride_ros.bags.reader import BagReader
from stride_ros.cli import main
from stride_ros.sources import open_source
from stride_ros.sources.world_bag import write_video
from stride_ros.world.world import World


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "robot.mp4"
    write_video(World(seed=3, seconds=6, size=(96, 64), fps=10), path)
    return path


@pytest.mark.parametrize(("options", "topic"), [([], "/cam/image/compressed"), (["--raw"], "/cam/image")])
def test_a_bag_shows_what_the_video_shows_at_the_same_times(video, tmp_path, capsys, options, topic):
    bag = tmp_path / "bag"
    assert main(["bag", str(video), str(bag), "--fps", "2", "--topic", "/cam/image", *options]) == 0
    kind = "" if options else " as JPEG"
    said = f"Wrote {bag}: 13 images{kind}, 6.0 s; at most 2 a second of 10 (change it with --fps)."
    assert said in capsys.readouterr().out
    with BagReader(bag) as reader:
        assert list(reader.topics) == [topic]
    shown = list(open_source(str(video), rate=2.0).frames())
    written = list(open_source(str(bag), rate=30.0).frames())
    assert [frame.time for frame in written] == pytest.approx([frame.time for frame in shown], abs=1e-6)
    for a, b in zip(written, shown, strict=True):
        assert np.abs(a.image.astype(int) - b.image).mean() < (0.01 if options else 4)


def test_images_are_said_to_be_left_out_only_if_they_are(video, tmp_path, capsys):
    def said(source, *options):
        target = tmp_path / str(len(list(tmp_path.iterdir())))
        assert main(["bag", str(source), str(target), *options]) == 0
        return target, capsys.readouterr().out

    bag, out = said(video)
    assert "at most" not in out
    assert "at most" not in said(bag)[1]
    assert "at most 4 a second of 10 (change it with --fps)" in said(bag, "--fps", "4")[1]


def test_a_folder_of_images_becomes_a_bag_of_the_asked_length(tmp_path):
    for i in range(8):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((48, 64, 3), 20 * i, np.uint8))
    assert main(["bag", str(tmp_path), str(tmp_path / "bag"), "--fps", "2", "--seconds", "2"]) == 0
    assert len(list(open_source(str(tmp_path / "bag"), rate=30.0).frames())) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothere.mp4", "bag"], "does not exist"),
        (["/dev/video0", "bag"], "give --seconds"),
        (["{video}", "{video}"], "which is the source; write to another file"),
        (["{video}", __file__], "exists already"),
        (["{video}", "bag", "--fps", "0"], "--fps must be above 0"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(video, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["bag", *(argument.format(video=video) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
