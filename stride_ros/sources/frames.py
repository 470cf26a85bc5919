"""What every source of frames has: frames with times, thinned and scaled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from stride_ros.world import WorldEvent


@dataclass(frozen=True)
class SourceFrame:
    """One picture. `image`: (height, width, 3) uint8 RGB. `time`: s since the source's first frame."""

    image: np.ndarray
    time: float


class FrameSource(Protocol):
    """A finite or live sequence of frames whose times increase."""

    name: str  # for messages to the user
    live: bool  # the source sets the pace itself
    events: tuple[WorldEvent, ...]  # exact ground truth, by start time; empty where unknown
    notes: Sequence[str]  # what was left out or odd, a sentence each; complete once the frames were read

    def frames(self) -> Iterator[SourceFrame]:
        """Read from the start. Raises SourceError when reading fails."""


def thinned(frames: Iterator[tuple[np.ndarray, float]], rate: float) -> Iterator[tuple[np.ndarray, float]]:
    """Keep at most `rate` frames a second, on a steady grid."""
    due = 0.0
    for image, time in frames:
        if time + 1e-6 >= due:
            yield image, time
            due = max(due + 1 / rate, time)


def scaled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    width, height = size[0] or image.shape[1], size[1] or image.shape[0]
    if (height, width) == image.shape[:2]:
        return image
    import cv2

    shrinks = width < image.shape[1] and height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
