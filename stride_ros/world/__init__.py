"""Synthetic robot-camera videos with exact ground truth, for the demo, training, tests and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stride_ros.world.story import WorldConfig, WorldEvent
    from stride_ros.world.world import World

__all__ = ["World", "WorldConfig", "WorldEvent"]


def __getattr__(name: str) -> Any:
    """Import NumPy and OpenCV only when a world is made."""
    if name == "World":
        from stride_ros.world.world import World

        return World
    if name in ("WorldConfig", "WorldEvent"):
        from stride_ros.world import story

        return getattr(story, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
