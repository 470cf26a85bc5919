"""A robot keeps its PyTorch, NumPy and OpenCV: tried with pip itself, which gets its wheels from a folder."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import zipfile
from pathlib import Path

import pip
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
# What the index offers: newer than anything that is there, and what else requirements.txt asks for.
OFFERED = {
    "accelerate": "1.15.0", "av": "18.1.0", "jinja2": "3.1.6", "matplotlib": "3.11.2", "mcap": "1.6.0",
    "numpy": "2.4.6", "openai": "3.54.0",
    "opencv_python_headless": "5.0.0.93", "pillow": "13.0.0", "pyyaml": "6.0.3", "rosbags": "0.11.9",
    "safetensors": "0.8.0", "tokenizers": "0.23.3", "torch": "2.13.0", "transformers": "5.23.0",
}  # fmt: skip
MODULES = {"opencv_python_headless": "cv2", "pillow": "PIL", "pyyaml": "yaml"}


def metadata(name: str, version: str) -> str:
    needs = "Requires-Dist: numpy>=2\n" if name == "opencv_python_headless" else ""
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"


def source(version: str, cuda: str | None = None) -> str:
    return f"__version__ = {version!r}\nclass version: cuda = {cuda!r}\n"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels that pip takes for all there is."""
    folder = tmp_path_factory.mktemp("index")
    for name, version in OFFERED.items():
        info = f"{name}-{version}.dist-info"
        files = {
            f"{MODULES.get(name, name)}/__init__.py": source(version),
            f"{info}/METADATA": metadata(name, version),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            for file, text in {**files, f"{info}/RECORD": record}.items():
                wheel.writestr(file, text)
    return folder


class Robot:
    """A virtual environment, what the system under it brings, and what pip may reach."""

    def __init__(self, folder: Path, base_python: str, index: Path, environment: dict[str, str]) -> None:
        command = [base_python, "-m", "venv", "--without-pip", folder / "venv"]
        subprocess.run(command, check=True, env=environment)
        self.python = folder / "venv" / "bin" / "python"
        self.system = folder / "system"  # like /usr/lib/python3/dist-packages, seen through PYTHONPATH
        self.system.mkdir()
        (self.system / "pip").symlink_to(Path(pip.__file__).parent)
        (folder / "empty").mkdir()
        self.environment = {
            **{k: v for k, v in environment.items() if not k.startswith(("PIP_", "UV_"))},
            "PATH": f"{folder / 'empty'}:/usr/bin:/bin",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(index),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONPATH": str(self.system),
        }

    def has(
        self, name: str, version: str, module: str | None = None, cuda: str | None = None, known=True
    ) -> None:
        """Something that can be imported before; `known`: to pip as well."""
        (self.system / (module or name)).mkdir()
        (self.system / (module or name) / "__init__.py").write_text(source(version, cuda))
        if known:
            info = self.system / f"{name}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(metadata(name, version))

    def install(self, *options: str) -> subprocess.CompletedProcess[str]:
        command = [self.python, ROOT / "tools" / "install_requirements.py", *options]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True)

    def imports(self, module: str) -> tuple[str, bool]:
        """(version, whether it is what the system brought)."""
        code = f"import {module}; print({module}.__version__); print({module}.__file__)"
        answer = subprocess.run(
            [self.python, "-c", code], env=self.environment, capture_output=True, text=True, check=True
        )
        version, path = answer.stdout.splitlines()
        return version, path.startswith(str(self.system))

    def installed(self) -> set[str]:
        """Names of what lies in the environment itself."""
        found = (self.python.parents[1] / "lib").glob("*/site-packages/*.dist-info")
        return {path.name.partition("-")[0] for path in found}


@pytest.fixture
def robot(tmp_path, base_python, index, clean_environment) -> Robot:
    return Robot(tmp_path, base_python, index, clean_environment)


def test_what_a_robot_brings_is_not_replaced(robot):
    robot.has("torch", "2.10.0a0+b4e4ee8.nv25.12", cuda="13.1")
    robot.has("numpy", "1.26.4")
    robot.has("opencv", "4.6.0", module="cv2", known=False)  # as Debian's, which is no Python distribution
    answer = robot.install()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert robot.imports("torch") == ("2.10.0a0+b4e4ee8.nv25.12", True)
    assert robot.imports("numpy") == ("1.26.4", True)
    assert robot.imports("cv2") == ("4.6.0", True)
    assert robot.installed() == set(OFFERED) - {"torch", "numpy", "opencv_python_headless"}
    kept = [line for line in answer.stdout.splitlines() if line.startswith("* kept: ")]
    assert len(kept) == 3
    assert "CUDA 13.1" in kept[0] + kept[1] + kept[2]


