"""What a user should know about a training run: events that are too short, and how to try the result."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stride_ros.activation.frame_rate import rate_note, rate_that_fits
from stride_ros.text.wording import counted

if TYPE_CHECKING:
    from stride_ros.training.sources.recording import Recording, Video

_SLOTS = 3  # an event of fewer slots is short
_SHARE = 1 / 3  # of the events that may be short without a note
_SHORTEST = 0.1  # s, of a slot that is suggested


def notes_on_slots(recordings: Sequence[Recording], fps: float, resolution: float) -> list[str]:
    """Notes on frames and events that do not fit slots of `resolution` s."""
    notes = [rate_note(fps, resolution, "--fps")]
    lengths = [event.end - event.start for recording in recordings for event in recording.events]
    short = sum(length < _SLOTS * resolution for length in lengths)
    half = resolution / 2
    if short >= max(2, _SHARE * len(lengths)) and half >= _SHORTEST:
        rate = rate_that_fits(half)
        notes.append(
            f"{short} of {counted(len(lengths), 'event')} are shorter than three slots of {resolution:g} s, "
            "which blurs their starts and ends; shorter slots may help: "
            f"--resolution {half:g} --fps {rate:g}, and replay with --rate {rate:g}."
        )
    return [note for note in notes if note]


def commands_for_the_rest(arguments: argparse.Namespace, videos: Sequence[Video]) -> list[str]:
    """The commands that try the trained model on what --until left of the recordings.

    `videos`: those of the bags or videos that were given, in the same order.
    """
    longest = max(video.end for video in videos)
    learned = max(2, min(arguments.max_frames, int(longest * arguments.fps)) // 2 * 2)
    commands = []
    for video, path, labels in zip(videos, arguments.bag or arguments.video, arguments.labels, strict=True):
        rest = getattr(video, "whole", video.end) - video.end
        if rest <= 0:
            continue
        words = ["stride-ros", "replay", str(path), "--start", f"{video.end:g}"]
        if arguments.image_topic and arguments.bag:
            words += ["--image-topic", arguments.image_topic]
        words += ["--model", str(arguments.out)]
        if arguments.fps != 1:
            words += ["--rate", f"{arguments.fps:g}"]
        if rest * arguments.fps > learned:  # the model has not learned longer contexts
            words += ["--set", f"max_frames={learned}"]
        commands.append(shlex.join([*words, "--expect", str(labels)]))
    return commands
