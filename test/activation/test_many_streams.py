"""An engine with streams and watches that come and go decides for each as a session of its own would."""

import dataclasses
import os

import numpy as np
import pytest

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.engine import ActivationEngine, PushError
from stride_ros.activation.session import ActivationSession
from stride_ros.errors import CapacityError, ConfigError, FrameError, QueryError, TimeError

TICKS = int(os.environ.get("STRIDE_TICKS", "120"))  # of random schedules
QUERIES = ("Tell me when a person is in view.", "A red ball is on the table.", "Does the lamp go out?")
CONFIG = ActivationConfig(max_frames=12, drop_frames=4, unmasking_steps=3)
SIZES = ((32, 32), (64, 32), (64, 96))
NEAR = 1e-4  # how close to a tie rounding decides, as products of batches of another size round differently


class Mirror:
    """The session that a watch must equal; it is given the frames from the watch's first pair on."""

    def __init__(self, model, query, config):
        self.session = ActivationSession(model, query, config)
        self.begun = False


class Comparison:
    """Compares updates with sessions; a tick near a tie may differ, and the session then goes on alone."""

    def __init__(self):
        self.ticks = self.ties = 0

    def check(self, update, expected) -> bool:
        """Whether the two are still equal."""
        self.ticks += 1
        if not np.array_equal(update.labels, expected.labels):
            seen = expected.probabilities[expected.labels != 255]
            assert np.abs(seen - 0.5).min() < NEAR, "labels differ away from a tie"
            self.ties += 1
            return False
        np.testing.assert_allclose(update.probabilities, expected.probabilities, atol=NEAR, rtol=0)
        assert [(e.state, e.span_id, e.start, e.end) for e in update.events] == [
            (e.state, e.span_id, e.start, e.end) for e in expected.events
        ]
        return True

    def few_ties(self):
        assert self.ticks > 0
        assert self.ties <= max(1, self.ticks // 1000)


@pytest.mark.parametrize("single_sequence", [False, True])
@pytest.mark.parametrize("scheme", ["mrope", "flat"])
@pytest.mark.parametrize("odd_frame", ["repeat", "wait"])
def test_random_schedules_equal_separate_sessions(
    make_model, make_frames, scheme, single_sequence, odd_frame
):
    """Streams and watches open, close, pause, jump back and differ in size and rate."""
    model = make_model(window=8, single_sequence=single_sequence, seed=3)
    config = dataclasses.replace(CONFIG, position_scheme=scheme, odd_frame=odd_frame)
    engine, rng, compared = ActivationEngine(model, config), np.random.default_rng(5), Comparison()
    images = {size: make_frames(23, size) for size in SIZES}
    streams: dict = {}  # handle: (size, {watch: mirror}, frames since its beginning, time)
    opened = shifts = 0
    for tick in range(TICKS):
        if len(streams) < 3 and (not streams or rng.random() < 0.1):
            opened += 1
            handle = engine.open_stream(f"camera{opened}")
            streams[handle] = {"size": SIZES[opened % 3], "mirrors": {}, "frames": 0, "time": rng.random()}
        for handle, state in list(streams.items()):
            chance = rng.random()
            if chance < 0.01:
                handle.close()
                del streams[handle]
                continue
            if chance < 0.02:
                handle.reset()
                for watch in state["mirrors"]:
                    state["mirrors"][watch].session.reset()
                    state["mirrors"][watch].begun = False
                state["frames"], state["time"] = 0, rng.random()
            if len(state["mirrors"]) < 3 and (not state["mirrors"] or chance < 0.06):
                query = QUERIES[int(rng.integers(3))]
                watch = handle.watch(query)
                state["mirrors"][watch] = Mirror(model, query, config)
            elif len(state["mirrors"]) > 1 and chance > 0.95:
                watch = next(iter(state["mirrors"]))
                handle.unwatch(watch)
                del state["mirrors"][watch]
        given = {}
        for handle, state in streams.items():
            if rng.random() < 0.8:  # slower than the others, or paused
                state["time"] += rng.uniform(0.3, 1.7)
                given[handle] = (images[state["size"]][tick % 23], state["time"])
        updates = {(update.stream, update.watch): update for update in engine.push(given)}
        for handle, (image, time) in given.items():
            state = streams[handle]
            for watch, mirror in list(state["mirrors"].items()):
                mirror.begun |= state["frames"] % 2 == 0
                expected = mirror.session.push(image, time) if mirror.begun else None
                update = updates.pop((handle.name, watch.id), None)
                assert (update is None) == (expected is None)
                if update is not None and not compared.check(update, expected):
                    handle.unwatch(watch)
                    del state["mirrors"][watch]
            shifts += state["frames"] > 12
            state["frames"] += 1
        assert not updates
    compared.few_ties()
    assert opened > 2
    assert shifts > 20


@pytest.mark.parametrize("odd_frame", ["repeat", "wait"])
@pytest.mark.parametrize("frames", [0, 1, 2, 7, 12, 13, 30, 41])
def test_a_watch_that_looks_back_equals_a_fresh_session_on_the_same_context(
    make_model, make_frames, frames, odd_frame
):
    model, images = make_model(window=8, seed=3), make_frames(37, (64, 32))
    config = dataclasses.replace(CONFIG, odd_frame=odd_frame)
    engine, compared = ActivationEngine(model, config), Comparison()
    stream = engine.open_stream("camera")
    first = stream.watch(QUERIES[0])
    alone = ActivationSession(model, QUERIES[0], config)
    fed: list = []

    def push(index):
        fed.append((images[index % 37], float(index)))
        updates = {update.watch: update for update in engine.push({stream: fed[-1]})}
        expected = alone.push(*fed[-1])
        assert (expected is None) == (first.id not in updates)
        if expected is not None:
            assert compared.check(updates[first.id], expected)
        return updates

    for index in range(frames):
        push(index)
    before = frames - stream.context_frames  # the context's first frame, from which the late watch starts
    late = stream.watch(QUERIES[1], id="late", look_back=True)
    fresh, ticks = None, 0
    for index in range(frames, frames + 30):
        updates = push(index)
        if not late.ready:
            assert "late" not in updates
            continue
        if fresh is None:
            # Fed the same frames, and asked for the first time at this tick.
            fresh = ActivationSession(model, QUERIES[1], dataclasses.replace(config, decide_every=10**9))
            for frame in fed[before:-1]:
                fresh.push(*frame)
            fresh.update_config(config)
        expected = fresh.push(*fed[-1])
        assert (expected is None) == ("late" not in updates)
        if expected is not None:
            ticks += 1
            if not compared.check(updates["late"], expected):
                break
    compared.few_ties()
    assert ticks > 3


def test_without_look_back_a_watch_begins_at_the_next_pair(make_model, make_frames):
    model, images = make_model(window=8), make_frames(9, (32, 32))
    engine = ActivationEngine(model, CONFIG)
    stream = engine.open_stream("camera")
    stream.watch(QUERIES[0], id="first")
    engine.push({stream: (images[0], 0.0)})
    second = stream.watch(QUERIES[1], id="second")
    assert not second.ready
    assert [update.watch for update in engine.push({stream: (images[1], 1.0)})] == ["first"]
    assert [update.watch for update in engine.push({stream: (images[2], 2.0)})] == ["first", "second"]
    assert second.ready


def test_one_bad_frame_costs_only_its_own_stream(make_model, make_frames):
    images = make_frames(3, (32, 32))
    engine = ActivationEngine(make_model(window=8), CONFIG)
    left, right, third = (engine.open_stream(name) for name in ("left", "right", "third"))
    for stream in (left, right, third):
        stream.watch(QUERIES[0])
    engine.push(dict.fromkeys((left, right, third), (images[0], 1.0)))
    with pytest.raises(PushError, match=r"left: .*right: ") as caught:
        engine.push({left: (images[1], 0.5), right: (np.zeros(3), 2.0), third: (images[1], 2.0)})
    assert isinstance(caught.value.errors[left], TimeError)
    assert isinstance(caught.value.errors[right], FrameError)
    assert [update.stream for update in caught.value.updates] == ["third"]
    with pytest.raises(TimeError):
        engine.push({left: (images[1], 0.5)})
    assert len(engine.push({left: (images[1], 2.0), right: (images[1], 2.0)})) == 2


def test_names_ids_and_queries_are_checked(make_model):
    engine = ActivationEngine(make_model(window=8), CONFIG)
    stream = engine.open_stream("camera")
    with pytest.raises(ConfigError, match="already a stream named camera"):
        engine.open_stream("camera")
    watch = stream.watch(QUERIES[0], id="door")
    with pytest.raises(ConfigError, match="already has a watch door"):
        stream.watch(QUERIES[1], id="door")
    with pytest.raises(QueryError):
        stream.watch(" ")
    with pytest.raises(ConfigError, match="min_active_seconds"):
        stream.watch(QUERIES[1], trigger=TriggerConfig(min_active_seconds=1e6))
    twice = [stream.watch(QUERIES[1]) for _ in range(2)]
    assert len({watch.id for watch in stream.watches}) == 3
    stream.unwatch(watch)
    with pytest.raises(ConfigError, match="has no watch"):
        stream.unwatch(watch)
    assert stream.watches == tuple(twice)
    stream.close()
    with pytest.raises(ConfigError, match="is not open"):
        engine.push({stream: (np.zeros((32, 32, 3), np.uint8), 0.0)})
    assert engine.streams == ()


def test_each_watch_has_a_trigger_of_its_own(make_model, make_frames):
    images = make_frames(30, (64, 32))
    engine = ActivationEngine(make_model(window=8, seed=3), CONFIG)
    stream = engine.open_stream("camera")
    stream.watch(QUERIES[0], id="usual")
    stream.watch(QUERIES[0], id="strict", trigger=TriggerConfig(min_confidence=1.0))
    events: dict[str, int] = {"usual": 0, "strict": 0}
    for index in range(40):
        usual, strict = engine.push({stream: (images[index % 30], float(index))})
        np.testing.assert_array_equal(usual.labels, strict.labels)
        events["usual"] += len(usual.events)
        events["strict"] += len(strict.events)
    assert events["usual"] > events["strict"] == 0


def test_what_does_not_fit_is_refused_before_anything_changes(make_model, make_frames):
    model, images = make_model(window=8), make_frames(40, (64, 96))
    one = ActivationEngine(model, CONFIG).memory_for((64, 96), QUERIES[:1])
    engine = ActivationEngine(model, CONFIG, memory_limit=one + one // 3)
    stream = engine.open_stream("camera", size=(64, 96))
    stream.watch(QUERIES[0])
    with pytest.raises(CapacityError) as caught:
        stream.watch(QUERIES[1])
    assert caught.value.needed > caught.value.free >= one
    with pytest.raises(CapacityError):
        engine.open_stream("other", size=(512, 512))
    assert len(stream.watches) == 1
    for index, image in enumerate(images):  # the first goes on
        assert len(engine.push({stream: (image, float(index))})) == 1
        assert engine.memory_bytes <= one + one // 3
    large = make_frames(1, (512, 512))[0]
    with pytest.raises(CapacityError):  # a camera that sends more than it was opened for
        engine.push({stream: (large, 100.0)})


def test_look_back_needs_what_was_kept(make_model):
    engine = ActivationEngine(make_model(window=8), CONFIG, keep_features=False)
    with pytest.raises(ConfigError, match="keep"):
        engine.open_stream("camera").watch(QUERIES[0], look_back=True)
