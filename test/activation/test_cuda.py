"""On a GPU: replayed CUDA graphs decide as ordinary passes do, stay few, and fail without harm."""

import dataclasses
import gc

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.recorder import CudaRecorder
from stride_ros.qwen3_vl.architecture import TextShape
from stride_ros.qwen3_vl.page_attention import page_attention
from stride_ros.qwen3_vl.paged_cache import PagePool

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="PyTorch sees no CUDA device, and CUDA graphs need one"
)

QUERIES = ("Tell me when a person is in view.", "A red ball is on the table.")
CONFIG = ActivationConfig(max_frames=32, drop_frames=8, unmasking_steps=3)


@pytest.fixture
def load(make_model):
    """A function that puts a small random model on the GPU."""

    def load(dtype="float32", **options) -> ActivationModel:
        return ActivationModel.load(make_model(window=8, **options).name, device="cuda", dtype=dtype)

    return load


class OneStream:
    """Several queries on one stream of an engine. Its recordings are those of all streams of the model."""

    def __init__(self, model, queries, config):
        self.prompts = []
        self.engine = ActivationEngine(model, config, prompts=self._prompt)
        self.stream = self.engine.open_stream("camera")
        for query in queries:
            self.stream.watch(query)

    def _prompt(self, *arguments):
        self.prompts.append(CachedPrompt(*arguments))
        return self.prompts[-1]

    @property
    def recordings(self):
        """How many there are, 0 where none are used."""
        recordings = self.prompts[0].recordings
        return recordings.count if recordings is not None else 0

    def push(self, frame, time):
        return self.engine.push({self.stream: (frame, time)})


def open_stream(model, config=CONFIG, queries=QUERIES):
    """A stream, twice: to push frames to, and to ask for its recordings."""
    stream = OneStream(model, queries, config)
    return stream, stream


def assert_equal_decisions(left, right, images):
    for index, image in enumerate(images):
        updates = zip(left.push(image, float(index)), right.push(image, float(index)), strict=True)
        for ours, theirs in updates:
            np.testing.assert_array_equal(ours.labels, theirs.labels)
            np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-3, rtol=0)


@pytest.mark.parametrize("single_sequence", [False, True])
@pytest.mark.parametrize("scheme", ["mrope", "flat"])
def test_replays_decide_as_ordinary_passes(load, make_frames, scheme, single_sequence):
    config = dataclasses.replace(CONFIG, position_scheme=scheme)
    model = load(single_sequence=single_sequence, seed=3)
    recorded, engine = open_stream(model, config)
    ordinary, without = open_stream(model, dataclasses.replace(config, cuda_graphs=False))
    assert_equal_decisions(recorded, ordinary, make_frames(90, (64, 64)))
    assert model.recorder.failure is None
    assert 1 <= engine.recordings <= 2  # for two watches together, and for one
    assert without.recordings == 0


