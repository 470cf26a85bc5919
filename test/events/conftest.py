"""Events for the log, and places to write it that fail."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stride_ros.events.log import EventLog
from stride_ros.events.record import OFFSET, Event, event_key

SECOND = 10**9
BASE = 1_790_000_000 * SECOND  # 21 September 2026, 15:33:20 UTC


def make(number: int, sentence: str = "", **given) -> Event:
    """The event of span `number`, which begins so many seconds after BASE and takes one."""
    fields = {
        "watch": "door",
        "camera": "front",
        "query": "Tell me when the door opens.",
        "origin": "robot",
        "start_ns": BASE + number * SECOND,
        "end_ns": BASE + (number + 1) * SECOND,
        "confidence": 0.75,
        "state": OFFSET,
        **given,
    }
    key = event_key(fields["origin"], fields["camera"], fields["watch"], number)
    return Event(**{"key": key, "span_id": number, "sentence": sentence, **fields})


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
def log(path) -> Iterator[EventLog]:
    with EventLog(path, synchronous="NORMAL") as log:
        yield log


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Without the rights of the superuser, who may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
