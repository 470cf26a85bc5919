"""What the driver and its workers say to each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from stride_ros.replay.event_sink import Found


@dataclass(frozen=True)
class Job:
    """A recording to mine: a number for answers; its whole path; what that is in sentences, as it was given;
    and what it is called in the log.
    """

    number: int
    path: str
    shown: str
    origin: str


@dataclass(frozen=True)
class Result:
    """What a recording came to: the JSON of its run with its events, or why it cannot be used.

    `lasting`: whether that will be so until the recording changes.
    """

    number: int
    document: str = ""
    events: tuple[Found, ...] = ()
    seconds: float = 0.0
    problem: str = ""
    lasting: bool = True


@dataclass(frozen=True)
class Report:
    """An answer of a worker: recordings that are over, and how far the others have come.

    `progress`: seconds of the recording done and its whole length, by number. `problem`: why the worker
    cannot work at all, such as a model that is not there.
    """

    results: tuple[Result, ...] = ()
    progress: dict[int, tuple[float, float]] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Death:
    """A worker ended by itself, and how."""

    reason: str
