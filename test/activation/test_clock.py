"""One rule for stamps: cameras on one topic are told apart by their clocks, wrong stamps are replaced."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from stride_ros.activation.clock import ImageClock, Reading

SECOND = 10**9  # ns
NOW = 1_700_000_000  # s


class Stream:
    """Reads images that were received at (s from NOW) with a stamp (s); `used` are the stamps that count."""

    def __init__(self) -> None:
        self.clock = ImageClock()
        self.readings: list[Reading] = []

    def feed(self, images: Iterable[tuple[float, float]]) -> Stream:
        for received, stamp in images:
            self.readings.append(self.clock.read(round(stamp * SECOND), round((NOW + received) * SECOND)))
        return self

    @property
    def kept(self) -> list[Reading]:
        return [reading for reading in self.readings if not (reading.is_foreign or reading.is_timeless)]

    @property
    def used(self) -> list[float]:
        return [reading.stamp / SECOND for reading in self.kept]

    @property
    def restarts(self) -> int:
        return sum(reading.jump is not None for reading in self.readings)


def camera(begin: float, rate: float, *, start: float = 0.0, count: int = 60) -> list[tuple[float, float]]:
    return [(start + i / rate, begin + start + i / rate) for i in range(count)]


@pytest.mark.parametrize("rate", [0.5, 1.0, 30.0])
@pytest.mark.parametrize("behind", [1.5, 3.5, 3600.0, NOW - 100.0, -1e6])
def test_second_camera_with_another_clock_is_left_out(rate: float, behind: float) -> None:
    other = camera(NOW - behind, rate, start=0.4 / rate)
    stream = Stream().feed(sorted(camera(NOW, rate) + other))
    assert stream.restarts <= 2
    assert stream.clock.cameras_differ
    assert stream.used[-50:] == pytest.approx([stamp for _, stamp in camera(NOW, rate)][-50:])


def test_three_cameras_are_told_apart() -> None:
    cameras = [camera(begin, 10.0, start=k / 30) for k, begin in enumerate((50.0, NOW, 9000.0))]
    stream = Stream().feed(sorted(image for images in cameras for image in images))
    assert stream.restarts <= 4
    assert stream.used[-50:] == pytest.approx([stamp for _, stamp in cameras[1]][-50:])


def test_cameras_of_different_rates_are_told_apart() -> None:
    fast, slow = camera(NOW, 30.0, count=600), camera(77.0, 1.0, start=0.01, count=20)
    stream = Stream().feed(sorted(fast + slow))
    assert stream.restarts <= 2
    assert stream.used[-400:] == pytest.approx([stamp for _, stamp in fast][-400:])


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
    assert not stream.clock.cameras_differ


def test_clock_that_is_set_back_and_forth_by_hand_is_one_clock() -> None:
    images = camera(NOW, 10.0) + camera(NOW - 3600, 10.0, start=6.0) + camera(NOW, 10.0, start=30.0)
    stream = Stream().feed(images)
    assert stream.restarts == 2
    assert not stream.clock.cameras_differ
    assert len(stream.used) == len(images)


def test_other_camera_is_followed_when_the_first_one_ends() -> None:
    first, other = camera(NOW, 10.0), camera(77.0, 10.0, start=0.05, count=200)
    stream = Stream().feed(sorted(first + other))
    assert stream.used[-1] == pytest.approx(other[-1][1])
    assert stream.restarts <= 3
    assert not stream.clock.cameras_differ


def test_followed_camera_that_starts_anew_is_a_restart() -> None:
    """Both play in a loop, as two bags would."""
    first = camera(NOW, 10.0) + [(6.0 + i / 10, NOW + i / 10) for i in range(200)]
    stream = Stream().feed(sorted(first + camera(77.0, 10.0, start=0.05, count=260)))
    assert stream.used[-1] == pytest.approx(first[-1][1])


# Wrong stamps


def lags(stream: Stream) -> list[float]:
    """What counts as the stamp of each image that is used, from its reception (s)."""
    return [(reading.stamp - reading.received) / SECOND for reading in stream.kept]


@pytest.mark.parametrize("wrong", [0.0, -5.0, 77.0, NOW + 3e8, 2.0**31 + 5], ids=str)
@pytest.mark.parametrize("behind", [0.0, 9e7], ids=["same clock", "a clock of years ago"])
def test_wrong_stamps_here_and_there_change_nothing(wrong: float, behind: float) -> None:
    images = camera(NOW - behind, 2.0)
    for i in (9, 19, 29, 40, 41):
        stamp = wrong if wrong in (0.0, -5.0) or i < 41 else images[i][1]
        images[i] = (images[i][0], stamp)
    stream = Stream().feed(images)
    assert lags(stream) == pytest.approx([-behind] * 60, abs=1e-6)
    assert stream.restarts == 0
    assert not stream.clock.cameras_differ
    assert sum(reading.missing or reading.odd for reading in stream.readings) in (4, 5)


def test_a_stream_without_stamps_has_the_times_of_receipt() -> None:
    stream = Stream().feed((received, 0.0) for received, _ in camera(NOW, 10.0))
    assert lags(stream) == [0.0] * 60
    assert all(reading.missing for reading in stream.readings)


def test_images_without_stamp_before_there_is_a_time_are_left_out() -> None:
    clock = ImageClock()
    assert clock.read(0, 0).is_timeless
    assert clock.read(0, 5 * SECOND).stamp == 5 * SECOND
    assert clock.read(6 * SECOND, 0).stamp == 6 * SECOND, "with a stamp there is no need of a time"


@pytest.mark.parametrize("by", [3600.0, -3600.0, -30.0, 3e8])
def test_a_clock_that_was_set_is_one_jump_and_times_count_on(by: float) -> None:
    shifts = [by if i >= 20 else 0.0 for i in range(60)]
    images = [(time, stamp + shift) for (time, stamp), shift in zip(camera(NOW, 2.0), shifts, strict=True)]
    stream = Stream().feed(images)
    assert stream.restarts == 1
    assert [reading.time / SECOND for reading in stream.readings] == pytest.approx(
        [received for received, _ in images]
    )
    assert sum(reading.odd - reading.confirmed for reading in stream.readings) == 0


def test_both_clocks_set_forward_count_on() -> None:
    years = 3e8
    images = [(i / 2 + years * (i >= 20), NOW + i / 2 + years * (i >= 20)) for i in range(40)]
    stream = Stream().feed(images)
    assert stream.restarts == 1
    assert stream.readings[-1].time / SECOND == pytest.approx(20.0, abs=1.0)


def test_a_pause_is_no_jump() -> None:
    images = camera(NOW, 2.0) + camera(NOW, 2.0, start=4000.0)
    stream = Stream().feed(images)
    assert stream.restarts == 0
    assert stream.readings[-1].time / SECOND == pytest.approx(images[-1][0])


def test_a_bag_that_is_played_fast_keeps_its_pace_where_stamps_are_wrong() -> None:
    """Without /clock, so that the times of receipt are much closer than the images were."""
    stamps = [NOW - 1000 + i / 2 for i in range(60)]
    wrong = {7: 0.0, 12: stamps[11], 14: stamps[13] - 0.1, 16: 2e9, 20: 0.0, 21: 0.0, 30: 0.0}
    stream = Stream().feed((i / 50, wrong.get(i, stamps[i])) for i in range(60))
    used = {**dict(enumerate(stamps)), 12: wrong[12], 14: wrong[14]}
    assert stream.used == pytest.approx(list(used.values()), abs=1e-6)
    assert stream.restarts == 0
