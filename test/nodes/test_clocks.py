"""Images of several cameras on one topic are told apart by their clocks; loops and jumps are not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

pytest.importorskip("rclpy")
from stride_ros.activation.sampling import Sampler, Verdict
from stride_ros.nodes.clocks import Clocks

SECOND = 10**9  # ns
NOW = 1_700_000_000  # s


class Stream:
    """Feeds (arrival, stamp) in s the way the node does; `used` are the stamps that were used."""

    def __init__(self) -> None:
        self.clocks, self.sampler = Clocks(), Sampler(1000.0)
        self.used: list[float] = []
        self.restarts = 0

    def feed(self, images: Iterable[tuple[float, float]]) -> Stream:
        for arrival, seconds in images:
            stamp = round(seconds * SECOND)
            went_back = self.sampler.is_back(stamp)
            now = round((NOW + arrival) * SECOND)
            if not self.clocks.accepts(stamp, arrival, now, went_back):
                continue
            if went_back:
                self.sampler.reset()
                self.restarts += 1
            assert self.sampler.offer(stamp) is not Verdict.BACKWARD
            self.used.append(seconds)
        return self


def camera(begin: float, rate: float, *, start: float = 0.0, count: int = 60) -> list[tuple[float, float]]:
    return [(start + i / rate, begin + start + i / rate) for i in range(count)]


@pytest.mark.parametrize("rate", [0.5, 1.0, 30.0])
@pytest.mark.parametrize("behind", [1.5, 3.5, 3600.0, NOW - 100.0, -1e6])
def test_second_camera_with_another_clock_is_left_out(rate: float, behind: float) -> None:
    other = camera(NOW - behind, rate, start=0.4 / rate)
    stream = Stream().feed(sorted(camera(NOW, rate) + other))
    assert stream.restarts <= 2
    assert stream.clocks.differ
    assert set(stream.used[-50:]) <= {stamp for _, stamp in camera(NOW, rate)}


def test_three_cameras_are_told_apart() -> None:
    cameras = [camera(begin, 10.0, start=k / 30) for k, begin in enumerate((50.0, NOW, 9000.0))]
    stream = Stream().feed(sorted(image for images in cameras for image in images))
    assert stream.restarts <= 4
    assert set(stream.used[-50:]) <= {stamp for _, stamp in cameras[1]}


def test_cameras_of_different_rates_are_told_apart() -> None:
    fast, slow = camera(NOW, 30.0, count=600), camera(77.0, 1.0, start=0.01, count=20)
    stream = Stream().feed(sorted(fast + slow))
    assert stream.restarts <= 2
    assert set(stream.used[-400:]) <= {stamp for _, stamp in fast}


@pytest.mark.parametrize("length", [1.0, 3.0, 60.0])
@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0])
def test_bag_that_loops_is_one_clock(length: float, speed: float) -> None:
    images, rate, loops = [], 10.0, 6
    for loop in range(loops):
        for i in range(int(length * rate)):
            images.append(((loop * length + i / rate) / speed, 500.0 + i / rate))
    stream = Stream().feed(images)
    assert stream.restarts == loops - 1
    assert len(stream.used) == len(images)
    assert not stream.clocks.differ


def test_clock_that_is_set_back_and_forth_by_hand_is_one_clock() -> None:
    images = camera(NOW, 10.0) + camera(NOW - 3600, 10.0, start=6.0) + camera(NOW, 10.0, start=30.0)
    stream = Stream().feed(images)
    assert stream.restarts == 1
    assert len(stream.used) == len(images)


def test_other_camera_is_followed_when_the_first_one_ends() -> None:
    first, other = camera(NOW, 10.0), camera(77.0, 10.0, start=0.05, count=200)
    stream = Stream().feed(sorted(first + other))
    assert stream.used[-1] == other[-1][1]
    assert stream.restarts <= 3
    assert not stream.clocks.differ


def test_followed_camera_that_starts_anew_is_a_restart() -> None:
    """Both play in a loop, as two bags would."""
    first = camera(NOW, 10.0) + [(6.0 + i / 10, NOW + i / 10) for i in range(200)]
    stream = Stream().feed(sorted(first + camera(77.0, 10.0, start=0.05, count=260)))
    assert stream.used[-1] == first[-1][1]
