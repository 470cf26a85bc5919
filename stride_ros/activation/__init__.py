"""When to speak: frames in, decisions and spans out. The names below are the public ones.

They are imported when they are first used, so that messages, launch files and `--help` need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stride_ros.activation.config import ActivationConfig, TriggerConfig
    from stride_ros.activation.engine import ActivationEngine, PushError
    from stride_ros.activation.model import ActivationModel
    from stride_ros.activation.session import ActivationSession
    from stride_ros.activation.spans import SpanEvent, SpanState
    from stride_ros.activation.stream import Stream
    from stride_ros.activation.watch import ActivationUpdate, Watch

__all__ = [
    "ActivationConfig",
    "ActivationEngine",
    "ActivationModel",
    "ActivationSession",
    "ActivationUpdate",
    "PushError",
    "SpanEvent",
    "SpanState",
    "Stream",
    "TriggerConfig",
    "Watch",
]

_MODULES = {
    "ActivationConfig": "config",
    "ActivationEngine": "engine",
    "ActivationModel": "model",
    "ActivationSession": "session",
    "ActivationUpdate": "watch",
    "PushError": "engine",
    "SpanEvent": "spans",
    "SpanState": "spans",
    "Stream": "stream",
    "TriggerConfig": "config",
    "Watch": "watch",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
