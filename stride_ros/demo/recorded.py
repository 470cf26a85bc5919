"""What the recording that a demo plays says of itself: the ground truth of a synthetic world."""

from __future__ import annotations

from pathlib import Path

from stride_ros.activation.intake import Intake
from stride_ros.bags.files import is_recording
from stride_ros.bags.reader import BagReader
from stride_ros.replay.recorded_truth import add_recorded_truth, truth_topic
from stride_ros.runs.record import Run


def is_of_world(source: str, image_topic: str | None) -> bool:
    """Whether a source is the synthetic world, or a recording of it. SourceError for a damaged recording."""
    if source == "world":
        return True
    if not is_recording(Path(source)):
        return False
    with BagReader(source, image_topic) as bag:
        return bool(truth_topic(bag))


def add_truth(run: Run, source: str, image_topic: str | None) -> None:
    """Put the ground truth of a recording into the run, whose times count from its first image."""
    with BagReader(source, image_topic) as bag:
        first = next((reading.stamp for _, reading in bag.images(Intake(1.0))), None)
        if first is not None:
            add_recorded_truth(run, bag, lambda stamp: (stamp - first) / 1e9, by_log=False)
