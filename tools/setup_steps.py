"""The steps of the set-up: a virtual environment, its packages, and a colcon build.

ROS 2 comes from Python wheels, unless a ROS distribution is sourced. This uses only the standard library.
Each finished step leaves a stamp, so that a failed run continues where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from machine import Machine, obstacle, sourced_obstacle

ROOT = Path(__file__).resolve().parent.parent
WHEEL_DISTROS = ("jazzy", "kilted")  # the first is the default
# Folders whose file lists decide what is installed; contents are linked, so only names matter.
LINKED_FOLDERS = ("stride_ros", "scripts", "launch", "config", "models")
BUILD_FILES = ("package.xml", "CMakeLists.txt", "action/*.action", "msg/*.msg", "srv/*.srv")


class StepFailed(Exception):
    """A step of the set-up failed; the message has the remedy."""


class Layout:
    """The folders: Jazzy or a sourced ROS in .venv, the other wheel distribution next to it."""

    def __init__(self) -> None:
        # The exports of an activated environment of ours are not a sourced distribution.
        self.prefixes = [
            prefix
            for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
            if prefix and not Path(prefix).is_relative_to(ROOT)
        ]
        sourced = os.environ.get("ROS_DISTRO") if self.prefixes else None
        wheels = os.environ.get("ROS_DISTRO_PYPI", "")
        if wheels and wheels not in WHEEL_DISTROS:
            raise StepFailed(f"ROS_DISTRO_PYPI={wheels} is not known: use one of {', '.join(WHEEL_DISTROS)}.")
        self.sourced = None if wheels else sourced
        self.distro = wheels or self.sourced or WHEEL_DISTROS[0]
        suffix = "" if self.sourced or self.distro == WHEEL_DISTROS[0] else f"-{self.distro}"
        self.venv = ROOT / f".venv{suffix}"
        self.build = ROOT / f"build{suffix}"
        self.install = ROOT / f"install{suffix}"
        self.python = self.venv / "bin" / "python"
        self.stamps = self.venv / "stamps"
        self.log = self.venv / "bootstrap.log"
        self.lock = ROOT / f"requirements-lock-{self.distro}.txt"

    def site_packages(self) -> Path:
        return next((self.venv / "lib").glob("python3.*/site-packages"))


def say(text: str) -> None:
    print(f"\033[1m[setup]\033[0m {text}" if sys.stdout.isatty() else f"[setup] {text}", flush=True)


def run(layout: Layout, command: Iterable[str | Path], env: dict[str, str] | None = None) -> None:
    """Run a command with its output in the log; show lines that begin with *, or the end if it fails."""
    words = [str(word) for word in command]
    before = layout.log.stat().st_size if layout.log.exists() else 0
    with layout.log.open("a") as log:
        log.write(f"\n$ {' '.join(words)}\n")
        log.flush()
        process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
        status = wait_showing_progress(layout, process)
    if status != 0:
        print("\n".join(layout.log.read_text(errors="replace").splitlines()[-25:]), file=sys.stderr)
        raise StepFailed(f"`{' '.join(words[:4])} ...` ended with status {status}.")
    for line in layout.log.read_bytes()[before:].decode(errors="replace").splitlines():
        if line.startswith("* "):
            say(f"  {line[2:]}")


def wait_showing_progress(layout: Layout, process: subprocess.Popen[bytes]) -> int:
    """Wait for a command; on a terminal, show the seconds and the newest line of its log."""
    started = time.monotonic()
    try:
        while True:
            try:
                return process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                if sys.stdout.isatty():
                    tail = newest_line(layout.log.read_text(errors="replace"))
                    width = max(shutil.get_terminal_size().columns - 12, 20)
                    print(f"\r\033[K{time.monotonic() - started:6.0f} s  {tail[:width]}", end="", flush=True)
    finally:
        if process.poll() is None:
            process.kill()
        if sys.stdout.isatty():
            print("\r\033[K", end="", flush=True)


def newest_line(log: str) -> str:
    """The newest line of a log that shows progress, without our own lines and colcon's usual warnings."""
    lines = (line.strip() for line in reversed(log.splitlines()))
    return next((line for line in lines if line and not line.startswith("$") and "WARNING:" not in line), "")


def digest(*parts: str | bytes) -> str:
    value = hashlib.sha256()
    for part in parts:
        value.update(part.encode() if isinstance(part, str) else part)
    return value.hexdigest()


