"""Recorded slot passes: few of them, checked before use, and given up when something is wrong with them.

What records is replaced by something that runs the work again; test_cuda.py has the real one.
"""

import dataclasses
import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stride_ros.activation import fixed_pass, graphs
from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import SlotPass, reveal
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.fixed_pass import SlotRows
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.passes import FramePair
from stride_ros.activation.window import MASKED
from stride_ros.qwen3_vl.attention import attend_to_stretches
from stride_ros.qwen3_vl.page_attention import GatheredPages
from stride_ros.qwen3_vl.paged_cache import PagePool

pytestmark = pytest.mark.slow

QUERIES = ("Tell me when a person is in view.", "A red ball is on the table.")
CONFIG = ActivationConfig(max_frames=32, drop_frames=8, unmasking_steps=3)


class OneStream:
    """Several queries on one stream of an engine."""

    def __init__(self, model, queries, config, prompts=CachedPrompt):
        self.engine = ActivationEngine(model, config, prompts=prompts)
        self.stream = self.engine.open_stream("camera")
        for query in queries:
            self.stream.watch(query)

    def push(self, frame, time):
        return self.engine.push({self.stream: (frame, time)})


@pytest.fixture
def watch(make_model, make_frames):
    """A function that runs a stream with a recorder and one without, and requires equal decisions.

    Returns how many recordings there were after each of the frames.
    """

    def run(recorder, frames, config=CONFIG, queries=QUERIES[:1], count=None):
        model = make_model(window=8)
        engine = functools.partial(CachedPrompt, recorder=recorder)
        recorded = OneStream(model, queries, config, engine)
        ordinary = OneStream(model, queries, config)
        counts = []
        for index, image in enumerate(frames):
            pairs = zip(recorded.push(image, float(index)), ordinary.push(image, float(index)), strict=True)
            for ours, theirs in pairs:
                np.testing.assert_array_equal(ours.labels, theirs.labels)
                np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4, rtol=0)
            counts.append(getattr(recorder, "recorded", 0))
        return counts

    return run


@pytest.fixture
def small_pages(make_model, monkeypatch):
    """The model, whose pages are so small that prompts of a few frames have several."""
    model = make_model(window=8)
    pool = PagePool(model.architecture.text, model.device, model.dtype)
    pool.entries, pool.slab_pages = 16, 8
    monkeypatch.setattr(model, "pages", pool)
    return model


def test_one_recording_serves_a_watch_from_its_first_frame_on(watch, make_frames, rerun):
    assert watch(rerun, make_frames(120, (64, 64))) == [1] * 120


def test_recordings_that_read_the_pool_are_made_anew_while_it_grows(small_pages, watch, make_frames, rerun):
    counts = watch(rerun, make_frames(120, (64, 64)))
    assert max(np.diff([0, *counts])) == 1  # no tick waits for two
    assert 1 < counts[40] == counts[-1]  # shifts swap between what there is


def test_watches_of_all_cameras_share_recordings_and_passes(make_model, make_frames, rerun, monkeypatch):
    """What comes and goes is served by what there is, and decides as without recordings."""
    model, images = make_model(window=8, seed=3), make_frames(30, (64, 64))
    pool = PagePool(model.architecture.text, model.device, model.dtype)
    pool.slab_pages = 64  # it need not grow
    monkeypatch.setattr(model, "pages", pool)
    config = ActivationConfig(max_frames=16, drop_frames=4, unmasking_steps=3, margin_seconds=1e9)
    recorded = ActivationEngine(model, config, prompts=functools.partial(CachedPrompt, recorder=rerun))
    ordinary = ActivationEngine(model, config)
    rng, watches, counts = np.random.default_rng(6), {}, []
    for engine in (recorded, ordinary):
        for name in ("front", "left", "right"):
            engine.open_stream(name).watch(QUERIES[0])
    for tick in range(160):
        cycle = tick % 40
        if cycle in (4, 8, 12, 20):  # one more on some camera, for some frames
            watches[cycle] = [
                (stream, stream.watch(QUERIES[1]))
                for stream in (engine.streams[cycle % 3] for engine in (recorded, ordinary))
            ]
        if cycle in (16, 24, 30, 34):
            for stream, gone in watches.pop(min(watches)):
                stream.unwatch(gone)
        shown = sorted(rng.permutation(3)[: 3 if cycle < 30 else 1])
        ours, theirs = (
            engine.push({engine.streams[i]: (images[(tick + 7 * i) % 30], float(tick)) for i in shown})
            for engine in (recorded, ordinary)
        )
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine.labels, other.labels)
            np.testing.assert_allclose(mine.probabilities, other.probabilities, atol=1e-4, rtol=0)
        counts.append(rerun.recorded)
    assert rerun.failure is None
    assert counts[-1] == counts[39]  # the first time round shows how many watches there are at most
    assert counts[-1] <= 4  # for 1, 2, 4 and 8 watches


