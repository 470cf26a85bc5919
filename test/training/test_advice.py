"""Training says when slots are too long for the events, and how to try the model on the rest."""

import argparse
from types import SimpleNamespace

from stride_ros.training.advice import commands_for_the_rest, notes_on_slots
from stride_ros.training.samples import Event
from stride_ros.training.sources.recording import Recording


def a_video(end=26.0, whole=40.0):
    return SimpleNamespace(name="v", start=0.0, end=end, whole=whole)


def recordings(*lengths):
    events = tuple(Event(5.0 * i, 5.0 * i + length) for i, length in enumerate(lengths))
    return [Recording(a_video(), ("q",), events)]


def options(**given):
    usual = {"bag": None, "video": ["v.mp4"], "image_topic": None, "out": "m", "labels": ["l.yaml"]}
    return argparse.Namespace(**{**usual, "fps": 1.0, "max_frames": 48, **given})


def test_several_events_shorter_than_three_slots_are_worth_a_note():
    (note,) = notes_on_slots(recordings(1.3, 2.3, 3.5), 1.0, 1.0)
    assert note.startswith("2 of 3 events are shorter than three slots of 1 s")
    assert "--resolution 0.5 --fps 2, and replay with --rate 2." in note


def test_one_short_event_or_few_of_many_are_not():
    assert notes_on_slots(recordings(1.3, 5.0), 1.0, 1.0) == []
    assert notes_on_slots(recordings(1.3, 1.3, *[5.0] * 8), 1.0, 1.0) == []
    assert notes_on_slots(recordings(1.3, 2.3, 2.0, 2.5), 2.0, 0.5) == []


def test_frames_that_leave_slots_empty_are_worth_a_note():
    (note,) = notes_on_slots(recordings(5.0), 1.0, 0.5)
    assert "only 50% of them have one; use --fps 2" in note


def test_the_command_for_the_rest_has_what_the_training_had():
    told = commands_for_the_rest(options(), [a_video()])
    assert told == ["stride-ros replay v.mp4 --start 26 --model m --expect l.yaml"]
    given = options(bag=["a bag"], image_topic="/front", fps=2.0, max_frames=24)
    (command,) = commands_for_the_rest(given, [a_video()])
    assert command.startswith("stride-ros replay 'a bag' --start 26 --image-topic /front --model m --rate 2 ")
    assert command.endswith("--set max_frames=24 --expect l.yaml")


def test_each_recording_with_a_rest_has_a_command():
    given = options(video=["a.mp4", "b.mp4", "c.mp4"], labels=["a.yaml", "b.yaml", "c.yaml"])
    first, second = commands_for_the_rest(given, [a_video(), a_video(20.0, 20.0), a_video(whole=100.0)])
    assert first == "stride-ros replay a.mp4 --start 26 --model m --expect a.yaml"
    assert second == "stride-ros replay c.mp4 --start 26 --model m --set max_frames=26 --expect c.yaml"


def test_there_is_no_command_without_a_rest():
    assert commands_for_the_rest(options(), [a_video(end=40.0)]) == []
