"""`stride-ros benchmark` compares the engines on the same decisions and writes what it found."""

import json

import numpy as np
import pytest
import torch

from stride_ros.benchmark.measure import WARM_UP, Settings, measure, typical_ticks
from stride_ros.cli import main

pytestmark = pytest.mark.slow

TINY = ["benchmark", "--window", "4", "--frames", "8", "--tokens", "4", "--ticks", "6", "--threads", "1"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The JSON and the picture of a small run with two queries."""
    folder = tmp_path_factory.mktemp("benchmark")
    files = ["--json", str(folder / "b.json"), "--picture", str(folder / "b.png")]
    threads = torch.get_num_threads()
    assert main([*TINY, "--queries", "2", "--reference-ticks", "2", *files]) == 0
    torch.set_num_threads(threads)
    return json.loads((folder / "b.json").read_text()), folder / "b.png"


def test_the_report_has_the_documented_keys(report):
    numbers, _ = report
    for name in ("rebuild", "recompute"):
        ratio = numbers[f"{name}_tick_ms"] / numbers["tick_ms"]
        assert numbers[f"speedup_vs_{name}"] == pytest.approx(ratio)
        assert numbers[f"{name}_labels_equal"] is True
        assert numbers[f"{name}_largest_difference"] < 1e-4
    assert numbers["labels_equal"] is True
    assert len(numbers["ticks_ms"]) == 6
    assert set(numbers["parts_ms"]) == {"preprocess", "vision", "append", "denoise", "host"}
    assert numbers["tick_ms"] <= numbers["tick_p95_ms"] <= numbers["tick_worst_ms"]
    assert 0 < numbers["state_bytes"] < numbers["peak_memory_bytes"]
    assert (numbers["window"], numbers["settings"]["queries"]) == (4, 2)
    assert (numbers["cuda_graphs"] > 0) is torch.cuda.is_available()


def test_the_picture_is_drawn(report):
    assert report[1].read_bytes().startswith(b"\x89PNG")


def test_references_can_be_left_out(capsys):
    assert main([*TINY, "--reference-ticks", "0", "--fresh", "--no-cuda-graphs"]) == 0
    printed = capsys.readouterr().out
    assert "engine" in printed
    assert "CUDA graphs: none" in printed
    assert "rebuild" not in printed


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--queries", "99"], "--queries"),
        (["--cameras", "0"], "--cameras is 0; use at least 1"),
        (["--cameras", "2", "--queries", "0"], "--queries"),
        (["--cameras", "2", "--responder", "echo"], "--responder"),
        (["--window", "0"], "--window"),
        (["--frames", "1"], "max_frames"),
        (["--json", "/nowhere/b.json"], "/nowhere"),
        (["--dtype", "int3"], "dtype"),
        (["--model", "/nowhere/model"], "/nowhere/model"),
    ],
)
def test_bad_options_are_named_and_end_with_2(options, reason, capsys):
    assert main(["benchmark", *options]) == 2
    assert reason in capsys.readouterr().err


def test_the_compared_ticks_have_the_usual_passes_and_both_kinds_of_pair():
    class Recorded:
        passes = [9] * WARM_UP + [2, 3, 3, 9, 3, 3, 3]

    ticks = typical_ticks(Recorded(), 4)
    assert [Recorded.passes[tick] for tick in ticks] == [3, 3, 3, 3]
    assert {tick % 2 for tick in ticks} == {0, 1}


def test_labels_that_differ_are_reported(make_wrong_engine):
    model, settings = make_wrong_engine
    assert measure(model, settings, lambda: None)["labels_equal"] is False


@pytest.fixture
def make_wrong_engine(monkeypatch):
    """A model and settings whose recomputation answers the opposite."""
    from stride_ros.activation.random_model import random_model
    from stride_ros.activation.reference import RecomputedPrompt
    from stride_ros.benchmark.measure import QUERIES, REFERENCES
    from stride_ros.benchmark.presets import architecture
    from stride_ros.training.tokenizer import build_tokenizer

    class Wrong(RecomputedPrompt):
        def answer(self, values):
            return (1 - super().answer(values)).astype(np.float32)

    monkeypatch.setitem(REFERENCES, "recompute", Wrong)
    model = random_model(architecture("small", 4), build_tokenizer(QUERIES), "small", device="cpu")
    return model, Settings(frames=4, drop=2, tokens=4, ticks=3)
