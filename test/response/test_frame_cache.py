"""The frame cache keeps the last while of a stream and hands out an even choice of it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from stride_ros.response.config import ResponseConfig
from stride_ros.response.frame_cache import FrameCache, evenly

SECOND = 10**9  # ns
EPOCH = 1_700_000_000 * SECOND  # stamps of robots are as large


def image(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def at(second: float) -> int:
    return EPOCH + round(second * SECOND)


def filled(seconds, **settings) -> FrameCache:
    cache = FrameCache(ResponseConfig(**settings))
    for number, second in enumerate(seconds):
        cache.add(image(number), at(second))
    return cache


def shown(cache: FrameCache, start: float, end: float, max_frames: int) -> list[float]:
    return [(frame.stamp - EPOCH) / SECOND for frame in cache.select(at(start), at(end), max_frames).frames]


def test_an_interval_includes_both_its_ends():
    assert shown(filled(range(10)), 3.0, 6.0, 10) == [3.0, 4.0, 5.0, 6.0]


def test_images_come_with_their_own_stamps():
    (frame,) = filled([0.0, 1.0, 2.0]).select(at(1.0), at(1.0), 5).frames
    assert frame.stamp == at(1.0)
    assert (frame.image == 1).all()


def test_stamps_that_floats_cannot_tell_apart_stay_apart():
    cache = FrameCache(ResponseConfig())
    cache.add(image(0), EPOCH)
    cache.add(image(1), EPOCH + 1)
    (frame,) = cache.select(EPOCH + 1, EPOCH + 1, 5).frames
    assert (frame.image == 1).all()


def test_too_many_frames_are_thinned_evenly_with_first_and_newest_kept():
    assert shown(filled(range(17)), 0.0, 16.0, 5) == [0.0, 4.0, 8.0, 12.0, 16.0]


def test_one_frame_is_the_newest():
    assert shown(filled(range(9)), 2.0, 7.5, 1) == [7.0]


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
    assert shown(filled(range(10), cache_seconds=3.0), 0.0, 100.0, 100) == [6.0, 7.0, 8.0, 9.0]


def test_the_number_of_frames_is_bounded():
    cache = filled(range(10), cache_frames=4)
    assert len(cache) == 4
    assert cache.newest == at(9.0)


def test_a_step_back_in_time_forgets_what_was_before_and_begins_another_life():
    cache = filled(range(5))
    before = cache.select(at(0.0), at(4.0), 10).life
    cache.add(image(9), at(3.5))
    assert shown(cache, 0.0, 10.0, 10) == [3.5]
    assert cache.select(at(0.0), at(4.0), 10).life != before


def test_a_stamp_that_repeats_adds_nothing():
    cache = filled([0.0, 1.0])
    cache.add(image(9), at(1.0))
    assert [frame.image[0, 0, 0] for frame in cache.select(at(0.0), at(1.0), 10).frames] == [0, 1]


def test_a_cleared_cache_takes_earlier_stamps():
    cache = filled(range(5))
    cache.clear()
    assert cache.newest is None
    cache.add(image(0), at(1.0))
    assert shown(cache, 0.0, 10.0, 10) == [1.0]


def test_large_frames_are_remembered_small():
    cache = FrameCache(ResponseConfig(cache_size=200))
    cache.add(np.zeros((100, 400, 3), np.uint8), EPOCH)
    assert cache.select(EPOCH, EPOCH, 1).frames[0].image.shape == (50, 200, 3)


def test_waiting_ends_when_the_frame_comes():
    cache = filled([0.0])
    waiting = threading.Event()
    found: list[bool] = []

    def wait() -> None:
        waiting.set()
        found.append(cache.wait_for(at(1.0), timeout=30.0))

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    cache.add(image(1), at(1.0))
    thread.join(30.0)
    assert found == [True]


def test_waiting_for_a_frame_that_does_not_come_ends_too():
    assert not filled([0.0]).wait_for(at(1.0), timeout=0.01)
