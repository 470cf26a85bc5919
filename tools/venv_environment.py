"""Give a virtual environment's interpreter the ROS environment without sourcing anything.

tools/bootstrap.py copies this file into the virtual environment and appends a call to `enter`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def enter(workspace: str, wheels: bool) -> None:
    """Put the built workspace, and ROS if it comes from wheels, on all search paths.

    The loader reads LD_LIBRARY_PATH when a process starts, so the interpreter restarts itself once if that
    variable lacks our folders.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    modules = Path(workspace, "lib", version, "site-packages")
    if str(modules) not in sys.path:
        sys.path.append(str(modules))
    prefixes, libraries = [workspace], [f"{workspace}/lib"]
    if wheels:
        prefixes.append(sys.prefix)
        site_packages = Path(sys.prefix, "lib", version, "site-packages")
        libraries += [f"{sys.prefix}/lib", *(str(p) for p in sorted(site_packages.glob("ros_*.libs")))]
        # The ROS wheels' own start-up file would restart the interpreter a second time.
        os.environ["_ROS_WHEELS_BOOTSTRAP_COMPLETE"] = "1"
    _prepend("AMENT_PREFIX_PATH", prefixes)
    if _prepend("LD_LIBRARY_PATH", libraries):
        os.execve(sys.executable, sys.orig_argv, os.environ)


def _prepend(variable: str, values: list[str]) -> bool:
    """Prepend missing values to a search path; True if any was missing."""
    present = [part for part in os.environ.get(variable, "").split(os.pathsep) if part]
    missing = [value for value in values if value not in present]
    if missing:
        os.environ[variable] = os.pathsep.join(missing + present)
    return bool(missing)
