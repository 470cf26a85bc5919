"""Caches in pages, as on a GPU, decide as caches of one stretch do, and take what the other gave back.

The same code runs here on a CPU; test_cuda.py has a GPU.
"""

import functools
import gc

import numpy as np
import pytest
import torch

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.qwen3_vl import block_attention
from stride_ros.qwen3_vl.paged_cache import PagePool

pytestmark = pytest.mark.slow

QUERIES = ("Tell me when a person is in view.", "A red ball is on the table.", "Does the lamp go out?")
CONFIG = ActivationConfig(max_frames=32, drop_frames=8, unmasking_steps=3)


@pytest.fixture
def in_pages(make_model, monkeypatch):
    """A function that gives a model whose caches are in pages."""

    def make(**options):
        model = make_model(window=8, **options)
        monkeypatch.setattr(model, "paged", True)
        pool = PagePool(model.architecture.text, model.device, model.dtype)
        pool.entries, pool.slab_pages = 16, 4  # so that prompts of a few frames have several
        monkeypatch.setattr(model, "pages", pool)
        return model

    return make


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("single_sequence", [False, True])
@pytest.mark.parametrize("scheme", ["mrope", "flat"])
def test_pages_decide_as_stretches_do(
    in_pages, make_frames, monkeypatch, rerun, scheme, single_sequence, recorded
):
    """Streams of several sizes, watches that come and go, frames that grow, over shifts."""
    config = ActivationConfig(max_frames=16, drop_frames=4, unmasking_steps=3, position_scheme=scheme)
    model = in_pages(single_sequence=single_sequence, seed=3)
    prompts = functools.partial(CachedPrompt, recorder=rerun) if recorded else CachedPrompt
    engines = [ActivationEngine(model, config, prompts=prompts), ActivationEngine(model, config)]
    streams = [[engine.open_stream(name) for name in ("left", "right")] for engine in engines]
    small, wide, large = (make_frames(11, size) for size in ((32, 32), (64, 32), (96, 96)))
    watches: list = [[], []]

    def open_watch(at, query, **options):
        for number, opened in enumerate(streams):
            monkeypatch.setattr(model, "paged", not number)
            watches[number].append((opened[at], opened[at].watch(query, **options)))

    open_watch(0, QUERIES[0])
    open_watch(1, QUERIES[1])
    decisions = 0
    for tick in range(70):
        if tick == 10:
            open_watch(0, QUERIES[2])
        if tick == 25:
            open_watch(1, QUERIES[0], look_back=True)
            for number, engine in enumerate(engines):  # when it decides depends on how much passes run
                monkeypatch.setattr(model, "paged", not number)
                while engine.catch_up():
                    pass
        if tick == 40:
            for opened in watches:
                stream, watch = opened.pop(0)
                stream.unwatch(watch)
        right = large if tick > 50 else wide  # frames that are larger than what the caches are made for
        updates = []
        for number, engine in enumerate(engines):
            monkeypatch.setattr(model, "paged", not number)
            given = {streams[number][0]: (small[tick % 11], float(tick))}
            if tick % 3:
                given[streams[number][1]] = (right[tick % 11], float(tick))
            updates.append(engine.push(given))
        for ours, theirs in zip(*updates, strict=True):
            np.testing.assert_array_equal(ours.labels, theirs.labels)
            np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4, rtol=0)
            decisions += 1
    assert decisions > 150
    assert rerun.failure is None
    assert (rerun.replayed > 150) is recorded


def test_pages_take_no_more_than_a_prompt_and_what_is_left_of_it(in_pages, make_frames):
    model = in_pages()
    engine = ActivationEngine(model, CONFIG)
    stream = engine.open_stream("camera", (64, 64))
    watch = stream.watch(QUERIES[0])
    images, held, full = make_frames(30, (64, 64)), [], 0
    for tick in range(120):
        engine.push({stream: (images[tick % 30], float(tick))})
        held.append(watch.passes.memory_bytes + model.pages.free_bytes)
        full = max(full, watch.passes._active.memory_bytes)
    assert max(held) <= 1.85 * full
    assert max(held) <= watch.passes.memory_limit(4)
    assert held[-1] == held[40]  # for good


def test_a_cache_reads_back_what_was_written_across_pages(in_pages):
    model = in_pages()
    text = model.architecture.text
    caches = [model.new_cache() for _ in range(2)]
    generator = torch.Generator().manual_seed(0)
    keys, values = torch.randn(2, 300, text.kv_heads, text.head_dim, generator=generator)
    for cache in caches:
        cache.reserve(256)
    for first in range(0, 300, 7):  # the caches take pages in turns, and grow
        for cache, sign in zip(caches, (1, -1), strict=True):
            last = min(300, first + 7)
            cache.hold(last)
            both = torch.cat((sign * keys[first:last], values[first:last]), 1)
            cache.write(1, first, both.transpose(0, 1))
    for cache, sign in zip(caches, (1, -1), strict=True):
        runs = cache.read_pages(1, 0, -(-300 // cache.part))
        assert len(runs) > 1
        joined = [torch.cat([run[side].transpose(1, 2).flatten(0, 1) for run in runs]) for side in (0, 1)]
        torch.testing.assert_close(joined[0][:300], sign * keys, rtol=0, atol=0)
        torch.testing.assert_close(joined[1][:300], values, rtol=0, atol=0)


def test_only_the_tail_behind_what_all_rows_see_has_a_mask(in_pages, make_frames, monkeypatch):
    """Its size is that of the new tokens, however long the prompt is."""
    model, made = in_pages(), []
    hidden_after = block_attention.hidden_after

    def noted(rows, entries, *arguments):
        made.append(entries - len(rows))
        return hidden_after(rows, entries, *arguments)

    monkeypatch.setattr(block_attention, "hidden_after", noted)
    engine = ActivationEngine(model, CONFIG)
    stream = engine.open_stream("camera")
    watch = stream.watch(QUERIES[0])
    for tick, image in enumerate(make_frames(32, (96, 96))):
        engine.push({stream: (image, float(tick))})
    prefix = watch.passes._active
    assert prefix.length > 10 * prefix._cache.part
    assert made
    assert max(made) < 2 * prefix._cache.part


def test_pages_that_one_watch_gives_back_are_taken_by_the_next(in_pages, make_frames):
    """Whatever the size of its frames; and with the last watch all are gone."""
    model, images = in_pages(), {size: make_frames(9, (size, size)) for size in (32, 64)}
    taken = []
    for size in (64, 32, 64):
        engine = ActivationEngine(model, CONFIG)
        stream = engine.open_stream("camera")
        watches = [stream.watch(query) for query in QUERIES[:2]]
        for tick in range(9):
            engine.push({stream: (images[size][tick], float(tick))})
        stream.unwatch(watches.pop())
        if size == 64:
            taken.append(len(model.pages.slabs))
        late = stream.watch(QUERIES[2])
        for tick in range(9, 18):
            engine.push({stream: (images[size][tick - 9], float(tick))})
        assert late.passes.memory_bytes
        stream.close()
        del late, watches, stream, engine
        gc.collect()
        assert not model.pages.slabs
    assert taken[0] == taken[1] > 1
