"""A whole recording, whose work is left until a decision needs it, is decided on as a live stream is."""

import dataclasses

import numpy as np
import pytest

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.deferred_prompt import DeferredPrompt
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.reference import RecomputedPrompt
from stride_ros.errors import CapacityError

pytestmark = pytest.mark.slow

QUERIES = ("Tell me when a person is in view.", "A red ball is on the table.")
CONFIG = ActivationConfig(max_frames=12, drop_frames=4, unmasking_steps=3)


class Cameras:
    """Two streams of one engine: a watch on the first from the beginning, on the second from frame 3 on."""

    def __init__(self, model, config, prompts):
        self.engine = ActivationEngine(model, config, prompts=prompts)
        self.streams = [self.engine.open_stream(name) for name in ("front", "left")]
        self.streams[0].watch(QUERIES[0])
        self.pushed = 0

    def push(self, image, time):
        if self.pushed == 3:
            self.streams[1].watch(QUERIES[1])
        if self.pushed == 20:
            self.streams[0].watch(QUERIES[1], look_back=True)
        self.pushed += 1
        updates = self.engine.push(dict.fromkeys(self.streams, (image, time)))
        while self.engine.catch_up():
            pass
        return updates


@pytest.fixture
def counted(monkeypatch):
    """Frame pairs that were encoded and tokens that were run, over all models."""
    count = {"pairs": 0, "tokens": 0}
    encode, append, run = ActivationModel.encode, ActivationModel.append, ActivationModel.slot_probabilities

    def counting(method, name, size):
        def counted(self, given):
            count[name] += sum(map(size, given))
            return method(self, given)

        return counted

    monkeypatch.setattr(ActivationModel, "encode", counting(encode, "pairs", lambda pair: 1))
    for name, method in (("append", append), ("slot_probabilities", run)):
        monkeypatch.setattr(ActivationModel, name, counting(method, "tokens", lambda block: len(block.ids)))
    return count


def assert_equal(ours, theirs):
    assert [(update.stream, update.watch, update.time) for update in ours] == [
        (update.stream, update.watch, update.time) for update in theirs
    ]
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine.labels, other.labels)
        np.testing.assert_allclose(mine.probabilities, other.probabilities, atol=1e-4, rtol=0)
        assert [(e.state, e.span_id, e.start, e.end) for e in mine.events] == [
            (e.state, e.span_id, e.start, e.end) for e in other.events
        ]


@pytest.mark.parametrize("scheme", ["mrope", "flat"])
@pytest.mark.parametrize("odd_frame", ["repeat", "wait"])
@pytest.mark.parametrize("every", [1, 3, 8, 30])
@pytest.mark.parametrize("reference", [CachedPrompt, RecomputedPrompt])
def test_decisions_on_a_recording_are_those_of_a_live_stream(
    make_model, make_frames, scheme, odd_frame, every, reference
):
    model, images = make_model(window=8, seed=3), make_frames(37, (32, 64))
    times = 5.0 + np.cumsum(np.random.default_rng(1).uniform(0.3, 1.7, 100))
    config = dataclasses.replace(CONFIG, position_scheme=scheme, odd_frame=odd_frame, decide_every=every)
    cameras = [Cameras(model, config, prompts) for prompts in (DeferredPrompt, reference)]
    decided = 0
    for index, time in enumerate(times):
        ours, theirs = [each.push(images[index % 37], time) for each in cameras]
        assert_equal(ours, theirs)
        decided += len(ours)
    ours, theirs = [[u for s in each.streams for u in s.decide()] for each in cameras]
    assert_equal(ours, theirs)
    assert decided >= 3


def test_what_no_decision_needs_is_neither_encoded_nor_appended(make_model, make_frames, counted):
    model, images = make_model(window=8), make_frames(60, (32, 32))
    config = dataclasses.replace(CONFIG, decide_every=30)
    engine = ActivationEngine(model, config, prompts=DeferredPrompt)
    stream = engine.open_stream("recording")
    stream.watch(QUERIES[0])
    for index, image in enumerate(images[:29]):
        engine.push({stream: (image, float(index))})
    assert counted == {"pairs": 0, "tokens": 0}
    (update,) = engine.push({stream: (images[29], 29.0)})
    assert counted["pairs"] == stream.context_frames // 2 < 6
    assert update.steps > 0


def test_a_recording_takes_less_work_than_a_live_stream(make_model, make_frames, counted):
    model, images = make_model(window=8), make_frames(48, (32, 32))
    config = dataclasses.replace(CONFIG, decide_every=4, odd_frame="wait")
    work = {}
    for prompts in (CachedPrompt, DeferredPrompt):
        counted.update(pairs=0, tokens=0)
        engine = ActivationEngine(model, config, prompts=prompts)
        stream = engine.open_stream("recording")
        stream.watch(QUERIES[0])
        for index, image in enumerate(images):
            engine.push({stream: (image, float(index))})
        work[prompts] = dict(counted)
    assert work[DeferredPrompt]["pairs"] == work[CachedPrompt]["pairs"] == 24
    # What the live stream has prepared by then for a window that does not come: 4 pairs of 6.
    assert work[DeferredPrompt]["tokens"] < work[CachedPrompt]["tokens"]


def test_memory_stays_within_what_was_promised(make_model, make_frames):
    model, images = make_model(window=8), make_frames(12, (64, 64))
    for every in (1, 5, 40):
        config = dataclasses.replace(CONFIG, decide_every=every)
        engine = ActivationEngine(model, config, prompts=DeferredPrompt)
        limit = engine.memory_for((64, 64), QUERIES)
        less = ActivationEngine(model, config, limit - 1, prompts=DeferredPrompt)
        stream = less.open_stream("recording", (64, 64))
        stream.watch(QUERIES[0])
        with pytest.raises(CapacityError):
            stream.watch(QUERIES[1])
        stream = engine.open_stream("recording", (64, 64))
        for query in QUERIES:
            stream.watch(query)
        for index in range(50):
            engine.push({stream: (images[index % 12], float(index))})
            assert engine.memory_bytes <= limit
    engine.streams[0].close()
    assert engine.memory_bytes == 0