def contents(*patterns: str) -> bytes:
    return b"".join(path.read_bytes() for pattern in patterns for path in sorted(ROOT.glob(pattern)))


def make_venv(layout: Layout) -> None:
    if reason := stale(layout):
        say(f"{reason}: setting up everything again")
        for folder in (layout.venv, layout.build / "stride_ros", layout.install / "stride_ros"):
            if folder.exists():
                shutil.rmtree(folder)
    layout.venv.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "venv", layout.venv]
    if layout.sourced:
        command.append("--system-site-packages")
    run(layout, command)
    run(layout, [layout.python, "-m", "pip", "install", "--upgrade", "pip", "setuptools<80", "wheel"])


def stale(layout: Layout) -> str | None:
    """Why the existing environment was made for something else and cannot be extended; otherwise None."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    others = [path.name for path in (layout.venv / "lib").glob("python3.*") if path.name != version]
    if others:
        return f"the environment is for {others[0]} and this is {version}"
    stamp = layout.stamps / "1"
    if stamp.exists() and stamp.read_text() != digest(digest(kind(layout)), ""):
        return "the Python, the ROS distribution or the folder changed"
    pins = ROOT / f"requirements-ros-{layout.distro}.txt"
    for package in (layout.venv / "lib" / version / "site-packages").glob("ros_rclpy-*.dist-info"):
        installed = package.name.removeprefix("ros_rclpy-").removesuffix(".dist-info")
        if layout.sourced or not re.search(rf"^ros-rclpy.*=={re.escape(installed)}$", pins.read_text(), re.M):
            return f"rclpy {installed} is installed, which is not that of ROS 2 {layout.distro}"
    return None


def kind(layout: Layout) -> str:
    """Everything that cannot change later in an environment."""
    return f"{layout.distro} {layout.sourced} {sys.version_info[:2]} {sys.base_prefix} {ROOT}"


def install_requirements(layout: Layout) -> None:
    """Install the locked versions; on a sourced distribution, what fits the system's packages."""
    command = [layout.python, ROOT / "tools" / "install_requirements.py", "--dev"]
    run(layout, command if layout.sourced else [*command, "--lock", layout.lock])


def install_ros(layout: Layout) -> None:
    if layout.sourced:
        return
    wheels = ROOT / f"requirements-ros-{layout.distro}.txt"
    run(layout, [layout.python, ROOT / "tools" / "locked_install.py", "--lock", layout.lock, "-r", wheels])
    rewrite_wheel_paths(layout)


def rewrite_wheel_paths(layout: Layout) -> None:
    """Point the wheels' CMake files at this interpreter; they name folders of the machine that built them.

    For example /opt/python/cp312-cp312/include/python3.12, and the location of NumPy in that Python.
    """
    query = "import sysconfig, numpy; print(sysconfig.get_paths()['include']); print(numpy.get_include())"
    answer = subprocess.run([layout.python, "-c", query], check=True, capture_output=True, text=True)
    python_include, numpy_include = answer.stdout.splitlines()
    builder = r"/opt/(?:python|_internal)/[^/;\"\s]+"
    rules = [
        (re.compile(rf"{builder}/include/python3\.\d+t?(?![\w.])"), python_include),
        (re.compile(rf"{builder}/lib/python3\.\d+t?/site-packages/numpy/_?core/include"), numpy_include),
    ]
    for path in (layout.venv / "share").rglob("*.cmake"):
        text = rewritten = path.read_text(errors="replace")
        for pattern, here in rules:
            rewritten = pattern.sub(lambda _, here=here: here, rewritten)
        if rewritten != text:
            path.write_text(rewritten)


def write_environment(layout: Layout) -> None:
    """Make .venv/bin/python find ROS and the built messages without sourcing anything."""
    site = layout.site_packages()
    source = (ROOT / "tools" / "venv_environment.py").read_text()
    prefix = layout.install / "stride_ros"
    (site / "stride_ros_environment.py").write_text(
        f"{source}\n\nenter(workspace={str(prefix)!r}, wheels={not layout.sourced})\n"
    )
    # Sorted first, so that one restart of the interpreter serves the ROS wheels' own .pth as well.
    (site / "a0_stride_ros.pth").write_text("import stride_ros_environment\n")
    launcher = layout.venv / "bin" / "stride-ros"
    launcher.write_text(f'#!/bin/sh\nexec "{layout.python}" "{prefix}/lib/stride_ros/stride-ros" "$@"\n')
    launcher.chmod(0o755)


