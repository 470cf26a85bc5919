"""Recorded slot passes: few of them, checked before use, and given up when something is wrong with them.

What records is replaced by something that runs the work again; test_cuda.py has the real one.
"""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stride_ros.activation import fixed_pass
from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import SlotPass
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.fixed_pass import attend_in_parts
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.passes import FramePair
from stride_ros.qwen3_vl.kv_cache import PARTS

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


def test_recordings_are_few_and_made_one_at_a_time(watch, make_frames, rerun):
    counts = watch(rerun, make_frames(120, (64, 64)))
    assert max(np.diff([0, *counts])) == 1  # no tick waits for two
    assert PARTS // 2 < counts[31] <= PARTS  # those of the first context
    assert counts[31] < counts[40] <= 2 * PARTS  # those of the other cache
    assert counts[-1] == counts[40]  # and later shifts swap between what there is


def test_each_watch_has_its_recordings(watch, make_frames, rerun):
    counts = watch(rerun, make_frames(50, (64, 64)), queries=QUERIES)
    assert counts[-1] <= 2 * PARTS * len(QUERIES)


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
        return prompt.answer(None if block is None else prompt.replay(block))

    masked = SlotPass(np.full(8, 2, dtype=np.uint8), 8)
    first = answer(masked)
    replayed = rerun.replayed
    np.testing.assert_array_equal(answer(masked), first)
    assert rerun.replayed == replayed
    answer(SlotPass(np.zeros(8, dtype=np.uint8), 8))
    assert rerun.replayed == replayed + 1


def test_a_cache_that_grows_is_recorded_anew(watch, make_frames, rerun):
    small, large = make_frames(20, (32, 32)), make_frames(50, (96, 96))
    before = watch(rerun, small)[-1]
    rerun.recorded = 0
    counts = watch(rerun, [*small, *large])
    assert counts[19] == before
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


def test_a_recording_that_fails_later_ends_all_of_them(watch, make_frames, rerun, caplog):
    class Wearing(type(rerun)):
        def record(self, work):
            if self.recorded == 3:
                raise RuntimeError("out of memory")
            return super().record(work)

    recorder = Wearing()
    watch(recorder, make_frames(20, (64, 64)))
    assert recorder.recorded == 3
    assert len(caplog.records) == 1


def test_without_a_recorder_of_the_device_nothing_is_recorded(make_model, make_frames):
    model = make_model(window=8)
    assert model.recorder is None  # a CPU starts kernels quickly and skips slots that have not changed
    engines = []

    def engine(*arguments):
        engines.append(CachedPrompt(*arguments))
        return engines[-1]

    OneStream(model, QUERIES, CONFIG, engine).push(make_frames(1)[0], 0.0)
    assert engines[0].recordings == 0


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
    ours = attend_in_parts(
        q,
        *(side.view(kv_heads, parts, part, size).transpose(0, 1) for side in (k, v)),
        (hidden * -1e4).repeat(heads // kv_heads, 1),
    )
    theirs = F.scaled_dot_product_attention(q.transpose(0, 1), k, v, ~hidden, enable_gqa=True)
    torch.testing.assert_close(ours, theirs.transpose(0, 1).reshape(n, -1))


def test_the_kernel_for_gpus_takes_what_it_is_given():
    """Shapes only, on PyTorch's device without memory: values are for test_cuda.py."""
    n, heads, kv_heads, size, parts, part = 12, 16, 8, 128, 3, 16
    q = torch.empty(n, heads, size, device="meta", dtype=torch.bfloat16)
    k = torch.empty(parts, kv_heads, part, size, device="meta", dtype=torch.bfloat16)
    mask = torch.empty(heads // kv_heads * n, parts * part, device="meta", dtype=torch.bfloat16)
    out = attend_in_parts(q, k, k, mask)
    assert (out.shape, out.dtype) == ((n, heads * size), torch.bfloat16)