def test_the_host_waits_twice_for_a_decision_of_all_watches(make_model, make_frames, rerun, host_reads):
    """For the baseline, then for all steps."""
    model, images = make_model(window=8, seed=3), make_frames(30, (64, 64))
    config = ActivationConfig(max_frames=16, drop_frames=4, unmasking_steps=8, margin_seconds=1e9)
    engine = ActivationEngine(model, config, prompts=functools.partial(CachedPrompt, recorder=rerun))
    streams = [engine.open_stream(name) for name in ("front", "left")]
    for stream in streams:
        for query in QUERIES:
            stream.watch(query)
    passes, waits = [], []
    for tick in range(40):
        recorded, before = rerun.recorded, host_reads.count
        given = {stream: (images[(tick + 7 * i) % 30], float(tick)) for i, stream in enumerate(streams)}
        with host_reads:
            updates = engine.push(given)
        if rerun.recorded == recorded:  # without the checks of a new one
            passes.append(max(update.steps for update in updates))
            waits.append(host_reads.count - before)
    assert len(waits) > 30
    assert max(passes) > 4
    assert max(waits) == 2


def test_what_is_drawn_is_asked_for_pass_by_pass(watch, make_frames, rerun):
    watch(rerun, make_frames(20, (64, 64)), dataclasses.replace(CONFIG, selection="pool"))
    assert rerun.replayed > 40


def test_more_watches_than_a_recording_takes_are_served(make_model, make_frames, rerun, monkeypatch):
    monkeypatch.setattr(graphs, "_MOST_WATCHES", 2)
    model = make_model(window=8)
    queries = [f"{QUERIES[0]} {number}" for number in range(5)]
    recorded = OneStream(model, queries, CONFIG, functools.partial(CachedPrompt, recorder=rerun))
    ordinary = OneStream(model, queries, CONFIG)
    for index, image in enumerate(make_frames(8, (64, 64))):
        ours, theirs = (stream.push(image, float(index)) for stream in (recorded, ordinary))
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine.labels, other.labels)
    assert rerun.failure is None
    assert rerun.recorded == 2


def test_equal_slots_are_unmasked_as_on_the_host(make_model, rerun):
    """Ties go to the earlier slot, and only masked slots count."""
    model = make_model(window=8)
    model.recorded_passes(rerun)
    fixed = model.recorded_passes(rerun)._make_fixed(3, 1)
    generator = np.random.default_rng(0)
    for _ in range(50):
        labels = generator.integers(0, 3, (3, 8)).astype(np.uint8)
        labels[:, 0] = MASKED
        probabilities = generator.choice([0.1, 0.4, 0.5, 0.6, 0.9], (3, 8)).astype(np.float32)
        budgets = [int(generator.integers(0, 1 + (row == MASKED).sum())) for row in labels]
        found = torch.from_numpy(labels.astype(np.int64))
        fixed._unmask(found, torch.from_numpy(probabilities), torch.tensor(budgets))
        for row, answers, budget in zip(labels, probabilities, budgets, strict=True):
            reveal(row, np.zeros(8, np.float32), answers, budget)
        np.testing.assert_array_equal(found.numpy(), labels)


