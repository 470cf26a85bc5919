"""A log takes no more room than it may and keeps nothing longer than it shall."""

from __future__ import annotations

import os

import pytest

from stride_ros.events import log as module
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


def test_what_is_too_old_goes(path, monkeypatch):
    now = [1_800_000_000.0]
    for place in (module, retention):
        monkeypatch.setattr(place.time, "time", lambda: now[0])
    with EventLog(path, keep_days=2.0) as log:
        for number in range(300):
            log.put(make(number))
        log.picture(make(0).key, b"jpeg")
        now[0] += 1.5 * 86_400
        log.put(make(1000))
        log.commit()
        assert log.count == 301
        now[0] += 86_400
        log.put(make(1001))
        log.commit()
        assert log.count == 2
    with EventReader(path) as reader:
        assert reader.find(Search("door")).total == 2
        assert reader.picture(make(0).key) is None


def test_what_was_written_before_the_clock_was_set_does_not_go_when_it_is_set(path, monkeypatch):
    now = [1000.0]
    for place in (module, retention):
        monkeypatch.setattr(place.time, "time", lambda: now[0])
    with EventLog(path, keep_days=1.0) as log:
        log.put(make(1))
        log.commit()
        now[0] = 1_800_000_000.0
        log.put(make(2))
        log.commit()
        assert log.count == 2
