"""Launch files at work: exit codes, processes that die, what is printed, what stays behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch", reason="launch is not on PyPI; source a ROS 2 distribution")
pytest.importorskip("launch_ros", reason="launch_ros is not on PyPI; source a ROS 2 distribution")
pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")
pytest.importorskip("torch")

CHECKPOINT = str(Path(__file__).parents[1] / "golden" / "checkpoint_single")
SMALL = (f"model:={CHECKPOINT}", f"responder_model:={CHECKPOINT}", "device:=cpu", "query:=Tell me.")
ALONE = (*SMALL, "use_responder:=false")
Start = Callable[..., Any]


def test_a_node_that_cannot_be_configured_ends_the_launch_with_an_error(start: Start) -> None:
    launched = start("stride.launch.py", "model:=/no/such/checkpoint", f"responder_model:={CHECKPOINT}")
    assert launched.code() == 1
    assert "There is no checkpoint directory '/no/such/checkpoint'" in launched.output
    assert "/stride/activation ended with exit code 1 (see its message above)" in launched.output
    assert not launched.left_behind()


def test_keep_goes_on_with_the_other_nodes(start: Start, graph: Any) -> None:
    launched = start(
        "stride.launch.py", *SMALL[:1], *SMALL[2:], "responder_model:=/no/such", "on_failure:=keep"
    )
    launched.until(
        r"/stride/responder ended with exit code 1 \(see its message above\); the other nodes continue"
    )
    graph.until_state("/stride/activation", "active")
    assert launched.interrupt() == 0


def test_a_process_that_dies_ends_the_launch_with_an_error(start: Start, graph: Any) -> None:
    launched = start("stride.launch.py", *ALONE)
    graph.until_state("/stride/activation", "active")
    os.kill(launched.pids("activation_node")[-1], signal.SIGKILL)
    assert launched.code() == 1
    assert "/stride/activation was killed by signal 9; to continue without it, set on_" in launched.output
    assert not launched.left_behind()


def test_a_process_that_died_comes_back_and_is_active_again(start: Start, graph: Any) -> None:
    launched = start("stride.launch.py", *ALONE, "respawn:=true", "respawn_delay:=0.1")
    launched.until("Loading")
    os.kill(launched.pids("activation_node")[-1], signal.SIGKILL)  # in the middle of configure
    launched.until("process started with pid", times=2)
    graph.until_state("/stride/activation", "active")
    os.kill(launched.pids("activation_node")[-1], signal.SIGKILL)
    launched.until("process started with pid", times=3)
    graph.until_state("/stride/activation", "active")
    assert launched.interrupt() == 0
    assert len(launched.pids("activation_node")) == 3
    assert not launched.left_behind()


def test_a_wrong_parameter_is_not_tried_again(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text("/**/activation: {ros__parameters: {rate: 1000.0}}")
    launched = start("stride.launch.py", *ALONE, f"params_file:={file}", "respawn:=true")
    assert launched.code() == 1
    assert "Parameter 'rate' has a value that is not allowed" in launched.output
    assert len(launched.pids("activation_node")) == 1


def test_a_node_that_is_stopped_in_order_is_no_failure(start: Start, graph: Any) -> None:
    launched = start("stride.launch.py", *ALONE)
    graph.until_state("/stride/activation", "active")
    os.kill(launched.pids("activation_node")[-1], signal.SIGTERM)
    assert launched.code() == 0


def test_a_lifecycle_manager_may_do_the_start(start: Start, graph: Any) -> None:
    launched = start("stride.launch.py", *ALONE, "autostart:=false", "namespace:=front")
    graph.until_state("/front/activation", "unconfigured")
    assert launched.interrupt() == 0


def test_the_demo_prints_what_is_seen_and_said(start: Start) -> None:
    launched = start("demo.launch.py")
    launched.until(r"\[stride\]: \S+  onset   span \d+: Tell me when a hand is in view\.")
    launched.until(r"\[stride\]: \S+  says    span \d+: \w+")
    assert launched.interrupt() == 0
    assert len(launched.pids("camera_node")) == 1
    assert not launched.left_behind()


def test_the_demo_ends_with_an_error_without_its_source(start: Start) -> None:
    launched = start("demo.launch.py", "source:=/no/such/video.mp4")
    assert launched.code() == 1
    assert "/stride/camera ended with exit code 2" in launched.output