@pytest.mark.parametrize("name", ["opencv-python", "opencv-contrib-python", "opencv-python-headless"])
def test_any_distribution_of_opencv_will_do(robot, name):
    robot.has(name.replace("-", "_"), "4.10.0", module="cv2")
    answer = robot.install()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert robot.imports("cv2") == ("4.10.0", True)
    assert "opencv_python_headless" not in robot.installed()


def test_what_is_missing_is_installed(robot):
    answer = robot.install()
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert robot.installed() == set(OFFERED)
    assert "PyTorch: left to pip" in answer.stdout  # uv cannot be had here
    assert "PyTorch 2.13.0 (CPU build)" in answer.stdout


@pytest.mark.parametrize(
    ("name", "version", "module"),
    [
        ("torch", "1.13.0", "torch"),
        ("numpy", "1.17.4", "numpy"),
        ("opencv", "4.2.0", "cv2"),
        ("numpy", "3.0.0", "numpy"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_installed(robot, name, version, module):
    robot.has(name, version, module=module)
    answer = robot.install()
    assert answer.returncode == 1
    assert f"{module} {version} of {robot.system / module} does not fit, {module}" in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert robot.installed() == set()


def test_a_module_that_cannot_be_imported_is_no_reason_to_keep_it(robot):
    robot.has("numpy", "1.26.4")
    (robot.system / "numpy" / "__init__.py").write_text("raise ImportError('built for another Python')")
    answer = robot.install("--dry-run")
    assert "* kept" not in answer.stdout
    assert "numpy" in answer.stdout


def test_locked_versions_win_over_what_is_there(robot, tmp_path):
    robot.has("numpy", "1.26.4")
    lock = tmp_path / "lock.txt"
    lock.write_text("numpy==2.4.6 ; python_version >= '3.0'\nnumpy==9 ; python_version < '3.0'\n")
    answer = robot.install("--lock", str(lock))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "numpy" in robot.installed()


def hashed(index: Path, **spoiled: str) -> str:
    """A lock of all that the index offers; `spoiled` names other hashes."""
    lines = []
    for wheel in sorted(index.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        digest = spoiled.get(name, hashlib.sha256(wheel.read_bytes()).hexdigest())
        lines.append(f"{name.replace('_', '-')}=={version} \\\n    --hash=sha256:{digest}")
    return "\n".join(["# made by a test", *lines, ""])


def test_what_a_lock_has_hashes_of_is_installed(robot, index, tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text(hashed(index))
    answer = robot.install("--lock", str(lock))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert {"numpy", "openai"} <= set(robot.installed())


def test_another_file_than_the_locks_is_not_installed(robot, index, tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text(hashed(index, openai="0" * 64))
    answer = robot.install("--lock", str(lock))
    assert answer.returncode == 1
    assert "DO NOT MATCH THE HASHES" in answer.stdout + answer.stderr
    assert "openai" not in robot.installed()


def test_only_pytorch_may_come_as_a_build_that_the_lock_does_not_know(tool):
    locked_install = tool("locked_install")
    lock = locked_install.Lock(hashes={("numpy", "2.4.6"): ["sha256:aa"], ("torch", "2.13.0"): ["sha256:bb"]})

    def report(*items: tuple[str, str]) -> str:
        return json.dumps({"install": [{"metadata": {"name": n, "version": v}} for n, v in items]})

    lines, builds = locked_install.resolved(report(("torch", "2.13.0+cpu"), ("NumPy", "2.4.6")), lock)
    assert lines == ["numpy==2.4.6 --hash=sha256:aa"]
    assert builds == ["torch==2.13.0+cpu"]
    with pytest.raises(locked_install.NotInTheLock, match=r"numpy 2\.4\.6\+evil"):
        locked_install.resolved(report(("numpy", "2.4.6+evil")), lock)


def test_what_is_not_in_the_lock_is_named(robot, index, tmp_path):
    lock = tmp_path / "lock.txt"
    text = hashed(index)
    lock.write_text(text.replace("mcap==", "another=="))
    answer = robot.install("--lock", str(lock))
    assert answer.returncode == 1
    assert "the lock has no hashes for mcap" in answer.stderr


def test_without_pip_the_way_to_an_environment_is_said(tmp_path, base_python, clean_environment):
    subprocess.run([base_python, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    answer = subprocess.run(
        [tmp_path / "bare" / "bin" / "python", ROOT / "tools" / "install_requirements.py"],
        env=clean_environment,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 1
    assert "-m venv --system-site-packages .venv" in answer.stderr
    assert answer.stderr.count("\n") == 1
