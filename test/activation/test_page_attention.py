"""Attention to pages by a table: with PyTorch's operators, and by the kernel for GPUs.

Triton's interpreter runs the kernel on a CPU. It has to be chosen before Triton is imported, so the tests of
the kernel are skipped here, and the last one runs them in a process of its own.
"""

import functools
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.qwen3_vl.architecture import TextShape
from stride_ros.qwen3_vl.attention import attend_with_weight
from stride_ros.qwen3_vl.page_attention import GatheredPages
from stride_ros.qwen3_vl.paged_cache import PagePool

LENGTHS = (37, 1, 0, 112, 64)  # of prompts; none, one entry, whole pages
LAYERS, KV_HEADS, SIZE = 3, 2, 24

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="runs in a process of its own, by the last test")

needs_triton = pytest.mark.skipif(
    INTERPRETED or importlib.util.find_spec("triton") is None,
    reason="needs Triton, which comes with PyTorch for CUDA, and no interpreter",
)


def the_kernel(pool):
    from stride_ros.qwen3_vl.page_kernel import PageKernel

    return PageKernel(pool)


@pytest.fixture
def prompts():
    """A pool in several slabs, and caches that took its pages in turns, filled with random numbers."""
    shape = TextShape(
        vocab=8,
        hidden=8,
        intermediate=8,
        layers=LAYERS,
        heads=6,
        kv_heads=KV_HEADS,
        head_dim=SIZE,
        norm_eps=1e-6,
        rope_theta=1e4,
        mrope_section=(4, 4, 4),
    )
    pool = PagePool(shape, torch.device("cpu"), torch.float32)
    pool.entries, pool.slab_pages = 16, 4
    caches = [pool.new_cache() for _ in LENGTHS]
    for tokens in range(1, max(LENGTHS) + 1):
        for cache, length in zip(caches, LENGTHS, strict=True):
            cache.hold(min(tokens, length))
    generator = torch.Generator().manual_seed(0)
    for slab in pool.slabs:
        slab.normal_(generator=generator)
    assert len(pool.slabs) > 2
    return pool, caches


@pytest.mark.parametrize("pages", [7, 12])  # as many as the longest has, or more
@pytest.mark.parametrize("rows", [5, 150])
@pytest.mark.parametrize("way", ["gathered", pytest.param("kernel", marks=interpreted)])
def test_pages_are_attended_to_by_a_table(prompts, way, rows, pages):
    pool, caches = prompts
    attend = the_kernel(pool) if way == "kernel" else GatheredPages(pool)
    generator = torch.Generator().manual_seed(1)
    q = torch.randn(len(caches), KV_HEADS, rows, SIZE, generator=generator)
    table = torch.zeros(len(caches), pages, dtype=torch.int64)
    for row, cache in zip(table, caches, strict=True):
        row[: len(cache.pages)] = torch.from_numpy(attend.entries(cache.pages))
    for layer in range(LAYERS):
        out, weight = attend(layer, q, table, torch.tensor(LENGTHS))
        total = torch.logsumexp(weight, 1)
        joined = (out * torch.softmax(weight, 1)[..., None]).sum(1)
        for index, (cache, length) in enumerate(zip(caches, LENGTHS, strict=True)):
            if not length:
                assert (total[index] < -1e3).all()  # nothing, beside any slot
                continue
            data = torch.cat([page.data[layer] for page in cache.pages], 2)[:, :, :length]
            expected, sums = attend_with_weight(q[index : index + 1], data[:1], data[1:], None)
            torch.testing.assert_close(joined[index], expected[0])
            torch.testing.assert_close(total[index], sums[0])
            plain = F.scaled_dot_product_attention(q[index], data[0], data[1])
            torch.testing.assert_close(joined[index], plain)


@interpreted
@pytest.mark.parametrize("single_sequence", [False, True])
def test_watches_decide_by_the_kernel_as_by_ordinary_passes(
    make_model, make_frames, rerun, monkeypatch, single_sequence
):
    model = make_model(window=8, single_sequence=single_sequence, seed=3)
    pool = PagePool(model.architecture.text, model.device, model.dtype)
    pool.entries, pool.slab_pages = 16, 2
    monkeypatch.setattr(model, "pages", pool)
    monkeypatch.setattr("stride_ros.activation.model.page_attention", the_kernel)
    config = ActivationConfig(max_frames=12, drop_frames=4, unmasking_steps=3)
    engines = [
        ActivationEngine(model, config, prompts=functools.partial(CachedPrompt, recorder=rerun)),
        ActivationEngine(model, config),
    ]
    for engine in engines:
        for name in ("left", "right"):
            engine.open_stream(name).watch("Tell me when a person is in view.")
    for tick, image in enumerate(make_frames(20, (64, 32))):
        shown = 1 + bool(tick % 3)
        ours, theirs = (
            engine.push({stream: (image, float(tick)) for stream in engine.streams[:shown]})
            for engine in engines
        )
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine.labels, other.labels)
            np.testing.assert_allclose(mine.probabilities, other.probabilities, atol=1e-4, rtol=0)
    assert rerun.failure is None
    assert rerun.replayed > 40
    assert rerun.recorded <= 4


@pytest.mark.slow
@needs_triton
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("architecture", [87, 90])  # Orin and H100
def test_the_kernel_is_compiled_for_gpus(dtype, architecture, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from stride_ros.qwen3_vl import page_kernel

    rows, columns = page_kernel._BLOCKS[4 if dtype == "fp32" else 2]
    arguments = dict.fromkeys(page_kernel._attend.arg_names, "i32")
    arguments |= {"q": f"*{dtype}", "out": "*fp32", "weight": "*fp32", "table": "*i64", "lengths": "*i64"}
    sizes = {"ENTRIES": 256, "SIZE": 128, "PADDED": 128, "ROWS": rows, "COLUMNS": columns}
    arguments |= {"scale": "fp32", **dict.fromkeys(sizes, "constexpr")}
    source = ASTSource(fn=page_kernel._attend, signature=arguments, constexprs=sizes)
    compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
    assert compiled.asm["cubin"]
    assert compiled.metadata.shared < 99 * 1024


def version(package):
    return tuple(int(part) for part in importlib.metadata.version(package).split(".")[:2])


@pytest.mark.slow
@needs_triton
def test_triton_s_interpreter_runs_the_kernel():
    if version("triton") < (3, 9) and version("numpy") >= (2, 4):
        pytest.skip("the interpreter of an older Triton fails with NumPy 2.4")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 skipped" in done.stdout  # those that need no interpreter
