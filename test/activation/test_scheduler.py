"""Where time is short: fair shares on a virtual clock."""

from __future__ import annotations

import numpy as np
import pytest

from stride_ros.activation.scheduler import Scheduler

from .virtual_time import Clock, drive, grid

COST = 0.25  # s a decision: room for four a second


def simulate(arrivals, seconds, *, cost=COST, limit=None, own=None):
    """Serve with a fixed cost a frame, and `own` costs of some streams; times of decisions, and the loads."""
    clock, own = Clock(), own or {}
    scheduler: Scheduler[str, float] = Scheduler(clock)
    decided: dict[str, list[float]] = {key: [] for _, key in arrivals}

    def serve():
        batch = scheduler.take(limit)
        clock.now += sum(own.get(key, 0.0) for key in batch)
        scheduler.charge({key: own.get(key, 0.0) for key in batch})
        for key, stamp in batch.items():
            decided[key].append(stamp)
        clock.now += cost * len(batch)

    drive(clock, arrivals, scheduler.offer, serve, seconds, lambda: scheduler.seconds_to_next)
    return decided, scheduler.loads


@pytest.mark.parametrize("limit", [1, 3, None])
@pytest.mark.parametrize("stagger", [0.0, 0.13])
def test_eight_cameras_with_room_for_four_decisions_get_even_shares(limit, stagger):
    seconds = 200
    arrivals = [a for i in range(8) for a in grid(f"c{i}", 1.0, seconds, first=i * stagger)]
    decided, loads = simulate(arrivals, seconds, limit=limit)
    for key, stamps in decided.items():
        assert len(stamps) == pytest.approx(seconds * 4 / 8, rel=0.1)
        offered = [time for time, other in arrivals if other == key]
        assert set(stamps) <= set(offered), "only frames of the stream's own grid"
        assert stamps == sorted(stamps)
        assert max(np.diff(stamps)) < 4.0
        load = loads[key]
        assert load.taken == len(stamps)
        assert load.offered - load.taken - load.dropped in (0, 1)  # one may wait
        assert 0 <= load.lag < 4.0


def test_a_fast_machine_drops_nothing():
    arrivals = [a for i in range(8) for a in grid(f"c{i}", 1.0, 50)]
    decided, loads = simulate(arrivals, 60, cost=0.1)
    assert all(stamps == [float(second) for second in range(50)] for stamps in decided.values())
    assert all((load.dropped, load.lag) == (0, 0.0) for load in loads.values())


@pytest.mark.parametrize("limit", [1, None])
def test_shares_are_even_among_different_rates_and_slow_cameras_keep_theirs(limit):
    rates = {"fast": 10.0, "usual": 2.0, "other": 1.5, "slow": 0.25}
    arrivals = [a for key, rate in rates.items() for a in grid(key, rate, 400, first=0.01 * len(key))]
    decided, _ = simulate(arrivals, 400, limit=limit, cost=0.5)  # 2 a second for 13.75
    assert len(decided["slow"]) == pytest.approx(100, abs=1)
    for key in ("fast", "usual", "other"):
        assert len(decided[key]) == pytest.approx((400 * 2 - 100) / 3, rel=0.1)


@pytest.mark.parametrize("limit", [1, None])
def test_a_camera_that_stops_leaves_its_time_to_the_others_and_gets_a_share_when_it_returns(limit):
    others = [a for i in range(3) for a in grid(f"c{i}", 1.0, 300)]
    pausing = grid("p", 1.0, 300, end=100) + grid("p", 1.0, 300, first=200.0)
    decided, _ = simulate(others + pausing, 300, cost=0.5, limit=limit)

    def counted(key, begin, end):
        return sum(begin <= stamp < end for stamp in decided[key])

    for begin, sharing in ((0, 4), (100, 3), (200, 4)):
        for key in ("c0", "c1", "c2"):
            assert counted(key, begin, begin + 100) == pytest.approx(100 * 2 / sharing, rel=0.1)
    assert counted("p", 200, 300) == pytest.approx(50, rel=0.1)
    assert counted("p", 100, 200) == 0


@pytest.mark.parametrize("limit", [1, None])
def test_an_expensive_camera_takes_no_more_than_a_share_of_the_time(limit):
    arrivals = [a for i in range(7) for a in grid(f"c{i}", 1.0, 400)] + grid("huge", 1.0, 400)
    decided, loads = simulate(arrivals, 400, cost=0.05, limit=limit, own={"huge": 3.0})
    assert len(decided["huge"]) >= 10, "it is not starved"
    assert 3.0 * len(decided["huge"]) <= 400 / 8 * 1.1
    for i in range(7):
        assert len(decided[f"c{i}"]) >= 400 * 0.8
    assert loads["huge"].dropped > 300


def test_an_expensive_camera_alone_is_not_held_up():
    decided, loads = simulate(grid("huge", 1.0, 60), 60, cost=0.0, own={"huge": 3.0})
    assert len(decided["huge"]) == 20
    assert loads["huge"].held == 0


def test_discarded_frames_are_no_drops():
    clock = Clock()
    scheduler: Scheduler[str, int] = Scheduler(clock)
    assert scheduler.take() == {}
    assert scheduler.seconds_to_next is None
    scheduler.offer("a", 1)
    clock.now = 2.0
    scheduler.offer("a", 2)
    assert (scheduler.load("a").lag, scheduler.load("a").dropped) == (2.0, 1)
    scheduler.discard("a")
    assert scheduler.take() == {}
    scheduler.offer("a", 3)
    assert scheduler.take() == {"a": 3}
    assert scheduler.load("a").dropped == 1
    assert list(scheduler.loads) == ["a"]
