"""The frame cache keeps the last while of a stream and hands out an even choice of it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from stride_ros.errors import ConfigError, TimeError
from stride_ros.response.frame_cache import FrameCache, evenly


def image(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def filled(times, seconds=100.0, max_frames=100) -> FrameCache:
    cache = FrameCache(seconds, max_frames)
    for number, time in enumerate(times):
        cache.add(image(number), time)
    return cache


def times(frames) -> list[float]:
    return [frame.time for frame in frames]


def test_an_interval_includes_both_its_ends():
    cache = filled(range(10))
    assert times(cache.select(3.0, 6.0, 10)) == [3.0, 4.0, 5.0, 6.0]


def test_images_come_with_their_own_times():
    (frame,) = filled([0.0, 1.0, 2.0]).select(1.0, 1.0, 5)
    assert frame.time == 1.0
    assert (frame.image == 1).all()


def test_too_many_frames_are_thinned_evenly_with_first_and_newest_kept():
    cache = filled(range(17))
    assert times(cache.select(0.0, 16.0, 5)) == [0.0, 4.0, 8.0, 12.0, 16.0]


def test_one_frame_is_the_newest():
    assert times(filled(range(9)).select(2.0, 7.5, 1)) == [7.0]


@pytest.mark.parametrize("count", range(1, 40))
@pytest.mark.parametrize("wanted", [1, 2, 3, 7, 16])
def test_even_choices_increase_and_end_with_the_newest(count, wanted):
    chosen = evenly(count, wanted)
    assert len(chosen) == min(count, wanted)
    assert chosen == sorted(set(chosen))
    assert chosen[-1] == count - 1
    steps = np.diff(chosen)
    assert steps.size == 0 or steps.max() - steps.min() <= 1


def test_frames_older_than_the_length_go():
    cache = filled(range(10), seconds=3.0)
    assert times(cache.select(0.0, 100.0, 100)) == [6.0, 7.0, 8.0, 9.0]


def test_the_number_of_frames_is_bounded():
    cache = filled(range(10), max_frames=4)
    assert len(cache) == 4
    assert cache.newest == 9.0


@pytest.mark.parametrize("time", [4.0, 3.9])
def test_time_must_increase(time):
    cache = filled(range(5))
    with pytest.raises(TimeError, match="clear the cache"):
        cache.add(image(0), time)


def test_a_cleared_cache_takes_earlier_times():
    cache = filled(range(5))
    cache.clear()
    assert cache.newest is None
    cache.add(image(0), 1.0)
    assert times(cache.select(0.0, 10.0, 10)) == [1.0]


def test_waiting_ends_when_the_frame_comes():
    cache = filled([0.0])
    waiting = threading.Event()
    found: list[bool] = []

    def wait() -> None:
        waiting.set()
        found.append(cache.wait_for(1.0, timeout=30.0))

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    cache.add(image(1), 1.0)
    thread.join(30.0)
    assert found == [True]


def test_waiting_for_a_frame_that_does_not_come_ends_too():
    assert not filled([0.0]).wait_for(1.0, timeout=0.01)


@pytest.mark.parametrize(("seconds", "frames"), [(0.0, 5), (-1.0, 5), (1.0, 0)])
def test_a_cache_that_can_hold_nothing_is_refused(seconds, frames):
    with pytest.raises(ConfigError, match="give"):
        FrameCache(seconds, frames)
