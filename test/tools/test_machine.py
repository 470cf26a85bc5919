"""Before anything is downloaded: one sentence with the remedy where the set-up cannot work."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAP = str(ROOT / "tools" / "bootstrap.py")
FIND_PYTHON = str(ROOT / "tools" / "find_python.sh")


@pytest.mark.parametrize(
    ("facts", "sourced", "said"),
    [
        ({"version": (3, 9)}, False, ["3.9 is too old", "make PYTHON=python3.12"]),
        ({"version": (3, 9)}, True, ["3.9 is too old"]),
        ({"version": (3, 15)}, False, ["wheels for Python 3.15", "make PYTHON=python3.12"]),
        ({"version": (3, 13), "free_threaded": True}, False, ["free-threaded", "make PYTHON="]),
        ({"version": (3, 11), "implementation": "PyPy"}, False, ["PyPy is not supported", "make PYTHON="]),
        ({"platform": "linux-aarch64"}, False, ["linux-aarch64", "install ROS 2", "setup.bash", "container"]),
        (
            {"platform": "linux-aarch64", "installed_ros": ("/opt/ros/jazzy/setup.bash",)},
            False,
            ["linux-aarch64", "`. /opt/ros/jazzy/setup.bash`"],
        ),
        ({"platform": "macosx-14.0-arm64"}, False, ["macosx-14.0-arm64", "container"]),
        ({"glibc": (2, 27)}, False, ["glibc 2.28 or newer", "glibc 2.27"]),
        ({"glibc": None}, False, ["another C library", "container"]),
        ({"venv": False}, False, ["venv module", "sudo apt install python3.12-venv"]),
        ({"venv": False}, True, ["venv module", "sudo apt install python3.12-venv"]),
        ({"headers": False, "compiler": False}, False, ["sudo apt install python3.12-dev g++"]),
    ],
)
def test_what_is_in_the_way_is_said_with_the_remedy(tool, facts, sourced, said):
    machine = tool("machine")
    sentence = machine.obstacle(machine.Machine(**{"version": (3, 12), **facts}), sourced)
    assert sentence is not None
    assert "\n" not in sentence
    for part in said:
        assert part in sentence


@pytest.mark.parametrize("minor", [10, 11, 12, 13, 14])
def test_every_python_with_wheels_is_taken(tool, minor):
    machine = tool("machine")
    assert machine.obstacle(machine.Machine(version=(3, minor)), sourced=False) is None


@pytest.mark.parametrize("facts", [{"platform": "linux-aarch64"}, {"version": (3, 15)}, {"glibc": (2, 27)}])
def test_a_sourced_distribution_needs_no_wheels(tool, facts):
    machine = tool("machine")
    assert machine.obstacle(machine.Machine(**{"version": (3, 12), **facts}), sourced=True) is None


def test_this_machine_is_suitable_and_nothing_is_made(base_python, clean_environment, tmp_path):
    answer = subprocess.run(
        [base_python, BOOTSTRAP, "--check"],
        env=clean_environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "ROS 2 jazzy" in answer.stdout


def test_an_unknown_distribution_is_named_with_those_that_are_known(base_python, clean_environment):
    environment = {**clean_environment, "ROS_DISTRO_PYPI": "iron"}
    answer = subprocess.run([base_python, BOOTSTRAP], env=environment, capture_output=True, text=True)
    assert answer.returncode == 2
    assert "iron" in answer.stderr
    assert "jazzy, kilted" in answer.stderr


def test_a_python_that_is_too_old_is_refused_in_a_sentence(clean_environment):
    for minor in (9, 8, 7, 6):
        found = subprocess.run(["sh", FIND_PYTHON, f"python3.{minor}"], capture_output=True, text=True)
        if found.returncode == 0:
            break
    else:
        pytest.skip("no Python 3.6 to 3.9 is installed")
    answer = subprocess.run(
        [found.stdout.strip(), BOOTSTRAP], env=clean_environment, capture_output=True, text=True
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"set-up: Python 3.{minor} is too old, 3.10 to 3.14 work: ")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("folder", ["lib/python3.99/site-packages", "local/lib/python3.99/dist-packages"])
def test_a_sourced_distribution_for_another_python_names_it(base_python, clean_environment, tmp_path, folder):
    (tmp_path / folder / "rclpy").mkdir(parents=True)
    (tmp_path / folder / "rclpy" / "__init__.py").touch()
    environment = {**clean_environment, "AMENT_PREFIX_PATH": str(tmp_path), "ROS_DISTRO": "jazzy"}
    answer = subprocess.run([base_python, BOOTSTRAP], env=environment, capture_output=True, text=True)
    assert answer.returncode == 2
    assert "make PYTHON=python3.99 demo" in answer.stderr
    assert answer.stderr.count("\n") == 1


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("name", ["python3.99", "3.99"])
def test_pyenv_versions_count_although_its_commands_refuse_them(tmp_path, clean_environment, name):
    executable(tmp_path / "shims" / "python3.99", "echo 'pyenv: python3.99: command not found' >&2; exit 127")
    executable(tmp_path / "versions" / "3.99.9" / "bin" / "python3.99", "echo older")
    executable(tmp_path / "versions" / "3.99.10" / "bin" / "python3.99", "echo newer")
    path = os.pathsep.join([str(tmp_path / "shims"), clean_environment["PATH"]])
    environment = {**clean_environment, "PATH": path, "PYENV_ROOT": str(tmp_path)}
    answer = subprocess.run(
        ["sh", FIND_PYTHON, "python3.98", name], env=environment, capture_output=True, text=True
    )
    assert (answer.returncode, answer.stdout) == (0, "newer\n")


def test_a_python_that_is_missing_is_named_with_those_that_are_there(clean_environment, tmp_path):
    executable(tmp_path / "python3.13", "echo here")
    path = os.pathsep.join([str(tmp_path), clean_environment["PATH"]])
    answer = subprocess.run(
        ["sh", FIND_PYTHON, "python3.98"],
        env={**clean_environment, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 1
    assert "no python3.98 runs here" in answer.stderr
    assert "python3.13" in answer.stderr
