"""`stride-ros benchmark --cameras` compares an engine for all cameras with sessions, decision by decision."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from stride_ros.activation.random_model import random_model
from stride_ros.benchmark import cameras, queries, revisions
from stride_ros.benchmark.cameras import BatchedArm, Comparison, InterleavedArm, measure_cameras, ticks_of
from stride_ros.benchmark.measure import QUERIES, Settings
from stride_ros.benchmark.presets import architecture
from stride_ros.cli import main
from stride_ros.training.tokenizer import build_tokenizer

pytestmark = pytest.mark.slow

TINY = ["benchmark", "--window", "4", "--frames", "8", "--tokens", "4", "--ticks", "20"]


@pytest.fixture(scope="module")
def model():
    return random_model(
        architecture("small", 4), build_tokenizer(QUERIES), "small", device="cpu", dtype="float32", threads=1
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The exit code, the JSON and the picture of a small run of two cameras with two queries."""
    folder = tmp_path_factory.mktemp("cameras")
    files = ["--json", str(folder / "b.json"), "--picture", str(folder / "b.png")]
    threads = torch.get_num_threads()
    code = main([*TINY, "--cameras", "2", "--queries", "2", "--device", "cpu", *files])
    torch.set_num_threads(threads)
    return code, json.loads((folder / "b.json").read_text()), folder / "b.png"


def test_the_report_has_the_documented_keys(run):
    code, numbers, _ = run
    assert code == 0
    assert (numbers["cameras"], numbers["queries"], numbers["threads"]) == (2, 2, 1)
    assert (numbers["rounds"], numbers["ticks"]) == (
        3,
        8,
    )  # whole rounds, at least as many ticks as asked for
    for name in ("batched", "interleaved"):
        arm = numbers[name]
        assert len(arm["rounds_cpu_ms"]) == len(arm["rounds_wall_ms"]) == 3
        assert arm["ticks_per_second"] == pytest.approx(1e3 / arm["wall_ms"])
        assert arm["passes"] >= 1
        assert 0 < arm["state_bytes"] < numbers["peak_memory_bytes"]
    for kind in ("cpu", "wall"):
        ratio = numbers["interleaved"][f"{kind}_ms"] / numbers["batched"][f"{kind}_ms"]
        assert numbers[f"{kind}_ratio"] == pytest.approx(ratio)
    assert len(numbers["cpu_ratios"]) == 3


def test_every_decision_of_every_camera_and_query_is_compared(run):
    _, numbers, _ = run
    assert numbers["labels_equal"] is True
    assert numbers["labels_differ"] == 0
    if not numbers["near_ties"]:
        assert numbers["decisions"] == 2 * 2 * (4 + 3 * 8)  # cameras, queries, ticks


def test_the_picture_is_drawn(run):
    assert run[2].read_bytes().startswith(b"\x89PNG")


def test_the_table_names_both_ways_and_the_ratio(capsys):
    options = [*TINY[:-1], "2", "--cameras", "1", "--threads", "1", "--device", "cpu"]
    assert main(options) == 0
    printed = capsys.readouterr().out
    assert "1 camera with 1 query each" in printed
    assert "one engine, batched" in printed
    assert "1 session " in printed
    assert "times less CPU" in printed
    assert "labels equal: yes" in printed


def test_both_ways_are_shown_the_same_frames_in_turns_that_swap(model, monkeypatch):
    """Each arm gets every frame once, in order; who is first in a round changes with each round."""
    shown: list[tuple[str, float, bytes]] = []

    def noting(arm):
        class Noting(arm):
            def tick(self, frames, time):
                shown.append((arm.__name__, time, b"".join(frame[:2].tobytes() for frame in frames)))
                return super().tick(frames, time)

        return Noting

    monkeypatch.setattr(cameras, "BatchedArm", noting(BatchedArm))
    monkeypatch.setattr(cameras, "InterleavedArm", noting(InterleavedArm))
    settings = Settings(frames=4, drop=2, tokens=4, ticks=16, queries=1)
    steps = []
    measure_cameras(model, settings, 2, lambda: steps.append(1))
    assert len(steps) == ticks_of(settings)
    by_arm = {
        name: [(time, pixels) for arm, time, pixels in shown if arm == name]
        for name in ("BatchedArm", "InterleavedArm")
    }
    assert by_arm["BatchedArm"] == by_arm["InterleavedArm"]
    assert [time for time, _ in by_arm["BatchedArm"]] == [float(i) for i in range(ticks_of(settings))]
    turns = [arm for arm, _, _ in shown[2 * (4 + 4) :]]
    assert turns == ["BatchedArm"] * 8 + ["InterleavedArm"] * 16 + ["BatchedArm"] * 8


