"""Parameter files that users give: each fault is one sentence with its remedy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not on PyPI; source a ROS 2 distribution")
pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")
from stride_ros.errors import ConfigError
from stride_ros.launching.parameter_file import ParameterFile


def fault(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        ParameterFile(str(path))
    message = str(caught.value)
    assert message.startswith(f"params_file '{path}' ")
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"/**:\n  ros__parameters:\n    a: [\n", "is not YAML at line 4 ("),
        (b"/**:\n\tros__parameters: {}\n", "is not YAML at line 2 ("),
        (b"a: 1\n---\nb: 2\n", "has a second document at line 2"),
        (b"a: " + b"[" * 2000, "has more than 64 levels"),
        (b"a: &a [*a]\n", "has *a, which holds itself, at line 1"),
        (b"\xff\xfe\x00", "is UTF-16 and not UTF-8"),
        (b"[1, 2]\n", "has no sections for nodes"),
        (b"just text\n", "has no sections for nodes"),
        (b"rate: 2.0\n", "was rejected by ROS (Cannot have a value before ros__parameters at line 1)"),
        (b"/**: {ros__parameters: [1]}\n", "was rejected by ROS"),
        (b"/**: {ros__parameters: {a: [1, x]}}\n", "was rejected by ROS (Sequence should be of same type"),
        (b"/**: {ros__parameters: {a: &x 1, b: *x}}\n", "was rejected by ROS (Will not support aliasing"),
    ],
)
def test_what_is_wrong_with_the_content_is_said(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_bytes(content)
    assert words in fault(file)


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    assert "does not exist; give the path of a YAML file" in fault(tmp_path / "robot.yaml")
    assert "is a directory; give the path of a YAML file" in fault(tmp_path)
    assert "cannot be read (File name too long)" in fault(tmp_path / ("robot" * 100))
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in fault(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text("")
    file.chmod(0)
    assert "cannot be read (Permission denied)" in fault(file)


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "/**: {ros__parameters: {}}\n"])
def test_a_file_without_values_is_fine(content: str, tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(content)
    assert ParameterFile(str(file)).for_node("/stride/activation", {}) == [file]


def test_home_may_be_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "robot.yaml").write_text("")
    assert ParameterFile("~/robot.yaml").path == tmp_path / "robot.yaml"


@pytest.mark.parametrize(
    ("content", "stray"),
    [
        ("activation: {ros__parameters: {rate: 2.0}}", "/activation"),
        ("/rear/activation: {ros__parameters: {rate: 2.0}}", "/rear/activation"),
        (
            "/rear/activation: {ros__parameters: {rate: 2.0}}\n/**: {ros__parameters: {a: 1}}",
            "/rear/activation",
        ),
        ("/rear/activation: {ros__parameters: {a: 1}}\n/front/activation: {ros__parameters: {a: 1}}", None),
        ("/**/activation: {ros__parameters: {rate: 2.0}}", None),
        ("/front/*: {ros__parameters: {rate: 2.0}}", None),
        ("/**: {ros__parameters: {rate: 2.0}}", None),
        ("/**/camera: {ros__parameters: {rate: 2.0}}", None),
    ],
)
def test_a_section_that_misses_its_node_is_found(content: str, stray: str | None, tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(content)
    assert ParameterFile(str(file)).stray("/front/activation") == stray
