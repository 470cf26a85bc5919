"""When to speak: frames in, decisions and spans out. The names below are the public ones.

They are imported when they are first used, so that messages, launch files and `--help` need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stride_ros.activation.config import ActivationConfig, TriggerConfig
    from stride_ros.activation.model import ActivationModel
    from stride_ros.activation.session import ActivationSession
    from stride_ros.activation.spans import SpanEvent, SpanState
    from stride_ros.activation.stream import ActivationStream, ActivationUpdate

__all__ = [
    "ActivationConfig",
    "ActivationModel",
    "ActivationSession",
    "ActivationStream",
    "ActivationUpdate",
    "SpanEvent",
    "SpanState",
    "TriggerConfig",
]

_MODULES = {
    "ActivationConfig": "config",
    "ActivationModel": "model",
    "ActivationSession": "session",
    "ActivationStream": "stream",
    "ActivationUpdate": "stream",
    "SpanEvent": "spans",
    "SpanState": "spans",
    "TriggerConfig": "config",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
