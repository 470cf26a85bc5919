"""The streaming engine decides as a full recomputation does, over shifts, for one query or several."""

import dataclasses
import functools

import numpy as np
import pytest

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.reference import RebuiltPrompt, RecomputedPrompt

pytestmark = pytest.mark.slow

QUERIES = ("Tell me when a person is in view.", "A red ball is on the table.", "Does the lamp go out?")
CONFIG = ActivationConfig(max_frames=12, drop_frames=4, unmasking_steps=3)


class OneStream:
    """Several queries on one stream of an engine."""

    def __init__(self, model, queries, config, prompts=CachedPrompt):
        self.engine = ActivationEngine(model, config, prompts=prompts, keep_features=False)
        self.stream = self.engine.open_stream("camera")
        for query in queries:
            self.stream.watch(query)

    def push(self, frame, time):
        return self.engine.push({self.stream: (frame, time)})


def assert_equal_updates(left, right):
    assert len(left) == len(right)
    for ours, theirs in zip(left, right, strict=True):
        assert ours.time == theirs.time
        assert ours.query == theirs.query
        assert ours.steps == theirs.steps
        for mine, other in zip(ours.passes, theirs.passes, strict=True):
            np.testing.assert_array_equal(mine, other)
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4, rtol=0)
        assert [(e.state, e.span_id, e.start, e.end) for e in ours.events] == [
            (e.state, e.span_id, e.start, e.end) for e in theirs.events
        ]


def run_side_by_side(streams, images, times):
    """Push the same frames into all streams and require equal updates at each; all updates of the first."""
    updates = []
    for index, time in enumerate(times):
        first, *others = [stream.push(images[index % len(images)], time) for stream in streams]
        for other in others:
            assert_equal_updates(first, other)
        updates += first
    return updates


@pytest.mark.parametrize("single_sequence", [False, True])
@pytest.mark.parametrize("scheme", ["mrope", "flat"])
def test_300_irregular_ticks_with_shifts_equal_a_recomputation(
    make_model, make_frames, scheme, single_sequence
):
    model = make_model(window=8, single_sequence=single_sequence, seed=3)
    times = 5.0 + np.cumsum(np.random.default_rng(1).uniform(0.3, 1.7, 300))
    config = dataclasses.replace(CONFIG, position_scheme=scheme)
    streams = [OneStream(model, QUERIES[:1], config, engine) for engine in (CachedPrompt, RecomputedPrompt)]
    updates = run_side_by_side(streams, make_frames(37, (32, 32)), times)
    assert len(updates) == 300
    labels = np.concatenate([update.labels for update in updates])
    assert 0.05 < np.mean(labels == 1) < 0.95  # a stream whose labels never change would prove little


@pytest.mark.parametrize("single_sequence", [False, True])
@pytest.mark.parametrize("scheme", ["mrope", "flat"])
def test_recorded_passes_decide_as_ordinary_ones_over_shifts(
    make_model, make_frames, rerun, scheme, single_sequence
):
    model = make_model(window=8, single_sequence=single_sequence, seed=3)
    times = 5.0 + np.cumsum(np.random.default_rng(2).uniform(0.3, 1.7, 80))
    config = dataclasses.replace(CONFIG, position_scheme=scheme)
    engines = (functools.partial(CachedPrompt, recorder=rerun), CachedPrompt)
    streams = [OneStream(model, QUERIES[:1], config, engine) for engine in engines]
    run_side_by_side(streams, make_frames(37, (32, 32)), times)
    assert rerun.replayed > 80


SHAPES = pytest.mark.parametrize(
    "changes",
    [
        {"max_frames": 13, "drop_frames": 5, "odd_frame": "wait"},
        {"max_frames": 12, "drop_frames": 12},
        {"max_frames": 9, "drop_frames": 1, "decide_every": 3},
        {"max_frames": 2, "drop_frames": 2},
        {"selection": "pool", "span_mode": "runs", "max_gap": 0.0},
        {"confidence_threshold": None, "decide_every": 2},
    ],
    ids=str,
)


@SHAPES
def test_any_shape_of_context_equals_both_references(make_model, make_frames, rerun, changes):
    config = dataclasses.replace(CONFIG, **changes)
    recorded = functools.partial(CachedPrompt, recorder=rerun)
    engines = (CachedPrompt, RecomputedPrompt, RebuiltPrompt, recorded)
    streams = [OneStream(make_model(window=8), QUERIES[:1], config, engine) for engine in engines]
    run_side_by_side(streams, make_frames(30, (64, 32)), np.arange(40.0))


def test_frames_that_change_size_equal_a_recomputation(make_model, make_frames, rerun):
    images = [*make_frames(5, (32, 32)), *make_frames(6, (96, 64)), *make_frames(9, (64, 96))]
    streams = [
        OneStream(make_model(window=8), QUERIES[:1], CONFIG, engine)
        for engine in (CachedPrompt, RecomputedPrompt, functools.partial(CachedPrompt, recorder=rerun))
    ]
    run_side_by_side(streams, images, np.arange(45.0))


@pytest.mark.parametrize("recorded", [False, True])
def test_queries_on_one_stream_decide_as_sessions_of_their_own(make_model, make_frames, rerun, recorded):
    model, images = make_model(window=8), make_frames(30, (64, 32))
    engine = functools.partial(CachedPrompt, recorder=rerun) if recorded else CachedPrompt
    together = OneStream(model, QUERIES, CONFIG, engine)
    alone = [OneStream(model, [query], CONFIG) for query in QUERIES]
    events = []
    for index in range(60):
        updates = together.push(images[index % 30], float(index))
        assert [update.query for update in updates] == list(QUERIES)
        for update, stream in zip(updates, alone, strict=True):
            (expected,) = stream.push(images[index % 30], float(index))
            np.testing.assert_array_equal(update.labels, expected.labels)
            np.testing.assert_allclose(update.probabilities, expected.probabilities, atol=1e-4)
            assert [(e.state, e.start, e.end) for e in update.events] == [
                (e.state, e.start, e.end) for e in expected.events
            ]
            events += update.events
    for query in QUERIES:  # each watch counts its spans from 1
        numbers = {event.span_id for event in events if event.query == query}
        assert numbers == set(range(1, len(numbers) + 1)) != set()


def test_recorded_passes_leave_queries_that_have_finished_alone(make_model, make_frames, rerun):
    config = dataclasses.replace(CONFIG, multi_event=False)
    engines = (functools.partial(CachedPrompt, recorder=rerun), CachedPrompt)
    streams = [OneStream(make_model(window=8), QUERIES, config, engine) for engine in engines]
    counts = set()
    images = make_frames(30, (64, 32))
    for index in range(90):
        ours, theirs = (stream.push(images[index % 30], float(index)) for stream in streams)
        assert_equal_updates(ours, theirs)
        counts.add(len(ours))
    assert len(counts) > 1  # some query finished while others went on


def test_memory_stays_under_the_limit_that_is_given_at_the_start(make_model, make_frames):
    stream = OneStream(make_model(window=8), QUERIES, CONFIG)
    limit = stream.engine.memory_for((64, 96), QUERIES)
    used = []
    for index, image in enumerate(make_frames(50, (64, 96))):
        stream.push(image, float(index))
        used.append(stream.engine.memory_bytes)
    assert 0.5 * limit < max(used) <= limit
