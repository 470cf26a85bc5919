"""`colcon test` runs parts of this suite in time enough, or says that ament_cmake_pytest is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
PREFIXES = [os.environ.get("CMAKE_PREFIX_PATH", ""), os.environ.get("AMENT_PREFIX_PATH", "")]
ENVIRONMENT = {**os.environ, "PATH": PATH, "CMAKE_PREFIX_PATH": os.pathsep.join(filter(None, PREFIXES))}


def call(*command: str | Path, cwd: Path, may_fail: bool = False) -> str:
    """Run a command and return what it prints; fail with that when the command fails, unless it may."""
    done = subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert may_fail or done.returncode == 0, done.stdout
    return done.stdout


def configure(folder: Path, *options: str, may_fail: bool = False) -> str:
    """Configure the package for tests in a folder; nothing is compiled."""
    for program in ("cmake", "ctest", "c++"):
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"{program} is missing")
    python = f"-DPython3_EXECUTABLE={sys.executable}"
    command = ("cmake", "-S", ROOT, "-B", folder, "-DBUILD_TESTING=ON", python, *options)
    return call(*command, cwd=folder, may_fail=may_fail)


def listed(folder: Path) -> dict[str, dict[str, str]]:
    """The properties of each test that ctest would run, by its name."""
    found = json.loads(call("ctest", "--show-only=json-v1", cwd=folder))["tests"]
    return {
        test["name"]: {item["name"]: item["value"] for item in test.get("properties", [])} for test in found
    }


def has_ament_cmake_pytest() -> bool:
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    return any(Path(prefix, "share", "ament_cmake_pytest").is_dir() for prefix in prefixes if prefix)


@pytest.mark.skipif(not has_ament_cmake_pytest(), reason="ament_cmake_pytest is not installed")
def test_parts_run_and_their_results_are_found(tmp_path: Path) -> None:
    configure(tmp_path)
    parts = listed(tmp_path)
    assert {"nodes", "launch", "packaging", "activation", "response"} <= set(parts)
    for name, properties in parts.items():
        assert (ROOT / "test" / name).is_dir()
        assert float(properties["TIMEOUT"]) > 60, "ament's own is too short for a part"
        assert Path(properties["WORKING_DIRECTORY"]) == tmp_path, (
            "from the source folder, messages are not found"
        )

    call("ctest", "-R", "^launch$", "--output-on-failure", cwd=tmp_path)
    if find_spec("colcon_core") is None:
        pytest.skip("colcon is missing: its summary of the results is not checked")
    result = call(
        sys.executable, "-m", "colcon", "test-result", "--test-result-base", tmp_path, "--all", cwd=tmp_path
    )
    files = [line for line in result.splitlines() if "launch.xunit.xml: " in line]
    assert len(files) == 1, result
    assert int(files[0].partition("xml: ")[2].split()[0]) > 0, result
    assert "0 errors, 0 failures" in result.splitlines()[-1]


def test_without_ament_cmake_pytest_it_says_what_to_install(tmp_path: Path) -> None:
    # Up to Jazzy other packages that ours needs require it, and then fail by themselves.
    output = configure(tmp_path, "-DCMAKE_DISABLE_FIND_PACKAGE_ament_cmake_pytest=ON", may_fail=True)
    assert "ament_cmake_pytest was not found" in " ".join(output.split())
    assert listed(tmp_path) == {}
