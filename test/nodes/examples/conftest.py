"""Loads the example programs as a user would copy them, and sends them messages."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
LIFE = 1 << 21  # between the span ids of one life of the activation node and those of the next


@pytest.fixture
def example() -> Callable[[str], ModuleType]:
    """Import a file of examples/."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def span() -> Callable[..., Any]:
    """Make an ActivationSpan of a state and number; `age` in s of its newest frame, `at` a stamp in s."""
    pytest.importorskip("stride_ros.msg", reason="the built messages of stride_ros are missing")
    from stride_ros.msg import ActivationSpan

    from stride_ros.nodes.messages import to_time

    def make(
        state: str, number: int, *, age: float = 0.0, at: float | None = None, life: int = 7
    ) -> ActivationSpan:
        stamp = to_time(round((time.time() - age if at is None else at) * 1e9))
        message = ActivationSpan(state=getattr(ActivationSpan, state), span_id=life * LIFE + number)
        message.header.stamp = stamp
        message.onset = stamp
        return message

    return make
