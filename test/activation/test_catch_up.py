"""Watches that look back are fed in portions, so that no push runs much more than the others do."""

import statistics

import pytest

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine

pytestmark = pytest.mark.slow

QUERIES = ("A person is in view.", "A red ball is on the table.", "Does the lamp go out?", "It rains.")
CONFIG = ActivationConfig(max_frames=64, drop_frames=16, unmasking_steps=4, margin_seconds=1e9)
SIZE = (160, 224)  # 35 tokens a pair


@pytest.fixture
def counted(make_model, monkeypatch):
    """A model, and a list to which it adds the number of tokens of each batch that it runs."""
    model, tokens = make_model(window=4), []

    def counting(run):
        def count(blocks):
            tokens.append(sum(len(block.ids) for block in blocks))
            return run(blocks)

        return count

    for name in ("append", "slot_probabilities"):
        monkeypatch.setattr(model, name, counting(getattr(model, name)))
    return model, tokens


def pushes(engine, stream, tokens, images, ticks):
    """Tokens that each of these pushes ran."""
    run = []
    for tick in ticks:
        tokens.clear()
        engine.push({stream: (images[tick % len(images)], float(tick))})
        run.append(sum(tokens))
    return run


@pytest.mark.parametrize("before", [63, 64, 72, 80, 101])
def test_the_worst_push_while_three_catch_up_is_bounded(counted, make_frames, before):
    """By the median of pushes before, times the watches that decide: those that are ready are usual load."""
    model, tokens = counted
    engine = ActivationEngine(model, CONFIG)
    stream = engine.open_stream("camera")
    stream.watch(QUERIES[0])
    images = make_frames(7, SIZE)
    pushes(engine, stream, tokens, images, range(before))
    usual = statistics.median(pushes(engine, stream, tokens, images, range(before, before + 32)))
    late = [stream.watch(query, look_back=True) for query in QUERIES[1:]]
    ready, worst, tick = 1, {1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0}, before + 32
    while ready < 4:
        (run,) = pushes(engine, stream, tokens, images, [tick])
        ready = 1 + sum(watch.ready for watch in late)
        worst[ready] = max(worst[ready], run / usual / ready)
        tick += 1
        assert tick < before + 200
    assert max(worst.values()) <= 2.5


def test_late_watches_are_ready_one_after_the_other(counted, make_frames):
    model, tokens = counted
    engine = ActivationEngine(model, CONFIG)
    stream = engine.open_stream("camera")
    stream.watch(QUERIES[0])
    images = make_frames(7, SIZE)
    pushes(engine, stream, tokens, images, range(70))
    late = [stream.watch(query, look_back=True) for query in QUERIES[1:]]
    ready = []
    for tick in range(70, 370):
        pushes(engine, stream, tokens, images, [tick])
        ready += [watch for watch in late if watch.ready and watch not in ready]
    assert ready == late


def test_without_another_watch_it_is_ready_soon(counted, make_frames):
    model, tokens = counted
    engine = ActivationEngine(model, CONFIG)
    stream = engine.open_stream("camera")
    first = stream.watch(QUERIES[0])
    images = make_frames(7, SIZE)
    pushes(engine, stream, tokens, images, range(70))
    stream.unwatch(first)
    late = stream.watch(QUERIES[1], look_back=True)
    pushes(engine, stream, tokens, images, range(70, 110))
    assert late.ready
