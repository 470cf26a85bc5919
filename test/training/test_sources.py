"""Training sources read good input, and say clearly what is wrong with bad input while using the rest."""

import json
import os
import re

import numpy as np
import pytest

from stride_ros.errors import SourceError, StrideError
from stride_ros.runs.expectations import read_expectations
from stride_ros.training.sources.annotations import annotation_recordings
from stride_ros.training.sources.bag import BagVideo, ImageCache
from stride_ros.training.sources.labels import labelled_recordings
from stride_ros.training.sources.recording import Intake
from stride_ros.training.sources.video import VideoFile
from stride_ros.training.sources.world import world_recordings

TOPIC = "/camera/image_raw"
NO_NAME = "cannot be a file name|is not below"  # Python 3.14 finds no file of an impossible name
RED = "Tell me when the picture is red."


@pytest.fixture
def intake():
    messages = []
    intake = Intake(messages.append)
    intake.messages = messages
    return intake


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """A video root with one video of 20 s and one broken file, below folders of the data sets' kind."""
    from stride_ros.sources.world_bag import write_video
    from stride_ros.world.world import World

    root = tmp_path_factory.mktemp("videos")
    (root / "DiDeMo" / "videos").mkdir(parents=True)
    (root / "deep" / "er").mkdir(parents=True)
    write_video(World(seed=1, seconds=20.0, size=(64, 48), fps=5.0), root / "DiDeMo" / "videos" / "good.mp4")
    (root / "deep" / "er" / "broken.mp4").write_bytes(b"this is not a video" * 100)
    return root


def test_the_world_gives_every_query_of_a_clip_and_some_without_events():
    recordings = list(world_recordings(seed=5, clips=1, seconds=60.0, size=(64, 48)))
    assert any(not recording.events for recording in recordings)
    busy = next(recording for recording in recordings if recording.events)
    assert all(0 <= event.start < event.end <= 60.0 and event.text for event in busy.events)
    images, times = busy.video.read([0.0, 1.5])
    assert times == [0.0, 1.5]
    assert images[0].shape == (48, 64, 3)


def test_a_bag_gives_frames_by_time_and_events_by_query(bag, labels, intake):
    path = labels(f"- {{query: {RED}, start: 8.0, end: 14.0, text: It is red.}}\n")
    (recording,) = labelled_recordings(BagVideo(bag, TOPIC), path, intake)
    assert recording.queries == (RED,)
    assert [(event.start, event.end, event.text) for event in recording.events] == [(8.0, 14.0, "It is red.")]
    images, times = recording.video.read([0.1, 10.0, 10.1, 23.0])
    assert times == [0.0, 10.0, 23.0]  # no frame twice
    assert [int(image[0, 0, 0]) for image in images] == [90, 200, 90]


def test_the_first_seconds_of_a_bag_can_be_used_alone(bag, labels, intake):
    path = labels(f"- {{query: {RED}, start: 8, end: 14}}\n- {{query: {RED}, start: 20, end: 22}}\n")
    (recording,) = labelled_recordings(BagVideo(bag, TOPIC, until=14.5), path, intake)
    assert recording.video.end == 14.5
    assert len(recording.events) == 1


def test_labels_after_the_used_part_are_right_and_counted_without_a_line_each(bag, labels, intake):
    path = labels(
        f"- {{query: {RED}, start: 8, end: 18}}\n"
        f"- {{query: {RED}, start: 20, end: 22}}\n"
        f"- {{query: {RED}, start: 22, end: 23}}\n"
        f"- {{query: {RED}, start: 500, end: 510}}\n"
    )
    (recording,) = labelled_recordings(BagVideo(bag, TOPIC, until=14.5), path, intake)
    assert [(event.start, event.end) for event in recording.events] == [(8.0, 14.5)], "cut where it goes on"
    assert intake.summary().startswith("1 used, 2 left out (after the first 14.5 s), 1 left out (the event")
    (told,) = intake.messages
    assert told.startswith(f"{path}:4 is left out: the event is outside the")


def test_labels_that_are_all_after_the_used_part_are_told_so(bag, labels, intake):
    path = labels(f"- {{query: {RED}, start: 20, end: 22}}\n")
    with pytest.raises(SourceError, match=r"1 event of it begins after the first 14\.5 s, so use more"):
        labelled_recordings(BagVideo(bag, TOPIC, until=14.5), path, intake)