def test_a_gpu_decides_as_a_cpu(load, make_model, make_frames):
    on_gpu, _ = open_stream(load(seed=3))
    on_cpu, _ = open_stream(make_model(window=8, seed=3))
    assert_equal_decisions(on_gpu, on_cpu, make_frames(60, (64, 64)))


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_pages_are_attended_to_by_a_table(head_dim, dtype, plain):
    """Of prompts that are empty, short, and long enough for several parts, in a pool that had to grow."""
    shape = TextShape(8, 8, 8, 2, 16, 8, head_dim, 1e-6, 1e4, (4, 4, 4))
    pool = PagePool(shape, torch.device("cuda"), getattr(torch, dtype))
    lengths = (0, 1, 255, 256, 9000, 17_000)
    caches = [pool.new_cache() for _ in lengths]
    for cache, length in zip(caches, lengths, strict=True):
        cache.hold(length)
    for slab in pool.slabs:
        slab.normal_()
    attend = page_attention(pool, plain)
    assert plain or type(attend).__name__ == "PageKernel", "Triton is not there"
    q = torch.randn(len(lengths), 8, 128, head_dim, device="cuda").to(pool.dtype)
    table = torch.zeros(len(lengths), 70, dtype=torch.int64)
    for row, cache in zip(table, caches, strict=True):
        row[: len(cache.pages)] = torch.from_numpy(attend.entries(cache.pages))
    out, weight = attend(1, q, table.cuda(), torch.tensor(lengths, device="cuda"))
    joined = (out * torch.softmax(weight, 1)[..., None]).sum(1)
    for index, (cache, length) in enumerate(zip(caches, lengths, strict=True)):
        if length:
            keys, values = torch.cat([page.data[1] for page in cache.pages], 2)[:, :, :length].float()
            expected = F.scaled_dot_product_attention(q[index].float(), keys, values)
            tolerance = 1e-3 if dtype == "float32" else 2e-2
            torch.testing.assert_close(joined[index].float(), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_short_numbers_pass_the_check_of_every_graph(load, make_frames, dtype):
    model = load(dtype)
    stream, engine = open_stream(model)
    for index, image in enumerate(make_frames(60, (64, 64))):
        stream.push(image, float(index))
    assert model.recorder.failure is None
    assert engine.recordings


def test_neither_graphs_nor_memory_grow(load, make_frames):
    stream, engine = open_stream(load("bfloat16"))
    images = make_frames(30, (64, 64))
    seen = []
    for index in range(240):
        stream.push(images[index % 30], float(index))
        if index in (120, 232):  # the same point between two shifts
            torch.cuda.synchronize()
            seen.append((engine.recordings, torch.cuda.memory_allocated()))
    (graphs, memory), (graphs_later, memory_later) = seen
    assert graphs_later == graphs
    assert memory_later <= memory + 2**16


def test_caches_that_grow_and_streams_that_begin_anew_are_served(load, make_frames):
    model = load()
    for _ in range(2):
        stream, engine = open_stream(model)
        frames = [*make_frames(20, (32, 32)), *make_frames(40, (96, 96))]
        for index, image in enumerate(frames):
            stream.push(image, float(index))
        assert 0 < engine.recordings <= 4
        del stream, engine
        gc.collect()  # their pages are gone with them
    assert model.recorder.failure is None


def test_a_capture_that_fails_leaves_the_device_in_order():
    recorder = CudaRecorder(torch.device("cuda", torch.cuda.current_device()))
    x = torch.ones(4, device="cuda")
    before = torch.cuda.current_stream()
    with pytest.raises(RuntimeError):
        recorder.record(lambda: x.add_(x.sum().item()))  # waits for the device, which a graph cannot
    assert torch.cuda.current_stream() == before
    y = torch.zeros(4, device="cuda")
    y += 2
    assert y.tolist() == [2.0] * 4
    assert torch.rand(4, device="cuda").std() > 0  # others in the process may draw random numbers


def test_a_graph_reads_what_its_inputs_hold_when_it_is_replayed():
    recorder = CudaRecorder(torch.device("cuda", torch.cuda.current_device()))
    x, out = torch.zeros(4, device="cuda"), torch.zeros(4, device="cuda")
    replays = [recorder.record(lambda factor=factor: out.copy_(x * factor + 1)) for factor in (2, 3)]
    for value in (1.0, 5.0):
        x.fill_(value)
        for factor, replay in zip((2, 3), replays, strict=True):
            replay()
            assert out.tolist() == [value * factor + 1] * 4


def test_a_capture_leaves_the_memory_that_pytorch_keeps():
    recorder = CudaRecorder(torch.device("cuda", torch.cuda.current_device()))
    x = torch.ones(4, device="cuda")
    kept = torch.empty(2**26, device="cuda", dtype=torch.uint8)
    del kept
    before = torch.cuda.memory_reserved()
    recorder.record(lambda: x.add_(1))
    assert torch.cuda.memory_reserved() >= before
