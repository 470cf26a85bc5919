"""The interface of all sources: frames with times, reduced to a rate and scaled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from stride_ros.imaging.resize import resize

if TYPE_CHECKING:
    from stride_ros.sources.pictures import Picture
    from stride_ros.world import WorldEvent

PACE = 10.0  # Hz, at which a video is shown where nothing else is asked for
_GRID = 1e-6  # s; a frame that is this much early is due
MOST_STILL = 1.0  # s that a picture may stay before it is shown again


@dataclass(frozen=True)
class SourceFrame:
    """One frame. `image`: (height, width, 3) uint8 RGB. `time`: s since the source's first frame."""

    image: NDArray[np.uint8]
    time: float


class FrameSource(Protocol):
    """A finite or live sequence of frames with increasing times."""

    name: str  # for messages to the user
    live: bool  # whether the source itself sets the pace

    @property
    def events(self) -> tuple[WorldEvent, ...]:
        """Exact ground truth, by start time; empty if unknown."""

    @property
    def own_rate(self) -> float | None:
        """Pictures per second that the source has itself; None if it is unknown, or as asked for."""

    @property
    def notes(self) -> Sequence[str]:
        """What was left out or odd, one sentence each; complete once the frames have been read."""

    def frames(self) -> Iterator[SourceFrame]:
        """Read the frames from the start. Raises SourceError if reading fails."""


def paced(pictures: Iterator[Picture], rate: float) -> Iterator[tuple[Picture, float]]:
    """Yield up to `rate` pictures per second on a steady grid, with the times (s) at which they are shown.

    A picture keeps its own time. One that lasts long, as in screen recordings or from cameras that send only
    changes, is repeated at the pace of the pictures before it, at least once a second or at `rate`.
    """
    period = 1 / rate
    due, shown, usual = 0.0, 0.0, MOST_STILL
    held: Picture | None = None
    for picture in pictures:
        if held is not None:
            step = max(period, min(usual, MOST_STILL))
            while picture.time - shown > 1.5 * step:
                shown += step
                due = max(due + period, shown)
                yield held, shown
            usual = _usual(usual, picture.time - held.time)
        if picture.time + _GRID >= due:
            yield picture, picture.time
            shown, due = picture.time, max(due + period, picture.time)
        held = picture
    if held is None:
        return
    step = max(period, min(usual, MOST_STILL))
    while shown + step + _GRID < held.time + held.duration:
        shown += step
        yield held, shown


def _usual(before: float, step: float) -> float:
    """The usual step between pictures (s): follows shorter steps at once and longer ones gradually."""
    return step if step <= before else min(step, before * 1.25)


def until(time: float, before: float, period: float) -> float:
    """When the frame at `time` is over, if it stays as long as the one at `before` did (s).

    It stays for at least a `period`, and no longer than one may be shown for.
    """
    return time + min(max(time - before, period), MOST_STILL)


def scaled(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An (H, W, 3) image scaled to `size` (width, height), where 0 means the image's own."""
    return resize(image, (size[0] or image.shape[1], size[1] or image.shape[0]))