def build(layout: Layout) -> None:
    env = dict(os.environ)
    path = [str(layout.venv / "bin"), env.get("PATH", "")]
    env["PATH"] = os.pathsep.join(path)
    if not layout.sourced:
        env.update(AMENT_PREFIX_PATH=str(layout.venv), CMAKE_PREFIX_PATH=str(layout.venv))
        env["LD_LIBRARY_PATH"] = str(layout.venv / "lib")
        env.pop("PYTHONPATH", None)
    # Files removed from the source tree would otherwise remain as dangling links.
    shutil.rmtree(layout.install / "stride_ros" / "share" / "stride_ros", ignore_errors=True)
    shutil.rmtree(layout.install / "stride_ros" / "lib" / "stride_ros", ignore_errors=True)
    command = [layout.python, "-m", "colcon", "--log-base", layout.build / "log", "build"]
    command += ["--base-paths", ".", "--build-base", layout.build, "--install-base", layout.install]
    command += ["--symlink-install", "--cmake-args", "-G", "Ninja", "-DBUILD_TESTING=OFF"]
    run(layout, [*command, f"-DPython3_EXECUTABLE={layout.python}"], env)


def linked_names() -> str:
    names = (p for folder in LINKED_FOLDERS for p in sorted((ROOT / folder).rglob("*")))
    return "\n".join(str(p.relative_to(ROOT)) for p in names if "__pycache__" not in p.parts)


def steps(layout: Layout) -> list[tuple[str, str, Callable[[Layout], None]]]:
    """Return (description, digest of its dependencies, action) of each step, in order."""
    lock = b"" if layout.sourced else layout.lock.read_bytes()
    requirements = contents("requirements.txt", "requirements-dev.txt") + lock
    origin = "use the sourced" if layout.sourced else "install"
    ros = contents(f"requirements-ros-{layout.distro}.txt")
    environment = contents("tools/venv_environment.py", "tools/setup_steps.py")
    return [
        ("create the virtual environment", digest(kind(layout)), make_venv),
        ("install the requirements (PyTorch and others)", digest(requirements), install_requirements),
        (f"{origin} ROS 2 {layout.distro}", digest(ros), install_ros),
        ("write the environment", digest(environment), write_environment),
        ("build the package with colcon", digest(contents(*BUILD_FILES), linked_names()), build),
    ]


def take_steps(layout: Layout) -> None:
    """Take each step whose stamp does not mark it as done."""
    value = ""
    for number, (name, inputs, action) in enumerate(steps(layout), start=1):
        stamp = layout.stamps / str(number)
        value = digest(inputs, value)  # so that a changed step repeats all later ones
        if stamp.exists() and stamp.read_text() == value:
            continue
        started = time.monotonic()
        say(f"{name} ...")
        try:
            action(layout)
        except (StepFailed, OSError, subprocess.CalledProcessError) as error:
            raise StepFailed(
                f"the step '{name}' failed: {error}\n"
                f"set-up: log in {layout.log}; run the same command again to retry."
            ) from error
        layout.stamps.mkdir(exist_ok=True)
        stamp.write_text(value)
        say(f"{name}: done in {time.monotonic() - started:.0f} s")


def check(layout: Layout) -> None:
    """Raise `StepFailed` if this machine or this Python cannot be used, before anything is changed."""
    found = obstacle(Machine.here(), sourced=bool(layout.sourced))
    if found is None and layout.sourced:
        found = sourced_obstacle(layout.sourced, layout.prefixes)
    if found:
        raise StepFailed(f"{found}.")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Set up everything that `make demo` and `make test` need.")
    parser.add_argument("--check", action="store_true", help="only check whether this machine is suitable")
    parser.add_argument("--chosen", action="store_true", help="also use this Python later, if none is named")
    options = parser.parse_args(arguments)
    try:
        layout = Layout()
        check(layout)
        if options.check:
            say(f"this machine and Python {platform.python_version()} are suitable for ROS 2 {layout.distro}")
            return 0
        take_steps(layout)
        if options.chosen:
            (layout.venv / "chosen-python").write_text(f"{sys.executable}\n")
    except StepFailed as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 2
    return 0
