"""The recorder of a run: which pictures of a stream the report shows."""

import numpy as np
import pytest

from stride_ros.runs.record import QueryRun
from stride_ros.runs.recorder import EVERY, ROW, RunRecorder

PICTURE = np.zeros((8, 8, 3), np.uint8)


def strip_times(rate, seconds, begin=0.0):
    recorder = RunRecorder([QueryRun("Tell me when it rains.")])
    recorder.begin = begin
    for i in range(round(rate * seconds)):
        recorder.frame(10**18 + round(i * 1e9 / rate), PICTURE)
    return [time for time, _ in recorder.run("a clip", seconds).strip]


@pytest.mark.parametrize(("rate", "seconds"), [(5, 3), (1, 20), (2, 20), (3, 20), (30, 2), (1, 1)])
def test_every_frame_of_a_short_part_is_shown(rate, seconds):
    times = strip_times(rate, seconds, begin=5.0)
    assert times == pytest.approx([5 + i / rate for i in range(rate * seconds)])


@pytest.mark.parametrize(
    ("rate", "seconds", "most", "least"),
    [
        (10, 20, EVERY, 31),
        (30, 20, EVERY, 31),
        (1, 30, ROW, 7),
        (1, 61, ROW, 7),
        (2, 47, ROW, 7),
        (1, 3600, ROW, 7),
    ],
)
def test_of_more_frames_some_are_shown_that_are_equally_far_apart(rate, seconds, most, least):
    times = strip_times(rate, seconds)
    assert least <= len(times) <= most
    assert times[0] == 0
    assert np.ptp(np.diff(times)) < 1e-6
    assert seconds - times[-1] <= 1.5 * times[1]
