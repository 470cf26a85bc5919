"""Check whether this machine can be set up, before anything is downloaded."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 14)
WHEEL_PLATFORM = "linux-x86_64"
WHEEL_GLIBC = (2, 28)
ROS_HOME = Path("/opt/ros")


@dataclass(frozen=True)
class Machine:
    """The facts that decide whether the set-up can work: the interpreter, the machine and its tools."""

    version: tuple[int, int]
    implementation: str = "CPython"
    free_threaded: bool = False
    platform: str = WHEEL_PLATFORM
    glibc: tuple[int, ...] | None = WHEEL_GLIBC
    venv: bool = True
    headers: bool = True
    compiler: bool = True
    installed_ros: tuple[str, ...] = ()

    @classmethod
    def here(cls) -> Machine:
        """The machine and the interpreter that are running this."""
        name, libc_version = platform.libc_ver()
        headers = Path(sysconfig.get_paths()["include"], "Python.h")
        compilers = (os.environ.get("CXX", "").partition(" ")[0] or "c++", "g++", "clang++")
        return cls(
            version=sys.version_info[:2],
            implementation=platform.python_implementation(),
            free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            platform=sysconfig.get_platform(),
            glibc=tuple(int(part) for part in libc_version.split(".")[:2]) if name == "glibc" else None,
            venv=all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")),
            headers=headers.is_file(),
            compiler=any(shutil.which(compiler) for compiler in compilers),
            installed_ros=tuple(str(path) for path in sorted(ROS_HOME.glob("*/setup.bash"))),
        )

    @property
    def python(self) -> str:
        return f"{self.version[0]}.{self.version[1]}"


def obstacle(machine: Machine, sourced: bool) -> str | None:
    """A sentence on why the set-up cannot work here, with the remedy; None if it can.

    `sourced`: whether a ROS 2 distribution is sourced, so that the wheels and their requirements are not
    needed.
    """
    if machine.version < OLDEST:
        return f"Python {machine.python} is too old, 3.10 to 3.14 work: use `make PYTHON=python3.12 demo`"
    if not sourced and (found := _no_wheels(machine)):
        return found
    return _missing_tools(machine)


def _no_wheels(machine: Machine) -> str | None:
    """Why there are no ROS 2 wheels for this machine or interpreter."""
    if machine.platform != WHEEL_PLATFORM:
        reason = f"ROS 2 comes as wheels for {WHEEL_PLATFORM} only and this is {machine.platform}"
        return f"{reason}: {_ros_instead(machine)}"
    if machine.glibc is None or machine.glibc < WHEEL_GLIBC:
        needed = ".".join(map(str, WHEEL_GLIBC))
        has = f"glibc {'.'.join(map(str, machine.glibc))}" if machine.glibc else "another C library"
        reason = f"the ROS 2 wheels need glibc {needed} or newer and this system has {has}"
        return f"{reason}: {_ros_instead(machine)}"
    if machine.implementation != "CPython" or machine.free_threaded:
        what = "free-threaded CPython" if machine.free_threaded else machine.implementation
        return f"{what} is not supported, use the usual CPython: `make PYTHON=python3.12 demo`"
    if machine.version > NEWEST:
        return (
            f"there are no ROS 2 wheels for Python {machine.python} yet, 3.10 to 3.14 have them: "
            "use `make PYTHON=python3.12 demo`"
        )
    return None


def _ros_instead(machine: Machine) -> str:
    """The remedy without wheels."""
    if machine.installed_ros:
        return f"source the ROS 2 that is installed (`. {machine.installed_ros[-1]}`) and run make again"
    return (
        "install ROS 2 (https://docs.ros.org), source its setup.bash and run make again, "
        "or work in a container that has ROS 2"
    )


def _missing_tools(machine: Machine) -> str | None:
    """The operating system packages that the set-up lacks, with the command to install them."""
    prefix = f"python{machine.python}"
    needed = [
        (machine.venv, f"the venv module of Python {machine.python}", f"{prefix}-venv"),
        (machine.headers, f"the headers of Python {machine.python}", f"{prefix}-dev"),
        (machine.compiler, "a C++ compiler", "g++"),
    ]
    missing = [(what, package) for there, what, package in needed if not there]
    if not missing:
        return None
    names = " and ".join(what for what, _ in missing)
    packages = " ".join(package for _, package in missing)
    return f"{names} must be installed first; on Debian and Ubuntu: sudo apt install {packages}"


def sourced_python(prefixes: list[str]) -> str | None:
    """The Python version, such as 3.12, of a sourced distribution's rclpy; None without rclpy."""
    for prefix in prefixes:
        for lib in ("lib", "local/lib"):
            for package in sorted(Path(prefix, lib).glob("python3.*/*-packages/rclpy/__init__.py")):
                return package.parts[-4].removeprefix("python")
    return None


def sourced_obstacle(distro: str, prefixes: list[str]) -> str | None:
    """Why this interpreter cannot use the sourced distribution; None if it can import its rclpy."""
    attempt = subprocess.run([sys.executable, "-c", "import rclpy"], capture_output=True, text=True)
    if attempt.returncode == 0:
        return None
    version = ".".join(map(str, sys.version_info[:2]))
    wanted = sourced_python(prefixes)
    if wanted and wanted != version:
        # The system's Python also finds the packages that the distribution's installer added.
        system = Path(f"/usr/bin/python{wanted}")
        return (
            f"ROS 2 {distro}, which is sourced, is for Python {wanted} and this is {version}: "
            f"use `make PYTHON={system if system.exists() else system.name} demo`"
        )
    reason = (attempt.stderr.strip().splitlines() or ["no reason given"])[-1]
    return (
        f"rclpy of the sourced ROS 2 {distro} cannot be imported ({reason}): install ros-{distro}-rclpy, "
        "or run make in a terminal where no ROS is sourced to get ROS 2 as wheels"
    )
