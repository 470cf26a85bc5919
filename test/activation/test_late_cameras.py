"""Cameras on a machine that is too slow for all of them, on a virtual clock: what each one's events are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from stride_ros.activation.clock import Reading
from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.frame_path import DecisionSink, Frame, FramePath
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.notes import StreamNotes
from stride_ros.activation.sampling import NANOSECONDS, Sampler, Verdict
from stride_ros.activation.scheduler import Scheduler
from stride_ros.activation.spans import SpanState
from stride_ros.activation.stamped_engine import Pushed, StampedEngine
from stride_ros.activation.stamped_stream import Decision
from stride_ros.activation.watch_request import WatchRequest
from stride_ros.errors import FrameError
from stride_ros.world.world import World

from .virtual_time import Clock, drive, grid

CONFIG = ActivationConfig(max_frames=12, drop_frames=4, unmasking_steps=3)
QUERY = "Tell me when a person is in view."
COST = 0.25  # s a decision: room for four a second
ORIGIN = 1_700_000_000 * NANOSECONDS


class SlowEngine(StampedEngine):
    """An engine on which each frame takes `cost` s of the virtual clock."""

    clock: Clock
    cost: float

    def push(self, frames: Mapping[str, tuple[np.ndarray, int]]) -> Pushed:
        self.clock.now += self.cost * len(frames)
        return super().push(frames)


class Rig(DecisionSink[Frame]):
    """Cameras before a path, as the node has them, and what was decided of each: (time, decision)."""

    def __init__(
        self,
        model: ActivationModel,
        names: Sequence[str],
        config: ActivationConfig = CONFIG,
        cost: float = COST,
        batch: int | None = None,
        query: str = QUERY,
    ) -> None:
        self.clock, self.batch = Clock(), batch
        engine = SlowEngine(model, [WatchRequest("watch", query)], config, cameras=names)
        engine.clock, engine.cost = self.clock, cost
        notes = {name: StreamNotes() for name in names}
        self.path = FramePath[Frame](engine, notes, self, self.clock)
        self.scheduler: Scheduler[str, Callable[[], Frame]] = Scheduler(self.clock)
        self.decisions: dict[str, list[tuple[float, Decision]]] = {name: [] for name in names}
        self.errors: dict[str, list[Exception]] = {name: [] for name in names}
        self.batches: list[list[str]] = []

    def decision(self, stream: str, frame: Frame, decision: Decision) -> None:
        self.decisions[stream].append(((frame.stamp - ORIGIN) / NANOSECONDS, decision))

    def rejected(self, stream: str, error: Exception) -> None:
        self.errors[stream].append(error)

    def run(
        self, arrivals: list[tuple[float, str]], decode: Callable[[str, float], Any], seconds: float
    ) -> None:
        """`decode(name, time)` makes an image."""

        def offer(name: str, time: float) -> None:
            stamp = ORIGIN + round(time * NANOSECONDS)
            reading = Reading(stamp, stamp, stamp)
            self.scheduler.offer(name, lambda: Frame(reading, decode(name, time), ""))

        def serve() -> None:
            due = self.scheduler.take(self.batch)
            self.batches.append(list(due))
            self.scheduler.charge(self.path.take(due))

        drive(self.clock, arrivals, offer, serve, seconds, lambda: self.scheduler.seconds_to_next)

    def times(self, name: str) -> list[float]:
        return [time for time, _ in self.decisions[name]]

    def labels(self, name: str) -> list[tuple[float, list[int]]]:
        return [(time, decision.update.labels.tolist()) for time, decision in self.decisions[name]]

    def spans(self, name: str) -> list[tuple[float, float]]:
        """Starts and ends of events, in s."""
        ends: dict[int, tuple[float, float]] = {}
        for _, decision in self.decisions[name]:
            for event in decision.events:
                times = (event.start_ns, event.end_ns)
                start, end = ((time - ORIGIN) / NANOSECONDS for time in times)
                ends[event.event.span_id] = (start, end)
                if event.event.state is SpanState.RETRACTED:
                    del ends[event.event.span_id]
        return sorted(ends.values())


def test_what_arrives_at_once_is_one_batch(make_model: Any, make_frames: Any) -> None:
    names = [f"c{i}" for i in range(4)]
    rig = Rig(make_model(window=8, seed=3), names, cost=0.0)
    image = make_frames(1, (32, 32))[0]
    rig.run([a for name in names for a in grid(name, 1.0, 3)], lambda name, time: image, 3)
    assert rig.batches == [names] * 3


@pytest.mark.parametrize("batch", [1, 4, None])
def test_spans_of_eight_late_cameras_are_those_of_a_fast_machine_at_their_rate(batch: int | None) -> None:
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
    assert fast.spans("even")
    assert fast.spans("odd")
    for name in names:
        times = late.times(name)
        assert len(times) == pytest.approx(seconds / 2, rel=0.1)
        expected = fast.spans("odd" if times[-1] % 2 else "even")
        found = late.spans(name)
        assert len(found) == len(expected)
        np.testing.assert_allclose(found, expected, atol=model.resolution + 1e-6, rtol=0)


def broken_decode(kind: str) -> Callable[[int], np.ndarray]:
    def decode(index: int) -> np.ndarray:
        if kind == "undecodable":
            raise FrameError("An image is cut off.")
        if kind == "unexpected":
            raise RuntimeError("a codec's own error")
        shapes = {"empty": (0, 0, 3), "tiny": (8, 8, 3), "long": (32, 32 * 300, 3)}
        return np.zeros(shapes.get(kind, (2048, 2048 + 7 * index, 3)), np.uint8)

    return decode


@pytest.mark.parametrize("kind", ["undecodable", "unexpected", "empty", "tiny", "long", "huge"])
def test_a_camera_with_bad_images_leaves_the_others_as_they_are(
    make_model: Any, make_frames: Any, kind: str
) -> None:
    model, images, names = make_model(window=8, seed=3), make_frames(20, (64, 64)), ["left", "right"]
    bad = broken_decode(kind)

    def decode(name: str, time: float) -> np.ndarray:
        return bad(round(time)) if name == "bad" else images[(round(time) + names.index(name)) % 20]

    def run(*others: str) -> Rig:
        rig = Rig(model, [*names, *others], cost=0.1)
        rig.run([a for name in [*names, *others] for a in grid(name, 1.0, 20)], decode, 30)
        return rig

    alone, beside = run(), run("bad")
    for name in names:
        assert len(beside.decisions[name]) == 20
        assert beside.labels(name) == alone.labels(name)
        assert beside.errors[name] == []
    assert len(beside.errors["bad"]) + len(beside.decisions["bad"]) == 20
    assert kind in ("huge", "long") or len(beside.errors["bad"]) == 20


def test_a_stamp_that_goes_back_costs_its_own_camera(make_model: Any, make_frames: Any) -> None:
    rig = Rig(make_model(window=8, seed=3), ["good", "bad"], cost=0.0)
    image = make_frames(1, (32, 32))[0]

    def take(**seconds: float) -> None:
        readings = {name: ORIGIN + round(time * NANOSECONDS) for name, time in seconds.items()}
        rig.path.take(
            {n: lambda stamp=t: Frame(Reading(stamp, stamp, stamp), image, "") for n, t in readings.items()}
        )

    take(good=1.0, bad=1.0)
    take(good=2.0, bad=0.5)
    assert rig.times("good") == [1.0, 2.0]
    assert rig.times("bad") == [1.0]
    assert "order" in str(rig.errors["bad"][0])
    rig.path.restart("bad")
    take(good=3.0, bad=0.5)
    assert rig.times("bad") == [1.0, 0.5]


def test_stamps_stay_on_each_streams_sampling_grid(make_model: Any, make_frames: Any) -> None:
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
    for name in ("video", "robot"):
        times = rig.times(name)
        assert len(times) == pytest.approx(40 / 1.6, rel=0.1)
        assert all(abs(time - round(time)) < 0.06 for time in times)
        assert set(np.round(np.diff(times))) <= {1.0, 2.0}, "spread evenly over the grid"
        assert rig.scheduler.load(name).dropped > 10
