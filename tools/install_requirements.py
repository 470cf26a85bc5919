#!/usr/bin/env python3
"""Install requirements.txt for the Python that runs this, without replacing packages of the robot.

PyTorch (on a Jetson the only build that can use its GPU), NumPy (cv_bridge is compiled for one version) and
OpenCV are kept if they can be imported, however they were installed. A missing PyTorch is installed as the
build for this machine's GPU, or for the CPU if there is none.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

try:
    from pip._vendor.packaging.requirements import Requirement
except ImportError:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    raise SystemExit(
        f"{sys.executable} has no pip: use a virtual environment, made with `{name} -m venv "
        "--system-site-packages .venv`."
    ) from None

from locked_install import NotInTheLock, locked_install, read_lock

ROOT = Path(__file__).resolve().parent.parent
KEPT = {"torch": "torch", "numpy": "numpy", "opencv-python-headless": "cv2"}
JETSON = Path("/etc/nv_tegra_release")
PROBE_TIMEOUT = 60.0  # s; an index that cannot be reached fails at once or never answers


class CannotInstall(Exception):
    """Installing would break this machine or cannot work; the message has the remedy."""


@dataclass(frozen=True)
class Present:
    """An importable module: its stated version, its path, and its CUDA version."""

    version: str
    path: str
    cuda: str | None


def importable(module: str) -> Present | None:
    """Import a module in a separate process of this Python; None if that fails."""
    code = (
        f"import json, {module} as m; cuda = getattr(getattr(m, 'version', None), 'cuda', None); "
        "print(json.dumps([str(m.__version__), m.__file__, cuda]))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if answer.returncode != 0:
        return None
    return Present(*json.loads(answer.stdout.splitlines()[-1]))


def read_requirements(*files: Path) -> list[Requirement]:
    """The requirements of these files that apply to this Python."""
    found = [Requirement(line) for file in files for line in read_lock(file).versions]
    return [item for item in found if item.marker is None or item.marker.evaluate()]


def keep_what_is_there(requirements: list[Requirement]) -> tuple[list[Requirement], list[str], list[str]]:
    """Return the requirements left to install, constraints for pip, and a line about each kept package.

    Raises `CannotInstall` if such a package is too old, so that pip would replace or hide it.
    """
    left, constraints, notes = [], [], []
    for requirement in requirements:
        present = importable(KEPT[requirement.name]) if requirement.name in KEPT else None
        if present is None:
            left.append(requirement)
            continue
        module = KEPT[requirement.name]
        build = f", CUDA {present.cuda}" if present.cuda else ""
        what = f"{module} {present.version}{build} of {Path(present.path).parent}"
        if not requirement.specifier.contains(present.version, prereleases=True):
            raise CannotInstall(
                f"{what} does not fit, {module}{requirement.specifier} is needed: "
                "install another version in the same way as this one, or remove it."
            )
        notes.append(f"kept: {what}")
        if module == "cv2":  # any of its distributions is fine, and pip does not know Debian's
            continue
        try:
            constraints.append(f"{requirement.name}=={importlib.metadata.version(requirement.name)}")
        except importlib.metadata.PackageNotFoundError:
            raise CannotInstall(
                f"{what} is unknown to pip, which would install another one: install it as a wheel."
            ) from None
        left.append(requirement)
    return left, constraints, notes


def satisfied(requirement: Requirement) -> bool:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def find_uv() -> list[str] | None:
    """The command uv, installed with pip if it is missing; None if that fails."""
    here = Path(sys.executable).with_name("uv")
    if here.exists():
        return [str(here)]
    if found := shutil.which("uv"):
        return [found]
    subprocess.run([sys.executable, "-m", "pip", "install", "uv"], check=False)
    return [str(here)] if here.exists() else None


def install_torch(requirement: Requirement, constraints: list[str], backend: str) -> str:
    """Install the build of PyTorch for this machine, and return where it came from.

    uv knows PyTorch's own indexes and which of them fits the GPU and its driver. If they cannot be reached,
    PyTorch is left to pip, which works as well, but PyPI's build for x86-64 contains all of CUDA.
    """
    if JETSON.exists() and backend == "auto":
        raise CannotInstall(
            "this is a Jetson, whose GPU only NVIDIA's build of PyTorch for JetPack can use: "
            "install that first, or run this again with --torch-backend cpu."
        )
    uv = find_uv()
    if uv is None:
        return "PyTorch: left to pip, since uv cannot be installed"
    command = [*uv, "pip", "install", "--python", sys.executable, "--torch-backend", backend]
    command += [*constraints, str(requirement)]
    failed = "PyTorch: left to pip, since PyTorch's own index"
    # The certificates that the system trusts, as pip does.
    trusting = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", **os.environ}
    quick = {**trusting, "UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": str(int(PROBE_TIMEOUT))}
    try:
        probe = subprocess.run([*command, "--dry-run"], env=quick, timeout=PROBE_TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"{failed} did not answer in {PROBE_TIMEOUT:.0f} s"
    if probe.returncode != 0:
        return f"{failed} cannot be reached or has nothing for this machine"
    if subprocess.run(command, env=trusting).returncode != 0:
        return f"{failed} broke off"
    return "PyTorch: from its own index"


def pinned(lock: Path | None, requirement: Requirement) -> Requirement:
    """A requirement with the version from a lock file, if there is one."""
    exact = (item for item in read_requirements(*([lock] if lock else [])) if item.name == requirement.name)
    return next(exact, requirement)


def install(options: argparse.Namespace) -> None:
    files = [ROOT / "requirements.txt", *([ROOT / "requirements-dev.txt"] if options.dev else [])]
    requirements = read_requirements(*files)
    with tempfile.TemporaryDirectory() as folder:
        arguments, notes = [], []
        if options.lock:
            versions = Path(folder, "versions.txt")
            versions.write_text("\n".join([*read_lock(options.lock).versions, ""]))
            arguments += ["-c", str(versions)]
        else:
            requirements, kept, notes = keep_what_is_there(requirements)
            constraints = Path(folder, "kept.txt")
            constraints.write_text("\n".join([*kept, ""]))
            arguments += ["-c", str(constraints)]
        for note in notes:
            print(f"* {note}", flush=True)
        command = [sys.executable, "-m", "pip", "install", *arguments, *map(str, requirements)]
        if options.dry_run:
            return print(" ".join([*command[1:], "# with:", *([] if options.lock else kept)]))
        torch = next(item for item in requirements if item.name == "torch")
        if not satisfied(torch := pinned(options.lock, torch)):
            print(f"* {install_torch(torch, arguments, options.torch_backend)}", flush=True)
        if options.lock:
            status = locked_install(options.lock, list(map(str, requirements)))
        else:
            status = subprocess.run(command).returncode
        if status:
            raise CannotInstall(f"pip ended with status {status}; its last lines above say why.")
    if found := importable("torch"):
        print(f"* PyTorch {found.version} ({f'CUDA {found.cuda}' if found.cuda else 'CPU build'})")


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--dev", action="store_true", help="also what building and testing need")
    parser.add_argument(
        "--lock", type=Path, help="install exactly these versions, whatever is already installed"
    )
    parser.add_argument(
        "--torch-backend",
        default=os.environ.get("UV_TORCH_BACKEND", "auto"),
        help="build of PyTorch if it is missing: auto (default), cpu, cu130 or another name that uv knows",
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the arguments for pip")
    try:
        install(parser.parse_args())
    except (CannotInstall, NotInTheLock) as error:
        print(f"install_requirements: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