def test_a_pass_in_which_nothing_changes_is_not_replayed(make_model, make_frames, rerun):
    model, images = make_model(window=8), make_frames(2)
    context = Context(4, 2)
    prompt = CachedPrompt(model, QUERIES[0], CONFIG, context, recorder=rerun)
    for time in (0.0, 1.0):
        context.add(time)
    features = model.encode([(images[0], images[1])])[0]
    model.append(prompt.advance(FramePair((images[0], images[1]), (0.0, 1.0), features=features)))

    def answer(request):
        block = prompt.ask(request)
        if block is None:
            return prompt.answer(None)
        (answers,) = prompt.recordings.run([SlotRows(block, request.labels)])
        return prompt.answer(answers[0])

    masked = SlotPass(np.full(8, 2, dtype=np.uint8), 8)
    first = answer(masked)
    replayed = rerun.replayed
    np.testing.assert_array_equal(answer(masked), first)
    assert rerun.replayed == replayed
    answer(SlotPass(np.zeros(8, dtype=np.uint8), 8))
    assert rerun.replayed == replayed + 1


def test_a_cache_that_grows_is_recorded_anew(small_pages, watch, make_frames, rerun):
    small, large = make_frames(20, (32, 32)), make_frames(50, (96, 96))
    before = watch(rerun, small)[-1]
    rerun.recorded = 0
    counts = watch(rerun, [*small, *large])
    assert counts[-1] > before


def test_memory_that_was_never_written_does_no_harm(watch, make_frames, rerun):
    torch.use_deterministic_algorithms(True)  # PyTorch then fills new memory with NaN
    try:
        watch(rerun, make_frames(20, (64, 64)))
    finally:
        torch.use_deterministic_algorithms(False)
    assert rerun.failure is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rounding_is_not_taken_for_a_failure(make_model, make_frames, rerun, dtype):
    model = ActivationModel.load(make_model(window=8).name, device="cpu", dtype=dtype)
    engine = functools.partial(CachedPrompt, recorder=rerun)
    stream = OneStream(model, QUERIES, CONFIG, engine)
    for index, image in enumerate(make_frames(40, (64, 64))):
        stream.push(image, float(index))
    assert rerun.failure is None


class CannotCapture:
    failure = None
    tried = 0

    def record(self, work):
        self.tried += 1
        work()
        raise RuntimeError("operation not permitted when stream is capturing\nand many more lines")


class DoesNothing:
    """A graph that was captured and has no effect."""

    failure = None
    tried = 0

    def record(self, work):
        self.tried += 1
        work()
        return lambda: None


@pytest.mark.parametrize(
    ("broken", "reason"), [(CannotCapture, "not permitted"), (DoesNothing, "off by nan")]
)
def test_what_cannot_be_recorded_runs_as_ever_after_one_warning(watch, make_frames, caplog, broken, reason):
    recorder = broken()
    watch(recorder, make_frames(12, (64, 64)), queries=QUERIES)
    watch(recorder, make_frames(12, (64, 64)))  # the next stream does not try again
    assert recorder.tried == 1
    (record,) = caplog.records
    assert "CUDA graphs are not used" in record.message
    assert reason in record.message
    assert "\n" not in record.message


def test_recorded_passes_that_answer_something_else_are_not_used(
    watch, make_frames, rerun, caplog, monkeypatch
):
    monkeypatch.setattr(fixed_pass, "_HIDDEN", 0.0)  # slots see what comes after them
    watch(rerun, make_frames(12, (64, 64)))
    assert rerun.recorded == 1
    assert "off by 0." in caplog.text


def test_appends_attend_to_pages_as_recordings_do_once_these_were_checked(
    small_pages, watch, make_frames, rerun, monkeypatch
):
    watch(rerun, make_frames(4, (64, 64)))
    assert small_pages.pages.attention is None  # it copies pages
    monkeypatch.setattr(GatheredPages, "copies", False)
    watch(rerun, make_frames(40, (64, 64)))
    assert isinstance(small_pages.pages.attention, GatheredPages)
    rerun.failure = "out of memory"
    watch(rerun, make_frames(4, (64, 64)))