def test_labels_that_differ_are_reported(model, monkeypatch):
    class Wrong(InterleavedArm):
        def tick(self, frames, time):
            updates = super().tick(frames, time)
            sure = np.full(model.window, 0.9, np.float32)
            return [
                dataclasses.replace(update, labels=np.uint8(1) - update.labels, probabilities=sure)
                for update in updates
            ]

    monkeypatch.setattr(cameras, "InterleavedArm", Wrong)
    monkeypatch.setattr(cameras, "NEAR", 0.0)
    numbers = measure_cameras(model, Settings(frames=4, drop=2, tokens=4, ticks=2), 1, lambda: None)
    assert numbers["labels_differ"] == numbers["decisions"] > 0
    assert numbers["labels_equal"] is False


@pytest.fixture(scope="module")
def update(model):
    """Any decision, to make others of."""
    arm = BatchedArm(model, Settings(frames=4, drop=2, tokens=4).config(), 1, 1)
    image = np.zeros((64, 64, 3), np.uint8)
    return [arm.tick([image], float(index)) for index in range(6)][-1][0]


def test_a_near_tie_is_counted_and_ends_the_comparison_of_its_watch_alone(update):
    def decision(labels, probabilities):
        return dataclasses.replace(
            update, labels=np.uint8(labels), probabilities=np.array(probabilities, np.float32)
        )

    same, other = decision([0, 1], [0.1, 0.9]), decision([1, 1], [0.9, 0.9])
    tie = decision([1, 1], [0.50004, 0.9])
    compared = Comparison()
    compared.add([same, same], [tie, same])  # the first watch goes on with other labels by rounding
    compared.add([same, same], [other, same])
    assert (compared.decisions, compared.ties, compared.differ) == (3, 1, 0)
    compared.add([same, same], [same, other])
    assert (compared.decisions, compared.ties, compared.differ) == (4, 1, 1)


def test_shares_by_count_grow_by_the_work_of_a_query(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["queries", "--count", "--preset", "2b", "--frames", "128"])
    queries.main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["1", "2", "4", "9"]
    for row in rows:
        vision, append, passes = (float(cell.removesuffix(" %")) for cell in row[1:4])
        assert vision + append + passes == pytest.approx(100, abs=2)  # rounded
        two, four, eight = map(float, row[4:])
        assert two - 1 == pytest.approx(1 - vision / 100, abs=0.01)  # vision runs once
        assert (four - 1, eight - 1) == pytest.approx((3 * (two - 1), 7 * (two - 1)), abs=0.05)


def test_a_folder_that_is_no_checkout_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.argv", ["revisions", str(tmp_path)])
    with pytest.raises(SystemExit) as raised:
        revisions.main()
    assert raised.value.code == 2
    assert f"{tmp_path} is not a checkout" in capsys.readouterr().err


def test_processes_of_two_checkouts_take_turns_and_agree(monkeypatch, capsys):
    """The other checkout is this one again: each way has its row, and no decision differs."""
    turns = ["--fill", "4", "--rounds", "1", "--ticks", "2", "--cameras", "2"]
    monkeypatch.setattr("sys.argv", ["revisions", str(revisions.ROOT), *turns])
    assert revisions.main() == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:6]]
    assert [row[2] for row in rows] == ["batched", "sessions", "sessions before", "separate processes"]
    assert {row[-1] for row in rows} == {"0 of 12"}  # two cameras, six ticks
    resident = [int(row[6]) for row in rows]
    assert resident[3] > resident[0]  # two processes hold the libraries and weights twice
