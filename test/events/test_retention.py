"""A log takes no more room than it may and keeps nothing longer than it shall."""

from __future__ import annotations

import os
import time

import pytest

from stride_ros.events import retention
from stride_ros.events.log import EventLog
from stride_ros.events.search import EventReader, Search

from .conftest import make

KEEP = retention.MIN_BYTES


def fill(path, numbers, *, keep, picture=20_000):
    largest = 0
    with EventLog(path, keep_bytes=keep, synchronous="NORMAL") as log:
        for number in numbers:
            event = make(number, f"sentence number {number} about a person at a door " * 8)
            log.put(event)
            if picture:
                log.picture(event.key, os.urandom(picture))
            largest = max(largest, log.size)
        return max(largest, log.size)


@pytest.mark.slow
def test_pictures_and_then_events_give_way_and_the_newest_stay(path):
    assert fill(path, range(2000), keep=KEEP) <= KEEP
    with EventReader(path) as reader:
        found = reader.find(Search("person", limit=None))
    numbers = [event.span_id for event in found.events]
    assert numbers == list(range(1999, 1999 - len(numbers), -1))
    pictures = [event.span_id for event in found.events if event.has_picture]
    assert pictures == numbers[: len(pictures)]
    assert len(numbers) > 1.5 * len(pictures) > 0
    assert 20_000 * len(pictures) < 0.6 * KEEP


@pytest.mark.slow
@pytest.mark.parametrize("picture", [200_000, 1_500_000])
def test_large_pictures_keep_the_budget_and_only_as_many_go_as_must(path, picture):
    with EventLog(path, keep_bytes=KEEP, synchronous="NORMAL") as log, EventReader(path) as reader:
        for number in range(2 * KEEP // picture):
            event = make(number)
            log.put(event)
            log.picture(event.key, os.urandom(picture))
            assert log.size <= KEEP
            pictures = sum(event.has_picture for event in reader.find(Search(limit=None)).events)
            assert pictures > 0.3 * KEEP // picture or pictures >= number - 3


@pytest.mark.slow
def test_events_without_pictures_keep_the_budget(path):
    assert fill(path, range(12_000), keep=KEEP, picture=0) <= KEEP
    with EventReader(path) as reader:
        found = reader.find(Search("person", limit=None))
    numbers = [event.span_id for event in found.events]
    assert numbers == list(range(11_999, 11_999 - len(numbers), -1))
    assert len(numbers) > 2000


@pytest.mark.slow
def test_a_smaller_budget_shrinks_the_file(path):
    fill(path, range(1500), keep=2 * KEEP)
    assert path.stat().st_size > KEEP
    EventLog(path, keep_bytes=KEEP).close()
    assert path.stat().st_size <= KEEP


class Clock:
    """The computer's clock, and the one that counts from its start."""

    def __init__(self, monkeypatch, now):
        self.now, self.up = now, 1000.0
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(time, "clock_gettime", lambda clock: self.up)

    def pass_days(self, days):
        self.now += days * 86_400
        self.up += days * 86_400


def kept(path):
    with EventReader(path) as reader:
        return {event.span_id for event in reader.find(Search(limit=None)).events}


def test_what_is_too_old_goes(path, monkeypatch):
    clock = Clock(monkeypatch, 1_800_000_000.0)
    with EventLog(path, keep_days=2.0) as log:
        for number in range(300):
            log.put(make(number))
        log.picture(make(0).key, b"jpeg")
        clock.pass_days(1.5)
        log.put(make(1000))
        log.commit()
        assert log.count == 301
        clock.pass_days(1.0)
        log.put(make(1001))
        log.commit()
        assert log.count == 2
    with EventReader(path) as reader:
        assert reader.find(Search("door")).total == 2
        assert reader.picture(make(0).key) is None


@pytest.mark.parametrize("wrong", [1000.0, 1_700_000_000.0])
def test_what_was_written_before_the_clock_was_set_does_not_go_when_it_is_set(path, monkeypatch, wrong):
    clock = Clock(monkeypatch, wrong)
    with EventLog(path, keep_days=1.0) as log:
        log.put(make(1))
        log.commit()
        clock.now = 1_800_000_000.0
        log.put(make(2))
        log.commit()
        assert log.count == 2
        clock.pass_days(1.5)
        log.put(make(3))
    assert kept(path) == (
        {1, 3} if wrong < 10_000 else {3}
    )  # the first has an age only if its time was known


def test_what_was_written_by_a_clock_that_went_back_between_two_writers_does_not_go(path, monkeypatch):
    clock = Clock(monkeypatch, 1_800_000_000.0)
    for number, now in ((1, 1_800_000_000.0), (2, 1_700_000_000.0), (3, 1_800_080_000.0)):
        clock.now = now
        with EventLog(path, keep_days=1.0) as log:
            log.put(make(number))
    assert kept(path) == {1, 2, 3}


def test_a_clock_that_was_ahead_for_a_while_keeps_nothing_for_longer(path, monkeypatch):
    clock = Clock(monkeypatch, 1_900_000_000.0)
    with EventLog(path, keep_days=1.0) as log:
        log.put(make(1))
        log.commit()
        clock.now = 1_800_000_000.0
        log.put(make(2))
    clock.pass_days(0.5)
    with EventLog(path, keep_days=1.0) as log:
        log.put(make(3))
        clock.pass_days(0.75)
        log.put(make(4))
    assert kept(path) == {3, 4}
