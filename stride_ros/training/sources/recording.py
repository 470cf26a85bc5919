"""The output of a training source: a video to read, and the annotated events of its queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import ConfigError
from stride_ros.terminal import tell_notes
from stride_ros.training.samples import Event
from stride_ros.user_files.values import seconds_of

TOLERANCE = 5.0  # s by which an event may be outside its video, and a video's length may differ


class Video(Protocol):
    """Frames of one recording by time."""

    @property
    def name(self) -> str:
        """Its name in error messages."""

    @property
    def start(self) -> float:
        """Time of the first frame, s."""

    @property
    def end(self) -> float:
        """Time of the last frame, s."""

    def read(self, times: Sequence[float]) -> tuple[list[NDArray[np.uint8]], list[float]]:
        """The frames (H, W, 3) uint8 RGB nearest to `times` (s, ascending), and their own times; none twice.

        Raises SourceError if they cannot be decoded.
        """


@dataclass(frozen=True)
class Recording:
    """A video, wordings of a query (`queries`), and its events; without events, it never happens."""

    video: Video
    queries: tuple[str, ...]
    events: tuple[Event, ...]


@dataclass
class Intake:
    """What a source used of its input, and why items were left out, each reason with its first example."""

    report: Callable[[str], None] = lambda sentence: tell_notes([sentence])
    used: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def skip(self, reason: str, where: str) -> None:
        """Count and report an item that is left out; `where` names the file and the line or item."""
        self.skipped[reason] += 1
        self.report(f"{where} is left out: {reason}.")

    def leave(self, reason: str) -> None:
        """Count one item that is right and not wanted; only the summary tells it."""
        self.skipped[reason] += 1

    def summary(self) -> str:
        """One line with the counts."""
        parts = [f"{self.used} used"] + [
            f"{count} left out ({reason})" for reason, count in self.skipped.items()
        ]
        return ", ".join(parts)


def check_event(start: object, end: object) -> tuple[float, float]:
    """Start and end of an event (s) as numbers. ConfigError, without the item's name, if they are invalid."""
    first, last = seconds_of(start, "start"), seconds_of(end, "end")
    if last <= first:
        raise ConfigError(f"the end ({last:g} s) is not after the start ({first:g} s)")
    return first, last