def test_wrong_labels_are_told_with_their_line_and_the_rest_is_used(bag, labels, intake):
    path = labels(
        f"- {{query: {RED}, start: 8.0, end: 14.0}}\n"
        f"- {{query: {RED}, start: 9.0, end: 3.0}}\n"
        f"- {{querry: {RED}, start: 1.0, end: 2.0}}\n"
        f"- {{query: {RED}, start: 500.0, end: 510.0}}\n"
        f"- {{query: {RED}, start: soon, end: 2.0}}\n"
        "- just words\n"
    )
    (recording,) = labelled_recordings(BagVideo(bag, TOPIC), path, intake)
    assert len(recording.events) == 1
    assert intake.used == 1
    assert sum(intake.skipped.values()) == 5
    assert f"{path}:2 is left out: the end (3 s) is not after the start (9 s)" in intake.messages[0]
    assert f"{path}:3 is left out: unknown field querry" in intake.messages[1]
    assert f"{path}:4 is left out: the event is outside" in intake.messages[2]
    assert f"{path}:5 is left out: start is 'soon'" in intake.messages[3]
    assert f"{path}:6 is left out: the label is not a mapping" in intake.messages[4]
    assert intake.summary().startswith("1 used, 1 left out (the end")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query: x\n", "is not a list of labels"),
        ("- {query: x, start: [\n", "is not YAML"),
        ("", "no usable label"),
        ("- {query: x, start: 2, end: 1}\n", "no usable label"),
    ],
)
def test_an_unusable_labels_file_is_an_error(bag, labels, intake, text, message):
    with pytest.raises(StrideError, match=message):
        labelled_recordings(BagVideo(bag, TOPIC), labels(text), intake)


def test_ground_truth_of_a_replay_serves_as_labels_without_losing_an_event(bag, labels, intake):
    path = labels(
        f"- {{query: {RED}, start: 8, end: 14, tolerance: 1.5, text: Red.}}\n"
        f"- {{query: {RED}, start: 20, end: 22}}\n"
        f"- {{query: {RED}, none: [15, 19]}}\n"
        "- {query: Is it green?, none: [0, 24]}\n"
        "- thresholds: {recall: 1.0, precision: 0.7, iou: 0.3}\n"
    )
    truth = read_expectations(path)  # every form of item is in the file
    assert (truth.spans[0].tolerance, len(truth.quiet), truth.iou) == (1.5, 2, 0.3)
    red, green = labelled_recordings(BagVideo(bag, TOPIC), path, intake)
    assert [(event.start, event.end, event.text) for event in red.events] == [
        (8.0, 14.0, "Red."),
        (20.0, 22.0, ""),
    ]
    assert (green.queries, green.events) == (("Is it green?",), ())
    assert not intake.messages
    assert intake.summary() == "3 used"


def test_a_query_that_never_happens_is_a_recording_without_events(bag, labels, intake):
    path = labels(f"- {{query: {RED}, none: [0, 10]}}\n- {{query: {RED.lower()}, none: [12, 24]}}\n")
    (quiet,) = labelled_recordings(BagVideo(bag, TOPIC), path, intake)
    assert (quiet.queries, quiet.events) == ((RED,), ())
    assert intake.used == 1


def test_a_range_without_events_that_has_one_is_told(bag, labels, intake):
    path = labels(f"- {{query: {RED}, none: [0, 24]}}\n- {{query: {RED}, start: 8, end: 14}}\n")
    (recording,) = labelled_recordings(BagVideo(bag, TOPIC), path, intake)
    assert len(recording.events) == 1
    assert intake.messages == [
        f"{path}:1 is left out: an event of its query is in the range; correct one of them."
    ]


@pytest.mark.parametrize("none", ["7", "[3]", "[5, 3]", "[soon, 3]"])
def test_a_wrong_range_without_events_is_told(bag, labels, intake, none):
    path = labels(f"- {{query: {RED}, none: {none}}}\n- {{query: {RED}, start: 8, end: 14}}\n")
    labelled_recordings(BagVideo(bag, TOPIC), path, intake)
    (told,) = intake.messages
    assert told.startswith(f"{path}:1 is left out: ")