def test_attention_that_fails_in_longer_prompts_is_found_and_not_used(
    small_pages, make_frames, rerun, caplog, monkeypatch
):
    attend = GatheredPages.__call__

    def fails(self, layer, q, table, lengths):
        out, weight = attend(self, layer, q, table, lengths)
        return torch.where((lengths > 100)[:, None, None, None, None], -out, out), weight

    monkeypatch.setattr(GatheredPages, "__call__", fails)
    monkeypatch.setattr(GatheredPages, "copies", False)
    stream = OneStream(small_pages, QUERIES[:1], CONFIG, functools.partial(CachedPrompt, recorder=rerun))
    for index, image in enumerate(make_frames(30, (64, 64))):
        stream.push(image, float(index))
        if index == 4:
            assert rerun.failure is None
    assert "was off by" in rerun.failure
    assert small_pages.pages.attention is None
    assert len(caplog.records) == 1


def test_a_recording_that_fails_later_ends_all_of_them(watch, make_frames, rerun, caplog):
    class Wearing(type(rerun)):
        def record(self, work):
            if self.recorded == 1:
                raise RuntimeError("out of memory")
            return super().record(work)

    recorder = Wearing()
    watch(recorder, make_frames(20, (64, 64)))
    watch(recorder, make_frames(20, (64, 64)), queries=QUERIES)
    assert recorder.recorded == 1
    assert len(caplog.records) == 1


def test_without_a_recorder_of_the_device_nothing_is_recorded(make_model, make_frames):
    model = make_model(window=8)
    assert model.recorder is None  # a CPU starts kernels quickly and skips slots that have not changed
    engines = []

    def engine(*arguments):
        engines.append(CachedPrompt(*arguments))
        return engines[-1]

    OneStream(model, QUERIES, CONFIG, engine).push(make_frames(1)[0], 0.0)
    assert engines[0].recordings is None


def test_graphs_can_be_switched_off(make_model, make_frames, rerun, monkeypatch):
    model = make_model(window=8)
    monkeypatch.setattr(model, "recorder", rerun)
    for wanted in (False, True):
        config = ActivationConfig(cuda_graphs=wanted)
        OneStream(model, QUERIES, config).push(make_frames(1)[0], 0.0)
        assert (rerun.recorded > 0) is wanted


@pytest.mark.parametrize("parts", [1, 3])
def test_attention_in_parts_is_attention(parts):
    generator = torch.Generator().manual_seed(0)
    n, heads, kv_heads, size, part = 5, 6, 2, 8, 16
    q = torch.randn(n, heads, size, generator=generator)
    k, v = torch.randn(2, kv_heads, parts * part, size, generator=generator)
    hidden = torch.arange(parts * part) > torch.arange(n)[:, None] + 2  # the last parts wholly
    keys, values = (side.view(kv_heads, parts, part, size).transpose(0, 1) for side in (k, v))
    ours = attend_to_stretches(q, [(keys, values, (hidden * -1e4).repeat(heads // kv_heads, 1))])
    theirs = F.scaled_dot_product_attention(q.transpose(0, 1), k, v, ~hidden, enable_gqa=True)
    torch.testing.assert_close(ours, theirs.transpose(0, 1).reshape(n, -1))


def test_the_kernel_for_gpus_takes_what_it_is_given():
    """Shapes only, on PyTorch's device without memory: values are for test_cuda.py."""
    n, heads, kv_heads, size, parts, part = 12, 16, 8, 128, 3, 16
    q = torch.empty(n, heads, size, device="meta", dtype=torch.bfloat16)
    k = torch.empty(parts, kv_heads, part, size, device="meta", dtype=torch.bfloat16)
    mask = torch.empty(heads // kv_heads * n, parts * part, device="meta", dtype=torch.bfloat16)
    out = attend_to_stretches(q, [(k, k, mask), (k, k, None)])
    assert (out.shape, out.dtype) == ((n, heads * size), torch.bfloat16)
