"""The parts of a status: the worst level wins, values carry their unit, rates forget."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("rclpy")
from stride_ros.nodes import diagnostics
from stride_ros.nodes.diagnostics import Rate, Status, gpu_memory, process_memory
from stride_ros.text.foreign import MAX_REASON


def test_worst_level_and_all_its_reasons_win() -> None:
    status = Status()
    assert (status.level, status.message) == (0, "OK")
    status.warn("slow")
    status.warn("late")
    assert (status.level, status.message) == (1, "slow; late")
    status.error("broken")
    assert (status.level, status.message) == (2, "broken")
    status.warn("later still")
    assert (status.level, status.message) == (2, "broken")


def test_values_are_text_with_three_decimals() -> None:
    status = Status()
    status.add("tick (ms)", 1.23456)
    status.add("count", 7)
    assert status.values == {"tick (ms)": "1.235", "count": "7"}


def test_reasons_and_values_are_lines_of_bounded_length() -> None:
    status = Status()
    for letter in "abc":
        status.error(f"line\n\x1b[2J{letter * 10**6}")
    status.add("last error", "\r" + "x" * 10**6)
    for text in (status.message, status.values["last error"]):
        assert len(text) <= MAX_REASON
        assert text.isprintable()


def test_rate_counts_events_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate(window=10.0)
    for i in range(100):
        now = 1000.0 + i / 5
        rate.tick()
    assert rate.hertz == pytest.approx(5.0, rel=0.05)
    assert rate.count == 100
    now += 60.0
    assert rate.hertz == 0.0


def test_young_rate_is_not_watered_down(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate(window=10.0)
    for i in range(10):
        now = 1000.1 + i / 10
        rate.tick()
    assert rate.hertz == pytest.approx(10.0, rel=0.1)


def test_memory_is_read_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_memory() > 10_000_000
    assert gpu_memory() >= 0
    monkeypatch.setattr(diagnostics, "open", lambda *_, **__: (_ for _ in ()).throw(OSError()), raising=False)
    assert process_memory() == 0
