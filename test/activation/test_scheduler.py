"""Where time is short: fair shares on a virtual clock, and cameras that fail for themselves alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.sampling import Sampler, Verdict
from stride_ros.activation.scheduled_engine import ScheduledEngine
from stride_ros.activation.scheduler import Scheduler
from stride_ros.activation.spans import SpanState
from stride_ros.errors import FrameError, TimeError
from stride_ros.world.world import World

CONFIG = ActivationConfig(max_frames=12, drop_frames=4, unmasking_steps=3)
QUERY = "Tell me when a person is in view."
COST = 0.25  # s a decision: room for four a second


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Machine:
    """An engine on which each decision takes `cost` s of the virtual clock."""

    def __init__(self, engine, clock, cost=COST):
        self.engine, self.clock, self.cost = engine, clock, cost
        self.pushes = []  # names of the streams of each push

    @property
    def streams(self):
        return self.engine.streams

    def push(self, frames):
        self.pushes.append([stream.name for stream in frames])
        self.clock.now += self.cost * len(frames)
        return self.engine.push(frames)


def drive(clock, arrivals, offer, serve, seconds, next_time):
    """Let frames arrive [(time, key)] while `serve` works and moves the clock on; a discrete simulation."""
    arrivals = sorted(arrivals, key=lambda arrival: arrival[0])
    position = 0
    while clock.now < seconds:
        now = clock.now
        while position < len(arrivals) and arrivals[position][0] <= now + 1e-9:
            clock.now = arrivals[position][0]  # it came while the machine was busy
            offer(arrivals[position][1], arrivals[position][0])
            position += 1
        clock.now = now
        wait = next_time()
        if wait == 0:
            serve()
            continue
        times = [arrivals[position][0]] if position < len(arrivals) else []
        times += [now + wait] if wait is not None else []
        if not times:
            return
        clock.now = max(now, min(times))


def grid(key, rate, seconds, first=0.0, end=math.inf):
    """When a camera's due frames arrive."""
    times = (first + index / rate for index in range(math.ceil((min(seconds, end) - first) * rate)))
    return [(time, key) for time in times]


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


def test_discarded_frames_are_no_drops_and_closed_streams_are_forgotten():
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
    scheduler.offer("b", 4)
    scheduler.forget("b")
    assert scheduler.take() == {"a": 3}
    assert scheduler.load("a").dropped == 1
    assert list(scheduler.loads) == ["a"]


# Above a real engine


class Rig:
    """Cameras above an engine with one watch each, and what was decided of each: (time, labels)."""

    def __init__(self, model, names, config=CONFIG, cost=COST, batch=None, query=QUERY):
        self.clock = Clock()
        engine = ActivationEngine(model, config)
        self.machine = Machine(engine, self.clock, cost)
        self.streams = {name: engine.open_stream(name) for name in names}
        for stream in self.streams.values():
            stream.watch(query, id="watch")
        self.scheduled = ScheduledEngine(self.machine, self.clock, batch)
        self.updates: dict[str, list] = {name: [] for name in names}
        self.errors: dict[str, list] = {name: [] for name in names}

    def step(self):
        served = self.scheduled.step()
        for update in served.updates:
            self.updates[update.stream].append(update)
        for stream, error in served.errors.items():
            self.errors[stream.name].append(error)
        return served

    def run(self, arrivals, decode, seconds):
        """decode(name, time) makes a frame."""

        def offer(name, time):
            self.scheduled.offer(self.streams[name], lambda: decode(name, time), time)

        drive(self.clock, arrivals, offer, self.step, seconds, lambda: self.scheduled.seconds_to_next)

    def labels(self, name):
        return [(update.time, update.labels.tolist()) for update in self.updates[name]]


def test_what_arrives_at_once_is_one_batch(make_model, make_frames):
    names = [f"c{i}" for i in range(4)]
    rig = Rig(make_model(window=8, seed=3), names, cost=0.0)
    image = make_frames(1, (32, 32))[0]
    rig.run([a for name in names for a in grid(name, 1.0, 3)], lambda name, time: image, 3)
    assert rig.machine.pushes == [names] * 3


@pytest.mark.parametrize("batch", [1, 4, None])
def test_spans_of_eight_late_cameras_are_those_of_a_fast_machine_at_their_rate(batch):
    model = ActivationModel.load("stride-tiny", device="cpu", dtype="float32")
    seconds, names = 40, [f"c{i}" for i in range(8)]
    world = World(seed=2, seconds=seconds, size=(128, 96))
    query = world.queries[0]
    config = ActivationConfig(trigger=TriggerConfig(min_active_seconds=0.0))
    cache = {float(t): world.frame(t) for t in range(seconds)}
    late = Rig(model, names, config, batch=batch, query=query)
    late.run([a for n in names for a in grid(n, 1.0, seconds)], lambda n, time: cache[time], seconds)
    fast = Rig(model, ["even", "odd"], config, cost=0.0, query=query)
    # Whichever second a camera's turn falls on, it is on the grid of one frame in two seconds.
    arrivals = grid("even", 0.5, seconds) + grid("odd", 0.5, seconds, first=1.0)
    fast.run(arrivals, lambda n, time: cache[time], seconds)

    def spans(rig, name):
        ends: dict[int, tuple[float, float]] = {}
        for update in rig.updates[name]:
            for event in update.events:
                ends[event.span_id] = (event.start, event.end)
                if event.state is SpanState.RETRACTED:
                    del ends[event.span_id]
        return sorted(ends.values())

    expected = {name: spans(fast, name) for name in ("even", "odd")}
    assert expected["even"]
    assert expected["odd"]
    for name in names:
        assert len(late.updates[name]) == pytest.approx(seconds / 2, rel=0.1)
        phase = "odd" if late.updates[name][-1].time % 2 else "even"
        found = spans(late, name)
        assert len(found) == len(expected[phase])
        np.testing.assert_allclose(found, expected[phase], atol=model.resolution + 1e-9, rtol=0)


