#!/usr/bin/env python3
"""Set up everything `make demo` and `make test` need, and do nothing when nothing changed.

Makes a virtual environment with ROS 2 from Python wheels (or on top of the ROS distribution that is
sourced), installs the pinned requirements and builds this package with colcon. Uses the standard library
only. Each finished step leaves a stamp, so that a failed run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHEEL_DISTROS = ("kilted", "jazzy")
# Folders whose file lists decide what is installed; contents are linked, so only names matter.
LINKED_FOLDERS = ("stride_ros", "scripts", "launch", "config", "models")
BUILD_FILES = ("package.xml", "CMakeLists.txt", "action/*.action", "msg/*.msg", "srv/*.srv")


class StepFailed(Exception):
    """A step of the set-up failed; the message says how to go on."""


class Layout:
    """Where things go: Kilted or a sourced ROS in .venv, the other wheel distribution beside it."""

    def __init__(self) -> None:
        sourced = os.environ.get("ROS_DISTRO") if os.environ.get("AMENT_PREFIX_PATH") else None
        wheels = os.environ.get("ROS_DISTRO_PYPI", "")
        if wheels and wheels not in WHEEL_DISTROS:
            raise StepFailed(f"ROS_DISTRO_PYPI={wheels} is not known: use one of {', '.join(WHEEL_DISTROS)}.")
        # What an activated environment of our own exports is not a sourced distribution.
        if sourced and str(ROOT) in os.environ["AMENT_PREFIX_PATH"]:
            sourced = None
        self.sourced = None if wheels else sourced
        self.distro = wheels or self.sourced or WHEEL_DISTROS[0]
        suffix = "" if self.sourced or self.distro == WHEEL_DISTROS[0] else f"-{self.distro}"
        self.venv = ROOT / f".venv{suffix}"
        self.build = ROOT / f"build{suffix}"
        self.install = ROOT / f"install{suffix}"
        self.python = self.venv / "bin" / "python"
        self.stamps = self.venv / "stamps"
        self.log = self.venv / "bootstrap.log"

    def site_packages(self) -> Path:
        return next((self.venv / "lib").glob("python3.*/site-packages"))


def say(text: str) -> None:
    print(f"\033[1m[setup]\033[0m {text}" if sys.stdout.isatty() else f"[setup] {text}", flush=True)


def run(layout: Layout, command: Iterable[str | Path], env: dict[str, str] | None = None) -> None:
    """Run a command with its output in the log; show the log's end when it fails."""
    words = [str(word) for word in command]
    with layout.log.open("a") as log:
        log.write(f"\n$ {' '.join(words)}\n")
        log.flush()
        process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
        status = wait_showing_progress(layout, process)
    if status != 0:
        print("\n".join(layout.log.read_text(errors="replace").splitlines()[-25:]), file=sys.stderr)
        raise StepFailed(f"`{' '.join(words[:4])} ...` ended with status {status}.")


def wait_showing_progress(layout: Layout, process: subprocess.Popen[bytes]) -> int:
    """Wait for a command; on a terminal show the seconds and the newest line of its log meanwhile."""
    started = time.monotonic()
    try:
        while True:
            try:
                return process.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                if sys.stdout.isatty():
                    tail = layout.log.read_text(errors="replace").rstrip().rpartition("\n")[2].strip()
                    width = max(shutil.get_terminal_size().columns - 12, 20)
                    print(f"\r\033[K{time.monotonic() - started:6.0f} s  {tail[:width]}", end="", flush=True)
    finally:
        if process.poll() is None:
            process.kill()
        if sys.stdout.isatty():
            print("\r\033[K", end="", flush=True)


def digest(*parts: str | bytes) -> str:
    value = hashlib.sha256()
    for part in parts:
        value.update(part.encode() if isinstance(part, str) else part)
    return value.hexdigest()


def contents(*patterns: str) -> bytes:
    return b"".join(path.read_bytes() for pattern in patterns for path in sorted(ROOT.glob(pattern)))


def make_venv(layout: Layout) -> None:
    layout.venv.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "venv", layout.venv]
    if layout.sourced:
        command.append("--system-site-packages")
    try:
        run(layout, command)
    except StepFailed as error:
        raise StepFailed(f"{error} On Debian and Ubuntu: sudo apt install python3-venv.") from None
    run(layout, [layout.python, "-m", "pip", "install", "--upgrade", "pip", "setuptools<80", "wheel"])


def install_requirements(layout: Layout) -> None:
    files = ["requirements.txt", "requirements-dev.txt"]
    run(layout, [layout.python, "-m", "pip", "install", *(w for name in files for w in ("-r", name))])


def install_ros(layout: Layout) -> None:
    if layout.sourced:
        return
    run(layout, [layout.python, "-m", "pip", "install", "-r", f"requirements-ros-{layout.distro}.txt"])
    rewrite_wheel_paths(layout)


def rewrite_wheel_paths(layout: Layout) -> None:
    """Point the wheels' CMake files at this interpreter: they name folders of the machine that made them."""
    query = "import sysconfig, numpy; print(sysconfig.get_paths()['include']); print(numpy.get_include())"
    answer = subprocess.run([layout.python, "-c", query], check=True, capture_output=True, text=True)
    python_include, numpy_include = answer.stdout.split()
    baked = {
        "/opt/python/cp311-cp311/include/python3.11": python_include,
        "/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include": numpy_include,
    }
    for path in (layout.venv / "share").rglob("*.cmake"):
        text = path.read_text(errors="replace")
        if any(old in text for old in baked):
            for old, new in baked.items():
                text = text.replace(old, new)
            path.write_text(text)


def write_environment(layout: Layout) -> None:
    """Let .venv/bin/python find ROS and the built messages with nothing sourced."""
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
        env.pop("PYTHONPATH", None)
    # Names that disappeared from the source tree would stay behind as dangling links.
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
    """(description, digest of all it depends on, action) in order; a changed step renews all later ones."""
    kind = f"{layout.distro} {layout.sourced} {sys.version_info[:2]} {ROOT}"
    requirements = contents("requirements.txt", "requirements-dev.txt")
    origin = "use the sourced" if layout.sourced else "install"
    ros = contents(f"requirements-ros-{layout.distro}.txt")
    return [
        ("make the virtual environment", digest(kind), make_venv),
        ("install the requirements (torch and others)", digest(requirements), install_requirements),
        (f"{origin} ROS 2 {layout.distro}", digest(ros), install_ros),
        ("write the environment", digest(contents("tools/*.py")), write_environment),
        ("build the package with colcon", digest(contents(*BUILD_FILES), linked_names()), build),
    ]


def main() -> int:
    try:
        layout = Layout()
    except StepFailed as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 2
    renewed = ""
    for number, (name, value, action) in enumerate(steps(layout), start=1):
        stamp = layout.stamps / str(number)
        value = digest(value, renewed)
        if stamp.exists() and stamp.read_text() == value:
            continue
        started = time.monotonic()
        say(f"{name} ...")
        try:
            action(layout)
        except (StepFailed, OSError, subprocess.CalledProcessError) as error:
            print(f"set-up: the step '{name}' failed: {error}", file=sys.stderr)
            print(f"set-up: log in {layout.log}; run the same command again to retry.", file=sys.stderr)
            return 1
        layout.stamps.mkdir(exist_ok=True)
        stamp.write_text(value)
        say(f"{name}: done in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
