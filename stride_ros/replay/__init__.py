"""Recordings as tests: a bag in, spans and commentary out, compared with ground truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stride_ros.replay.api import Replay, replay

__all__ = ["Replay", "replay"]

DEFAULT_MODEL = "stride-tiny"


def __getattr__(name: str) -> Any:
    """Import torch and the bag reader only when something is replayed."""
    if name in __all__:
        from stride_ros.replay import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