def test_recordings_share_one_cache_of_images(bag):
    cache = ImageCache(3 * 8 * 12 * 3)
    one, two = BagVideo(bag, TOPIC, cache=cache), BagVideo(bag, TOPIC, until=12.0, cache=cache)
    for video in (one, two, one):
        images, _ = video.read([0.0, 10.0])
        assert [int(image[0, 0, 0]) for image in images] == [90, 200]


def test_a_bag_without_the_topic_names_the_ones_it_has(bag):
    with pytest.raises(
        SourceError, match="no topic /front; choose one of its image topics: /camera/image_raw"
    ):
        BagVideo(bag, "/front")


def test_images_that_cannot_be_decoded_are_left_out_and_counted(tmp_path):
    from stride_ros.bags import messages
    from stride_ros.bags.writer import BagWriter

    with BagWriter(tmp_path / "bag") as bag:
        for i in range(8):
            message = messages.image(np.full((8, 12, 3), 10 * i, np.uint8), (100 + i) * 10**9, "camera")
            if i in (3, 4):
                message.data = message.data[:50]
            bag.write("/cam", message, (100 + i) * 10**9)
    video = BagVideo(tmp_path / "bag")
    frames, times = video.read([float(i) for i in range(8)])
    assert times == [0.0, 1.0, 2.0, 5.0, 6.0, 7.0]
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 10, 20, 50, 60, 70]
    (note,) = video.unusable
    assert note.startswith("2 images of ")


def test_a_missing_or_broken_bag_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="There is no recording"):
        BagVideo(tmp_path / "nothing", TOPIC)
    (tmp_path / "broken.mcap").write_bytes(b"no bag")
    with pytest.raises(SourceError, match="cannot be read"):
        BagVideo(tmp_path / "broken.mcap", TOPIC)


def write_items(tmp_path, *items):
    path = tmp_path / "items.jsonl"
    path.write_text("".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in items))
    return path


def item(video="good.mp4", source="DiDeMo", segments=((2.0, 6.0),), **extra):
    segment = [{"start_time": start, "end_time": end, "description": "It."} for start, end in segments]
    return {
        "query": RED,
        "video": {"source": source, "metadata": {"video": video}},
        "segment": segment,
    } | extra


def test_annotations_give_recordings_with_all_ways_to_ask(tmp_path, videos, intake):
    path = write_items(tmp_path, item(query=["one?", "two?"], segments=((9.0, 12.0), (2.0, 6.0))))
    (recording,) = annotation_recordings([path], videos, intake)
    assert recording.queries == ("one?", "two?")
    assert [event.start for event in recording.events] == [2.0, 9.0]
    assert recording.video.end == pytest.approx(20.0, abs=0.5)


def test_annotations_that_are_wrong_are_told_with_their_line_and_the_rest_is_used(tmp_path, videos, intake):
    path = write_items(
        tmp_path,
        item(),
        "{not json",
        item(video="absent.mp4"),
        item(source="elsewhere", video="broken"),
        item(end_time=60.0),
        item(segments=((5.0, 1.0), (3.0, 4.0))),
        item(query=""),
        item(segments=()),
        item(segments=((2.0, 90.0),)),
    )
    recordings = annotation_recordings([path], videos, intake)
    assert [len(recording.events) for recording in recordings] == [1, 1]
    assert intake.used == 2
    told = dict(message.split(" is left out: ", 1) for message in intake.messages)
    assert "is not JSON" in told[f"{path}:2"]
    assert "absent.mp4 is not below" in told[f"{path}:3"]
    assert "is not a readable video" in told[f"{path}:4"]
    assert "does not fit the video's" in told[f"{path}:5"]
    assert "not after the start" in told[f"{path}:6, segment 1"]
    assert "no query" in told[f"{path}:7"]
    assert "no segment" in told[f"{path}:8"]
    assert "is outside the video's" in told[f"{path}:9, segment 1"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (item(end_time=[5.9]), "end_time is a list, not a time"),
        (item(end_time="5.9"), "end_time is '5.9', not a time"),
        (item(start_time={"a": 1}, end_time=20.0), "start_time is a mapping, not a time"),
        (item(segments=((10**400, 10**401),)), "integer of more than 64 bits"),
        (item(segments=((1e300, 1e301),)), "start is 1e+300, not a time"),
        ('{"query": "q", "start_time": 1e999}', "a number outside the range of floats"),
        ('{"query": "q", "start_time": NaN}', "NaN, which is not a number"),
        ('{"query": "q", "query": "r"}', "the key 'query' twice"),
        ("[" * 9000, "more than 64 levels"),
        (item(video="x" * 300), NO_NAME),
        (item(video="/"), NO_NAME),
        (item(video="."), NO_NAME),
        (item(video="a\0b"), NO_NAME),
        (item(source="x" * 300), NO_NAME),
        (item(source=["DiDeMo"]), NO_NAME),
        (item(query=["one?", 2]), "query is 2 and not text"),
        (item(query="a\x1b[31m"), "query has the control character U+001B"),
        (item(query="x" * 10_001), "query has 10,001 characters"),
    ],
)
def test_one_wrong_annotation_costs_only_itself(tmp_path, videos, intake, wrong, said):
    path = write_items(tmp_path, item(), wrong, item())
    assert len(annotation_recordings([path], videos, intake)) == 2
    (told,) = intake.messages
    assert told.startswith(f"{path}:2")
    assert re.search(said if said == NO_NAME else re.escape(said), told)


