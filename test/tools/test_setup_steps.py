"""The environment is made for one interpreter and distribution and never mixes two of them."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tool, monkeypatch, tmp_path):
    """The set-up in an empty folder, as it begins on a fresh clone: (its module, its layout)."""
    steps = tool("setup_steps")
    for name in ("AMENT_PREFIX_PATH", "ROS_DISTRO", "ROS_DISTRO_PYPI"):
        monkeypatch.delenv(name, raising=False)
    for file in ROOT.glob("requirements*.txt"):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(steps, "ROOT", tmp_path)
    layout = steps.Layout()
    layout.stamps.mkdir(parents=True)
    return steps, layout


def site_packages(layout, version: str) -> Path:
    folder = layout.venv / "lib" / version / "site-packages"
    folder.mkdir(parents=True)
    return folder


THIS = f"python{sys.version_info.major}.{sys.version_info.minor}"


def test_jazzy_is_the_default_and_kilted_lies_beside_it(project, monkeypatch):
    steps, layout = project
    assert (layout.distro, layout.venv.name, layout.install.name) == ("jazzy", ".venv", "install")
    monkeypatch.setenv("ROS_DISTRO_PYPI", "kilted")
    other = steps.Layout()
    assert (other.distro, other.venv.name, other.install.name) == ("kilted", ".venv-kilted", "install-kilted")


def test_a_sourced_distribution_is_used_beside_workspaces_of_our_own(project, monkeypatch):
    steps, layout = project
    own = str(layout.install / "stride_ros")
    monkeypatch.setenv("ROS_DISTRO", "humble")
    monkeypatch.setenv("AMENT_PREFIX_PATH", own)
    assert steps.Layout().sourced is None
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{own}:/opt/ros/humble")
    assert steps.Layout().sourced == "humble"


def test_an_environment_of_the_same_kind_is_kept(project):
    steps, layout = project
    site = site_packages(layout, THIS)
    pin = next(
        line
        for line in (ROOT / "requirements-ros-jazzy.txt").read_text().splitlines()
        if "ros-rclpy=" in line
    )
    (site / f"ros_rclpy-{pin.partition('==')[2]}.dist-info").mkdir()
    (layout.stamps / "1").write_text(steps.digest(steps.digest(steps.kind(layout)), ""))
    assert steps.stale(layout) is None


def test_another_python_makes_the_environment_anew(project):
    steps, layout = project
    site_packages(layout, "python3.9")
    assert "python3.9" in steps.stale(layout)


def test_another_interpreter_of_the_same_version_makes_it_anew(project, monkeypatch):
    steps, layout = project
    (layout.stamps / "1").write_text(steps.digest(steps.digest(steps.kind(layout)), ""))
    monkeypatch.setattr(sys, "base_prefix", "/somewhere/else")
    assert "changed" in steps.stale(layout)


def test_wheels_of_another_distribution_make_it_anew(project):
    steps, layout = project
    (site_packages(layout, THIS) / "ros_rclpy-9.1.2.dist-info").mkdir()
    assert "9.1.2" in steps.stale(layout)


def test_what_was_made_for_something_else_is_gone_afterwards(project, monkeypatch):
    steps, layout = project
    left_over = site_packages(layout, "python3.9") / "left_over.py"
    left_over.touch()
    built = layout.build / "stride_ros" / "CMakeCache.txt"
    built.parent.mkdir(parents=True)
    built.touch()
    commands = []
    monkeypatch.setattr(steps, "run", lambda layout, command: commands.append(command))
    steps.make_venv(layout)
    assert not left_over.exists()
    assert not built.exists()
    assert commands[0][:3] == [sys.executable, "-m", "venv"]


@pytest.mark.parametrize(
    ("builder", "numpy_folder"),
    [
        ("cp39-cp39/{}/python3.9", "core"),
        ("cp312-cp312/{}/python3.12", "_core"),
        ("cp314-cp314t/{}/python3.14t", "_core"),
    ],
)
def test_paths_of_the_machine_that_built_the_wheels_are_rewritten(project, builder, numpy_folder):
    steps, layout = project
    layout.python = Path(sys.executable)
    include = f"/opt/python/{builder.format('include')}"
    numpy_include = f"/opt/python/{builder.format('lib')}/site-packages/numpy/{numpy_folder}/include"
    exported = layout.venv / "share" / "messages" / "cmake" / "export.cmake"
    exported.parent.mkdir(parents=True)
    exported.write_text(f'INCLUDES "${{PREFIX}}/include/a;{include};{numpy_include}"\nelse("{include}/x")\n')
    steps.rewrite_wheel_paths(layout)
    here = sysconfig.get_paths()["include"]
    assert exported.read_text() == (
        f'INCLUDES "${{PREFIX}}/include/a;{here};{numpy.get_include()}"\nelse("{here}/x")\n'
    )


def test_the_installed_wheels_name_no_folder_of_their_builder():
    """Of this environment itself; a sourced distribution has none."""
    files = list(Path(sys.prefix, "share").rglob("*.cmake"))
    if not any("rosidl" in file.name for file in files):
        pytest.skip("ROS 2 is not installed as wheels here")
    named = [str(file) for file in files if "/opt/python/" in file.read_text(errors="replace")]
    assert named == []
