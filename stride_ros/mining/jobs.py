"""The messages between the driver and its workers."""

from __future__ import annotations

from dataclasses import dataclass, field

from stride_ros.events.recording import PicturedEvent


@dataclass(frozen=True)
class Job:
    """A recording to mine.

    number: identifies it in answers; path: the absolute path; shown: the path as given, for messages; origin:
    its name in the log.
    """

    number: int
    path: str
    shown: str
    origin: str


@dataclass(frozen=True)
class Result:
    """The result of a recording: the JSON of its run with its events, or why it cannot be used.

    `lasting`: whether the problem remains until the recording changes.
    """

    number: int
    document: str = ""
    events: tuple[PicturedEvent, ...] = ()
    seconds: float = 0.0
    problem: str = ""
    lasting: bool = True


@dataclass(frozen=True)
class Report:
    """An answer of a worker: finished recordings, and the progress of the others.

    `progress`: seconds done and the length of the recording, by number. `problem`: why the worker cannot work
    at all, such as a missing model. `unread`: paths that its machine, `node`, cannot read.
    """

    results: tuple[Result, ...] = ()
    progress: dict[int, tuple[float, float]] = field(default_factory=dict)
    problem: str = ""
    unread: tuple[str, ...] = ()
    node: str = ""


@dataclass(frozen=True)
class Death:
    """A worker ended by itself, and how."""

    reason: str