def test_two_spellings_of_a_query_about_one_video_are_told(tmp_path, videos, intake):
    path = write_items(tmp_path, item(), item(), item(query=RED.upper()), item(query="Is it green?"))
    assert len(annotation_recordings([path], videos, intake)) == 4
    (told,) = intake.messages
    assert told.startswith(f"{path}:3: '{RED.upper()}' is another spelling of the query at {path}:1")


def test_an_annotation_in_another_encoding_costs_only_itself(tmp_path, videos, intake):
    path = tmp_path / "items.jsonl"
    good = json.dumps(item()).encode() + b"\n"
    path.write_bytes(good + '{"query": "Tür"}\n'.encode("latin-1") + b"\n" + good)
    assert len(annotation_recordings([path], videos, intake)) == 2
    (told,) = intake.messages
    assert f"{path}:2 is left out: the line is not UTF-8: line 2 holds the byte 0xfc" in told


def test_annotations_that_are_no_json_lines_are_an_error(tmp_path, videos, intake):
    path = tmp_path / "items.jsonl"
    path.write_bytes(json.dumps(item()).encode("utf-16"))
    with pytest.raises(StrideError, match="is UTF-16 and not UTF-8"):
        annotation_recordings([path], videos, intake)
    path.write_bytes(b" " * (5 * 2**20))
    with pytest.raises(StrideError, match="more than 4 MiB in line 1"):
        annotation_recordings([path], videos, intake)
    with pytest.raises(SourceError, match="is a directory"):
        annotation_recordings([tmp_path], videos, intake)


def test_annotations_without_a_usable_item_are_an_error(tmp_path, videos, intake):
    with pytest.raises(SourceError, match="no usable annotation"):
        annotation_recordings([write_items(tmp_path, "{")], videos, intake)
    with pytest.raises(SourceError, match="is not a folder"):
        annotation_recordings([write_items(tmp_path, item())], tmp_path / "none", intake)


def test_video_frames_come_by_time_also_after_a_jump(videos):
    video = VideoFile(videos / "DiDeMo" / "videos" / "good.mp4")
    images, times = video.read([0.0, 1.0, 15.0])
    assert times == pytest.approx([0.0, 1.0, 15.0], abs=0.11)
    alone, _ = video.read([15.0])
    assert np.array_equal(images[2], alone[0])


def test_a_video_file_can_carry_labels_too(videos, labels, intake):
    path = labels(f"- {{query: {RED}, start: 2, end: 4}}\n- {{query: {RED}, start: 19, end: 20}}\n")
    video = VideoFile(videos / "DiDeMo" / "videos" / "good.mp4", until=10.0)
    (recording,) = labelled_recordings(video, path, intake)
    assert (recording.video.end, len(recording.events)) == (10.0, 1)


@pytest.mark.parametrize("kind", ["pipe", "folder", "nothing"])
def test_what_is_no_video_file_is_named_as_what_it_is(tmp_path, kind):
    path = tmp_path / "video"
    {"pipe": lambda: os.mkfifo(path), "folder": path.mkdir, "nothing": lambda: None}[kind]()
    said = "does not exist" if kind == "nothing" else "is not a regular file"
    with pytest.raises(SourceError, match=said):
        VideoFile(path)
