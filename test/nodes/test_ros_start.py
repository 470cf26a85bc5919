"""A node starts without a place for ROS's log, and says in a sentence which arguments ROS does not know."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")


@pytest.mark.parametrize(
    "arguments",
    [
        ["-p", "rate"],
        ["-p"],
        ["-p", "rate:=["],
        ["--bogus"],
        ["--bogus\x1b[2J\nFORGED"],
        ["--log-level", "bogus"],
        ["--params-file", "/nowhere.yaml"],
        ["-r", "a:=b:=c"],
        ["--enclave"],
    ],
    ids=str,
)
def test_arguments_that_ros_does_not_know_are_one_sentence(processes: Any, arguments: list[str]) -> None:
    process = processes.start("camera_node", "--ros-args", *arguments)
    assert process.wait(120) == 2
    said = process.log.read_text().splitlines()
    assert "Traceback" not in "\n".join(said)
    assert said[-1].startswith("ROS does not know these arguments (")
    assert said[-1].endswith("; correct what follows --ros-args.")
    assert said[-1].isprintable()


@pytest.mark.parametrize("home", ["a file", "none"])
def test_without_a_place_for_the_log_the_node_starts(
    graph: Any, processes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.delenv("ROS_LOG_DIR", raising=False)
    if home == "a file":
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("ROS_HOME", str(tmp_path / "file" / "home"))
    else:
        for name in ("ROS_HOME", "HOME"):
            monkeypatch.delenv(name, raising=False)
    assert os.environ.get("ROS_HOME", "").startswith(str(tmp_path)) == (home == "a file")
    process = processes.start("camera_node", "--ros-args", "-p", "width:=64", "-p", "height:=48")
    graph.wait(lambda: "camera" in graph.observer.get_node_names(), "the node")
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 0, process.log.read_text()
    said = process.log.read_text()
    assert "The log cannot be written to a file (" in said
    assert "set ROS_LOG_DIR or ROS_HOME to a writable folder." in said
    assert "Traceback" not in said


@pytest.mark.parametrize("domain", ["233", "300", "99999999999999999999999", "lab"])
def test_a_domain_that_cannot_be_one_is_told_with_those_that_can(
    processes: Any, monkeypatch: pytest.MonkeyPatch, domain: str
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    process = processes.start("camera_node", "--ros-args", "-p", "width:=64", "-p", "height:=48")
    assert process.wait(120) == 2
    said = process.log.read_text().splitlines()
    assert "Traceback" not in "\n".join(said)
    assert "ROS_DOMAIN_ID is" in said[-1]
    assert said[-1].endswith("; set ROS_DOMAIN_ID to 0 to 101, which is safe on any system, or at most 232.")


@pytest.mark.parametrize("arguments", [["-p", "rate:=2.0"], ["rate:=2.0"], ["--ros-args", "--", "more"]])
def test_a_parameter_that_ros_would_ignore_is_refused(processes: Any, arguments: list[str]) -> None:
    process = processes.start("camera_node", *arguments)
    assert process.wait(120) == 2
    assert (
        "; write parameters after --ros-args: camera_node --ros-args -p NAME:=VALUE."
        in process.log.read_text()
    )


def test_a_node_tells_its_usage(processes: Any) -> None:
    process = processes.start("responder_node", "--help")
    assert process.wait(120) == 0
    assert process.log.read_text().startswith("usage: responder_node [--ros-args ...]")


def test_arguments_of_ros_may_be_in_several_groups() -> None:
    from stride_ros.nodes.ros_start import split_arguments

    groups = ["a", "--ros-args", "-p", "b:=1", "--", "c", "--ros-args", "-r", "d:=e"]
    ros = ["--ros-args", "-p", "b:=1", "--", "--ros-args", "-r", "d:=e"]
    assert split_arguments(groups) == (["a", "c"], ros)
    assert split_arguments(["a"]) == (["a"], [])
