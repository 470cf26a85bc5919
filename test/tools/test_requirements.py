"""The ranges resolve on every Python and machine that is supported, and the locks lie within them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
NO_INDEX = ("error sending request", "Failed to fetch", "network connectivity is disabled")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", PYTHONS)
def test_the_ranges_resolve_to_wheels(python, machine):
    """glibc 2.35 is Ubuntu 22.04's, the oldest system of a supported distribution."""
    pytest.importorskip("uv", reason="uv is not installed: run `python3 -m pip install uv`")
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += ["--python-version", python, "--python-platform", f"{machine}-manylinux_2_35"]
    command += ["--only-binary", ":all:", str(ROOT / "requirements.txt")]
    environment = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", **os.environ}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT / "test")
    if answer.returncode != 0 and any(sign in answer.stderr for sign in NO_INDEX):
        pytest.skip("the Python package index cannot be reached")
    assert answer.returncode == 0, answer.stderr
    chosen = {item.name: item for item in map(Requirement, answer.stdout.split("\n")[:-1])}
    for wanted in requirements("requirements.txt"):
        version = str(chosen[wanted.name.lower()].specifier).removeprefix("==")
        assert wanted.specifier.contains(version)


def requirements(*files: str) -> list[Requirement]:
    text = "\n".join((ROOT / file).read_text() for file in files).replace("\\\n", " ")
    lines = [line.partition("#")[0].partition(" --hash=")[0].strip() for line in text.splitlines()]
    return [Requirement(line) for line in lines if line]


@pytest.mark.parametrize("distro", ["jazzy", "kilted"])
def test_a_lock_has_hashes_of_everything(distro):
    text = (ROOT / f"requirements-lock-{distro}.txt").read_text().replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert pins
    assert [pin.split()[0] for pin in pins if "--hash=sha256:" not in pin] == []


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("distro", ["jazzy", "kilted"])
def test_a_lock_pins_each_requirement_once_and_within_its_range(distro, python):
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
    }
    pins: dict[str, list[str]] = {}
    for item in requirements(f"requirements-lock-{distro}.txt"):
        if item.marker is None or item.marker.evaluate(environment):
            pins.setdefault(item.name.lower(), []).append(str(item.specifier))
    wanted = requirements("requirements.txt", "requirements-dev.txt", f"requirements-ros-{distro}.txt")
    for item in wanted:
        (pin,) = pins[item.name.lower()]
        assert item.specifier.contains(pin.removeprefix("=="), prereleases=True), f"{item}: {pin}"


def test_pip_install_asks_for_the_same():
    code = "import json, runpy, setuptools; setuptools.setup = lambda **given: print(json.dumps(given)); "
    command = [sys.executable, "-c", code + "runpy.run_path('setup.py')"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    asked = json.loads(answer.stdout)["install_requires"]
    assert list(map(Requirement, asked)) == requirements("requirements.txt")


def test_plugins_of_a_sourced_ros_leave_pytest_alone(tmp_path, clean_environment):
    """launch_testing before 3.7 does not start with pytest 9, and is found where ROS is sourced."""
    for name in ("launch_testing", "launch_ros"):
        (tmp_path / f"clashing_{name}.py").write_text(
            "def pytest_launch_collect_makemodule(path): pass\nraise OSError"
        )
        info = tmp_path / f"clashing_{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: clashing_{name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[pytest11]\n{name} = clashing_{name}\n")
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "test/tools/test_check_ros_api.py"]
    environment = {**clean_environment, "PYTHONPATH": str(tmp_path)}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr
