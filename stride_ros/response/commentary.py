"""What a responder is told of an event, and what it says about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from stride_ros.response.scheduler import AnswerStatus

LONGEST_NAME = 1000  # characters of a query or a name, as in the activation node's queries


class SpanState(IntEnum):
    """What became of a span; the numbers are those of ActivationSpan.state."""

    ONSET = 0
    UPDATE = 1
    OFFSET = 2
    RETRACTED = 3


@dataclass(frozen=True)
class SpanReport:
    """One message about a span: the fields of an ActivationSpan that a responder needs, stamps in ns.

    `stamp` is that of the newest frame of the decision, `onset` that of the decision that published the span
    (0: not known). `respond` false: its watch wants no commentary. `published` is the time at which the
    message was published (0: not known); messages that are kept for late subscribers come with their old one.
    """

    state: SpanState
    span_id: int
    query: str
    start: int
    end: int
    stamp: int
    onset: int = 0
    frame_id: str = ""
    watch: str = ""
    camera: str = ""
    respond: bool = True
    published: int = 0


@dataclass(frozen=True)
class Commentary:
    """What is said about an event so far.

    span: the first report of it that was heard; onset: stamp of its ONSET in ns.
    text: all text so far; ended: no more is added to it. final: true exactly once for each ONSET.
    status, error: how it went so far, and one sentence unless that is OK.
    model: what answers. latency: s from the arrival of the span.
    frame_stamps: stamps in ns of the frames that the model was shown, oldest first.
    """

    span: SpanReport
    onset: int
    text: str
    ended: bool
    final: bool
    status: AnswerStatus
    error: str
    model: str
    latency: float
    frame_stamps: tuple[int, ...]

    @property
    def spoken(self) -> bool:
        """Whether the text is a whole answer, fit to be read out."""
        return self.ended and self.status is AnswerStatus.OK


class CommentarySink(Protocol):
    """Takes what a responder says: a node publishes it, a replay writes it down."""

    def commentary(self, commentary: Commentary) -> None:
        """More is known about an event. Called from several threads, one call at a time; must not block."""