def broken_decode(kind):
    def decode(index):
        if kind == "undecodable":
            raise FrameError("An image is cut off.")
        if kind == "unexpected":
            raise RuntimeError("a codec's own error")
        shapes = {"grey": (64, 64), "empty": (0, 0, 3), "tiny": (8, 8, 3), "long": (32, 32 * 300, 3)}
        if kind in shapes:
            return np.zeros(shapes[kind], np.uint8)
        if kind == "floats":
            return np.zeros((64, 64, 3), np.float32)
        return None if kind == "nothing" else np.zeros((2048, 2048 + 7 * index, 3), np.uint8)  # huge

    return decode


@pytest.mark.parametrize(
    "kind", ["undecodable", "unexpected", "grey", "empty", "tiny", "long", "floats", "nothing", "huge"]
)
def test_a_camera_with_bad_images_leaves_the_others_as_they_are(make_model, make_frames, kind):
    model, images, names = make_model(window=8, seed=3), make_frames(20, (64, 64)), ["left", "right"]

    def good(name, time):
        return images[(round(time) + names.index(name)) % 20]

    def run(others):
        rig, bad = Rig(model, [*names, *others], cost=0.1), broken_decode(kind)
        arrivals = [a for name in rig.streams for a in grid(name, 1.0, 20)]
        rig.run(arrivals, lambda n, t: bad(round(t)) if n == "bad" else good(n, t), 30)
        return rig

    alone, beside = run([]), run(["bad"])
    for name in names:
        assert len(beside.updates[name]) == 20
        assert beside.labels(name) == alone.labels(name)
        assert beside.errors[name] == []
    load = beside.scheduled.load(beside.streams["bad"])
    assert load.failed == len(beside.errors["bad"])
    assert load.failed + len(beside.updates["bad"]) == 20
    assert kind in ("huge", "long") or load.failed == 20


def test_bad_stamps_cost_only_their_own_camera(make_model, make_frames):
    rig = Rig(make_model(window=8, seed=3), ["good", "bad"], cost=0.0)
    image = make_frames(1, (32, 32))[0]
    good, bad = rig.streams.values()
    rig.scheduled.offer(bad, lambda: image, 1.0)
    for stamp in (0.5, 1.0, math.nan, math.inf, -math.inf):
        with pytest.raises(TimeError, match="offer frames in order"):
            rig.scheduled.offer(bad, lambda: image, stamp)
    rig.scheduled.offer(good, lambda: image, 1.0)
    assert set(rig.step().times) == {good, bad}, "what waited still waits"
    with pytest.raises(TimeError):
        rig.scheduled.offer(bad, lambda: image, 0.5)
    # The stream moved on by other ways than the scheduler's: the engine refuses the frame, and says so.
    rig.scheduled.offer(bad, lambda: image, 2.0)
    rig.scheduled.offer(good, lambda: image, 2.0)
    rig.machine.engine.push({bad: (image, 3.0)})
    served = rig.step()
    assert isinstance(served.errors[bad], TimeError)
    assert [update.stream for update in served.updates] == ["good"]
    bad.reset()
    rig.scheduled.discard(bad)
    rig.scheduled.offer(bad, lambda: image, 0.25)
    assert [update.stream for update in rig.step().updates] == ["bad"]
    assert rig.scheduled.load(bad).failed == 1


def test_a_stream_that_is_closed_leaves_nothing_behind(make_model, make_frames):
    rig = Rig(make_model(window=8, seed=3), ["stays", "goes"], cost=0.0)
    image = make_frames(1, (32, 32))[0]
    for stream in rig.streams.values():
        rig.scheduled.offer(stream, lambda: image, 1.0)
    rig.streams["goes"].close()
    served = rig.step()
    assert [stream.name for stream in served.times] == ["stays"]
    assert not served.errors
    assert rig.scheduled.seconds_to_next is None


def test_stamps_stay_on_each_streams_sampling_grid(make_model, make_frames):
    """Cameras of 29.97 and 10 Hz, sampled at 1 Hz by their stamps, on a machine too slow for both."""
    image = make_frames(1, (32, 32))[0]
    rig = Rig(make_model(window=8, seed=3), ["video", "robot"], cost=0.8)
    arrivals = []
    for name, rate in (("video", 29.97), ("robot", 10.0)):
        sampler = Sampler(1.0)
        for time, _ in grid(name, rate, 40):
            if sampler.offer(round(time * 1e9)) is Verdict.KEEP:
                arrivals.append((time, name))
    rig.run(arrivals, lambda name, time: image, 40)
    for name in rig.streams:
        times = [update.time for update in rig.updates[name]]
        assert len(times) == pytest.approx(40 / 1.6, rel=0.1)
        assert all(abs(time - round(time)) < 0.06 for time in times)
        assert set(np.round(np.diff(times))) <= {1.0, 2.0}, "spread evenly over the grid"
        assert rig.scheduled.load(rig.streams[name]).dropped > 10
