"""Make requests to backends, in one way for the node, replay, `respond`, evaluation and training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from stride_ros.imaging.resize import shrink
from stride_ros.response.backend import ResponseRequest, TimedFrame
from stride_ros.response.config import ResponseConfig
from stride_ros.response.frame_cache import NANOSECONDS, StampedFrame, evenly, within


def make_request(
    config: ResponseConfig,
    query: str,
    frames: Sequence[StampedFrame],
    start: int,
    history: Sequence[str] = (),
) -> ResponseRequest:
    """Make the request about an event that began at `start` (ns), with frames that are already chosen.

    Up to `config.max_frames` of them are shown, with times in s from the first; of `history`, oldest first,
    as many texts as configured.
    """
    shown = [frames[index] for index in evenly(len(frames), config.max_frames)]
    origin = shown[0].stamp if shown else start
    return ResponseRequest(
        query=query,
        frames=tuple(TimedFrame(frame.image, (frame.stamp - origin) / NANOSECONDS) for frame in shown),
        span_start=(start - origin) / NANOSECONDS,
        history=tuple(history[-config.history :]) if config.history else (),
        system_prompt=config.system_prompt,
        frame_stamps=tuple(frame.stamp for frame in shown),
    )


def request_about(
    config: ResponseConfig,
    query: str,
    frames: Sequence[StampedFrame],
    start: int,
    end: int,
    history: Sequence[str] = (),
) -> ResponseRequest:
    """Make the request about an event from `start` to `end` (ns); choose from `frames` as a responder."""
    chosen = within(frames, start - nanoseconds(config.pre_seconds), end, config.max_frames)
    return make_request(config, query, chosen, start, history)


def stamped(
    config: ResponseConfig, images: Iterable[NDArray[np.uint8]], times: Iterable[float]
) -> list[StampedFrame]:
    """Images (H, W, 3) uint8 RGB at `times` (s) as a responder keeps them: large ones are scaled down."""
    return [
        StampedFrame(shrink(image, config.cache_size), nanoseconds(time))
        for image, time in zip(images, times, strict=True)
    ]


def nanoseconds(seconds: float) -> int:
    """Convert a time in s to a stamp in ns."""
    return round(seconds * NANOSECONDS)
