"""Timing the responder node: the numbers add up and the command writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stride_ros.cli import main

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")
pytest.importorskip("stride_ros.msg", reason="the package is not built: run `make test` once")

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint_dup"


@pytest.fixture
def alone(monkeypatch):
    """The benchmark's nodes talk on this machine only."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("ROS_LOCALHOST_ONLY", "1")


def test_the_overhead_is_what_the_model_did_not_take(alone):
    from stride_ros.benchmark.responder import measure_responder, table

    rounds = []
    report = measure_responder(
        {"model": str(CHECKPOINT), "max_new_tokens": 4},
        frames=2,
        rounds=3,
        on_round=lambda: rounds.append(1),
    )
    assert len(rounds) == 5  # two to warm up
    for name in ("first_text_ms", "final_ms"):
        assert report[name]["node"]["median"] > report[name]["model"]["median"] > 0
        assert report[f"overhead_{name}"]["p95"] >= report[f"overhead_{name}"]["median"] > 0
    assert "first text" in table(report)


def test_a_model_that_is_missing_is_bad_input(alone, capsys):
    assert main(["benchmark", "--responder", "/nowhere/model"]) == 2
    assert "no checkpoint directory" in capsys.readouterr().err


def test_the_command_writes_the_numbers(alone, capsys, tmp_path, monkeypatch):
    from stride_ros.benchmark import responder

    monkeypatch.setattr(responder, "_ROUNDS", 1)
    monkeypatch.setattr(responder, "_FRAMES", 1)
    file = tmp_path / "numbers.json"
    assert main(["benchmark", "--responder", str(CHECKPOINT), "--json", str(file)]) == 0
    assert json.loads(file.read_text())["model"] == CHECKPOINT.name
    assert "ms from the onset" in capsys.readouterr().out
