"""What a responder is told about an event, and the commentary it gives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from stride_ros.response.scheduler import AnswerStatus

LONGEST_NAME = 1000  # characters of a query or name, as for the activation node's queries


class SpanState(IntEnum):
    """The state of a span; the numbers are those of ActivationSpan.state."""

    ONSET = 0
    UPDATE = 1
    OFFSET = 2
    RETRACTED = 3


@dataclass(frozen=True)
class SpanReport:
    """One message about a span: the fields of an ActivationSpan that a responder needs, stamps in ns.

    `stamp` is that of the newest frame of the decision, `onset` that of the decision that published the span
    (0: unknown). `respond` false: its watch wants no commentary. `published` is the time at which the message
    was published (0: unknown); messages that are kept for late subscribers have their original time.
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
    """The commentary on an event so far.

    span: its first report that was received; onset: stamp of its ONSET in ns. text: all text so far; ended:
    whether the text is complete. final: true exactly once for each ONSET. status, error: the status so far,
    and one sentence unless it is OK. model: the model that answers. latency: s from the arrival of the span.
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
        """Whether the text is a complete answer that can be read aloud."""
        return self.ended and self.status is AnswerStatus.OK


class CommentarySink(Protocol):
    """Takes the commentary of a responder: a node publishes it, a replay records it."""

    def commentary(self, commentary: Commentary) -> None:
        """Take commentary on an event. Called from several threads, one call at a time; must not block."""
