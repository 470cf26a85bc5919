"""Settings with which a stream takes less memory, from the smallest loss to the largest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stride_ros.activation.config import ActivationConfig

_FRAMES = (96, 64, 48, 32)
_TOKENS = (160, 96)


def smaller_settings(config: ActivationConfig) -> Iterator[tuple[dict[str, int], ActivationConfig]]:
    """Changes of `max_frames` and `frame_max_tokens`, each with the resulting configuration."""
    for tokens in (config.frame_max_tokens, *_TOKENS):
        for frames in (config.max_frames, *_FRAMES):
            if frames > config.max_frames or tokens > config.frame_max_tokens:
                continue
            settings: dict[str, int] = {}
            if frames < config.max_frames:
                settings["max_frames"] = frames
            if tokens < config.frame_max_tokens:
                settings["frame_max_tokens"] = tokens
            if settings:
                dropped = min(config.dropped_per_shift, frames // 4 * 2)
                changed = replace(config, max_frames=frames, drop_frames=dropped, frame_max_tokens=tokens)
                yield settings, changed
