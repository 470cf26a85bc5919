"""Frame pairs that are encoded by recordings: the same features, few recordings, given up when one is wrong.

What records is replaced by something that runs the work again; test_cuda.py has the real one.
"""

import dataclasses

import numpy as np
import pytest
import torch

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.qwen3_vl.paged_cache import PagePool

pytestmark = pytest.mark.slow


@pytest.fixture
def assert_equal_features(make_model, make_frames):
    """A function that encodes so many random pairs of a size with a recorder and without."""

    def check(recorder, count, size):
        model, images = make_model(window=8), make_frames(2 * count, size, seed=count)
        pairs = [(images[i], images[i + 1]) for i in range(0, 2 * count, 2)]
        ours = model.recorded_vision(recorder).encode(pairs)
        for mine, other in zip(ours, model.encode(pairs), strict=True):
            assert (mine.rows, mine.columns) == (other.rows, other.columns)
            torch.testing.assert_close(mine.all, other.all, atol=1e-5, rtol=1e-5)
        return ours

    return check


def test_recorded_pairs_have_the_features_of_ordinary_ones(assert_equal_features, rerun):
    for _ in range(2):
        for size in ((64, 64), (32, 96)):
            for count in (1, 2, 3, 4, 8):
                assert_equal_features(rerun, count, size)
    assert rerun.failure is None
    assert rerun.recorded == 2 * 4  # 3 pairs use what 4 have
    assert rerun.replayed == 2 * 10


def test_features_stay_what_they_were_when_more_is_encoded(assert_equal_features, rerun):
    (first,) = assert_equal_features(rerun, 1, (64, 64))
    (second,) = assert_equal_features(rerun, 1, (64, 64))
    kept = second.tokens.clone()
    model_free = assert_equal_features(rerun, 2, (64, 64))
    assert_equal_features(rerun, 1, (64, 64))
    torch.testing.assert_close(second.tokens, kept, rtol=0, atol=0)
    torch.testing.assert_close(first.tokens, second.tokens, rtol=0, atol=1e-5)
    assert len(model_free) == 2


def test_recordings_are_few_whatever_the_sizes(assert_equal_features, rerun):
    for width in range(1, 12):
        assert_equal_features(rerun, 1, (32, 32 * width))
    assert_equal_features(rerun, 9, (32, 32))  # more than a recording takes
    assert rerun.recorded == 8


class DoesNothing:
    """A graph that was captured and has no effect."""

    failure = None

    def record(self, work):
        work()
        return lambda: None


class CannotCapture:
    failure = None

    def record(self, work):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


@pytest.mark.parametrize(("broken", "told"), [(DoesNothing, "was off by"), (CannotCapture, "not permitted")])
def test_what_is_wrong_with_a_recording_ends_all_after_one_warning(
    assert_equal_features, caplog, broken, told
):
    recorder = broken()
    for _ in range(3):
        assert_equal_features(recorder, 2, (64, 64))
    (record,) = caplog.records
    assert "CUDA graphs are not used" in record.message
    assert told in record.message
    assert "\n" not in record.message


def test_cameras_decide_on_recorded_features_as_on_ordinary_ones(make_model, make_frames, rerun, monkeypatch):
    model = make_model(window=8, seed=3)
    monkeypatch.setattr(model, "recorder", rerun)
    pool = PagePool(model.architecture.text, model.device, model.dtype)
    pool.slab_pages = 64  # it need not grow
    monkeypatch.setattr(model, "pages", pool)
    config = ActivationConfig(max_frames=12, drop_frames=4, unmasking_steps=3)
    engines = [
        ActivationEngine(model, config),
        ActivationEngine(model, dataclasses.replace(config, cuda_graphs=False)),
    ]
    sizes = {"front": (64, 64), "left": (64, 64), "right": (32, 96)}
    images = {name: make_frames(30, size, seed=len(name)) for name, size in sizes.items()}
    for engine in engines:
        for name in sizes:
            engine.open_stream(name).watch("Tell me when a person is in view.")
    recorded = []
    for tick in range(40):
        ours, theirs = (
            engine.push({stream: (images[stream.name][tick % 30], float(tick)) for stream in engine.streams})
            for engine in engines
        )
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine.labels, other.labels)
            np.testing.assert_allclose(mine.probabilities, other.probabilities, atol=1e-4, rtol=0)
        recorded.append(rerun.recorded)
    assert rerun.failure is None
    assert len(model.recorded_vision(rerun)._recordings) == 2  # two cameras have one size
    assert recorded[-1] == recorded[20] <= 2 + 3  # passes of 1, 2 and 4 watches
