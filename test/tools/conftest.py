"""What the tests of the tools share: the folder of the tools, and an interpreter without this environment."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("AMENT_PREFIX_PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "ROS_DISTRO", "ROS_DISTRO_PYPI")


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of tools/."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module


@pytest.fixture
def base_python() -> str:
    """The interpreter that the environment of the tests was made with."""
    return getattr(sys, "_base_executable", sys.executable)


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """The variables of this process without what our environment and a sourced ROS set."""
    return {name: value for name, value in os.environ.items() if name not in OURS}
