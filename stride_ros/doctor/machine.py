"""What would be used on this machine: Python, ROS, PyTorch, library versions, memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from stride_ros.process.share import share_folders


@dataclass(frozen=True)
class Library:
    """A library's installed version, "" if it is absent, and the versions that the package supports."""

    name: str
    version: str
    wanted: str
    fits: bool


def libraries() -> list[Library]:
    """The requirements of requirements.txt and what is installed; empty without that file."""
    from packaging.requirements import Requirement

    found = []
    for line in _requirements():
        wanted = Requirement(line)
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        fits = bool(version) and wanted.specifier.contains(version, prereleases=True)
        found.append(Library(wanted.name, version, str(wanted.specifier), fits))
    return found


def ros() -> str:
    """The name of the ROS distribution, or a text that there is none."""
    try:
        import rclpy  # noqa: F401
    except ImportError:
        return "none (rclpy cannot be imported; source a ROS 2 distribution, or run make setup)"
    distro = os.environ.get("ROS_DISTRO", "")
    if distro:
        return distro
    try:
        return f"from PyPI, rclpy {importlib.metadata.version('rclpy')}"
    except importlib.metadata.PackageNotFoundError:
        return "unknown distribution (ROS_DISTRO is not set)"


def python() -> str:
    return f"{platform.python_version()} on {platform.machine()}"


def device_memory(device: str) -> tuple[int, int]:
    """Total and currently free bytes of a device's memory. `device`: cpu, cuda or cuda:N."""
    if device != "cpu":
        import torch

        free, total = torch.cuda.mem_get_info(device)
        return total, free
    values = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        values[name] = int(value.split()[0]) * 1024
    return values["MemTotal"], values["MemAvailable"]


def _requirements() -> list[str]:
    for folder in (Path(__file__).resolve().parents[2], *share_folders()):
        file = folder / "requirements.txt"
        if file.is_file():
            lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
            return [line for line in lines if line]
    return []
