"""From frames to what a backend is asked: one way for the node, a replay, `respond`, evaluation, training."""

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
    """The request about an event that began at `start` (ns), with frames that are already chosen.

    At most `config.max_frames` of them are shown, in seconds from the first; of `history`, oldest first, as
    many texts as the configuration says.
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
    """The request about an event from `start` to `end` (ns): of `frames` those that a responder shows."""
    chosen = within(frames, start - nanoseconds(config.pre_seconds), end, config.max_frames)
    return make_request(config, query, chosen, start, history)


def stamped(
    config: ResponseConfig, images: Iterable[NDArray[np.uint8]], times: Iterable[float]
) -> list[StampedFrame]:
    """Images (H, W, 3) uint8 RGB at `times` (s) as a responder remembers them: large ones scaled down."""
    return [
        StampedFrame(shrink(image, config.cache_size), nanoseconds(time))
        for image, time in zip(images, times, strict=True)
    ]


def nanoseconds(seconds: float) -> int:
    """A time in s as a stamp in ns."""
    return round(seconds * NANOSECONDS)
