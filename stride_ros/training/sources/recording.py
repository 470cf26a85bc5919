"""What a training source gives: a video that can be looked at, and the annotated events of its queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import ConfigError
from stride_ros.training.samples import Event
from stride_ros.user_files.values import seconds_of

TOLERANCE = 5.0  # s; an event may lie this far outside its video, a video's length differ by so much


class Video(Protocol):
    """Frames of one recording by time."""

    @property
    def name(self) -> str:
        """What error messages call it."""

    @property
    def start(self) -> float:
        """Time of the first frame, s."""

    @property
    def end(self) -> float:
        """Time of the last frame, s."""

    def read(self, times: Sequence[float]) -> tuple[list[NDArray[np.uint8]], list[float]]:
        """The frames nearest to `times` (s, ascending) as (H, W, 3) uint8 RGB, and their own times; no frame
        twice.

        Raises SourceError when they cannot be decoded.
        """


@dataclass(frozen=True)
class Recording:
    """A video, one of the ways to ask (`queries`) and when it is so; no events means that it never
    happens.
    """

    video: Video
    queries: tuple[str, ...]
    events: tuple[Event, ...]


@dataclass
class Intake:
    """What a source made of its input: items used, and why others were left out, each with a first
    example.
    """

    report: Callable[[str], None] = print
    used: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def skip(self, reason: str, where: str) -> None:
        """Count one item left out; `where` names the file and line or item, and is told at once."""
        self.skipped[reason] += 1
        self.report(f"skipped {where}: {reason}")

    def leave(self, reason: str) -> None:
        """Count one item that is right and not wanted; only the summary tells it."""
        self.skipped[reason] += 1

    def summary(self) -> str:
        """One line with the counts."""
        parts = [f"{self.used} used"] + [
            f"{count} skipped ({reason})" for reason, count in self.skipped.items()
        ]
        return ", ".join(parts)


def check_event(start: object, end: object) -> tuple[float, float]:
    """Start and end of an event (s) as numbers. ConfigError, without the item's name, when they cannot be
    one.
    """
    first, last = seconds_of(start, "start"), seconds_of(end, "end")
    if last <= first:
        raise ConfigError(f"the end ({last:g} s) is not after the start ({first:g} s)")
    return first, last
