"""From slot labels to spans, and from spans to events: extraction, tracking over decisions, the trigger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from stride_ros.activation.config import TriggerConfig
from stride_ros.activation.denoising import Probabilities
from stride_ros.activation.window import ACTIVE, Labels, SlotWindow

_TIME_TOLERANCE = 1e-6  # s; sums of slot times differ in their last bits


class SpanState(IntEnum):
    """What happened to a span; the values are those of stride_ros/msg/ActivationSpan."""

    ONSET = 0
    UPDATE = 1
    OFFSET = 2
    RETRACTED = 3


ENDS = (SpanState.OFFSET, SpanState.RETRACTED)


@dataclass(frozen=True)
class SpanEvent:
    """A published change of a span.

    span_id counts from 1 in a session; start, end and time are in session time (s), time being that of the
    newest frame the decision saw; a span that is active from the start begins with its first slot, before the
    first frame; confidence: mean P(active) over the span's slots. Each id has one ONSET first, then UPDATEs,
    then one OFFSET or RETRACTED.
    """

    state: SpanState
    span_id: int
    query: str
    start: float
    end: float
    confidence: float
    time: float


@dataclass(eq=False)
class Span:
    """A span under observation: start and end (s), mean P(active) over its slots in the window.

    active_seconds: the longest uninterrupted activity seen in it; span_id: 0 until it is published;
    published: start and end of its last event.
    """

    start: float
    end: float
    confidence: float = 0.0
    active_seconds: float = 0.0
    span_id: int = 0
    published: tuple[float, float] | None = None

    def continues(self, earlier: Span) -> None:
        """Continue an earlier span: keep its start, longest activity, id and last event."""
        self.start = min(self.start, earlier.start)
        self.active_seconds = max(self.active_seconds, earlier.active_seconds)
        self.span_id, self.published = earlier.span_id, earlier.published


def extract_spans(
    labels: Labels, probabilities: Probabilities, window: SlotWindow, mode: str, max_gap: float
) -> list[Span]:
    """Spans in the window, in order: `hull` at most one, `runs` one per run, close runs bridged."""
    spans = []
    for group in _groups(_runs(labels), window, mode, max_gap):
        first, last = group[0][0], group[-1][1]
        span = Span(float(window.starts[first]), float(window.ends[last]))
        span.confidence = float(np.mean(probabilities[first : last + 1], dtype=np.float64))
        span.active_seconds = max(float(window.ends[b] - window.starts[a]) for a, b in group)
        spans.append(span)
    return spans


def _runs(labels: Labels) -> list[tuple[int, int]]:
    """First and last index of each maximal run of active slots."""
    padded = np.concatenate(([0], (labels == ACTIVE).astype(np.int8), [0]))
    edges = np.flatnonzero(np.diff(padded))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _groups(
    runs: list[tuple[int, int]], window: SlotWindow, mode: str, max_gap: float
) -> Iterator[list[tuple[int, int]]]:
    group: list[tuple[int, int]] = []
    for run in runs:
        gap = float(window.starts[run[0]] - window.ends[group[-1][1]]) if group else 0.0
        if group and mode == "runs" and gap > max_gap + _TIME_TOLERANCE:
            yield group
            group = []
        group.append(run)
    if group:
        yield group


class SpanTracker:
    """Follows spans from decision to decision, as the STRIDE authors' evaluation does (arXiv 2603.27593).

    Attributes: open_spans, not over yet, in order; completed_until, end of the latest completed span (s),
    -inf if none.
    """

    def __init__(self) -> None:
        self.open_spans: list[Span] = []
        self.completed_until = float("-inf")

    def update(
        self, found: Sequence[Span], first_seen: float, now: float, margin: float
    ) -> tuple[list[Span], list[Span]]:
        """Take the spans found at `now` (s) in a window whose first slot in view is at `first_seen` (s).

        An open span continues in a found one that starts before it ends. Otherwise it was a false alarm if it
        should still be in view, and is over if it has left the view. A found span is over when it ended more
        than `margin` seconds ago. Returns the spans completed now and those retracted.
        """
        completed, retracted = [], []
        unclaimed = list(found)
        for span in self.open_spans:
            match = _continuation(span, unclaimed)
            if match is not None:
                unclaimed.remove(match)
                match.continues(span)
            elif span.end >= first_seen:
                retracted.append(span)
            else:
                completed.append(span)
        over = now - margin
        completed += [span for span in found if span.end < over]
        self.open_spans = [span for span in found if span.end >= over]
        self.completed_until = max([self.completed_until, *(span.end for span in completed)])
        return completed, retracted


def _continuation(span: Span, found: Sequence[Span]) -> Span | None:
    """The found span that continues an open one: the first that overlaps it, else the last that may."""
    candidates = [other for other in found if other.start <= span.end]
    overlapping = [other for other in candidates if other.end >= span.start]
    return overlapping[0] if overlapping else candidates[-1] if candidates else None


class SpanPublisher:
    """Turns tracked spans into events: a span gets an id and is published once it meets the trigger."""

    def __init__(self, query: str, ids: Iterator[int]) -> None:
        self._query = query
        self._ids = ids

    def events(
        self,
        completed: Sequence[Span],
        retracted: Sequence[Span],
        open_spans: Sequence[Span],
        trigger: TriggerConfig,
        time: float,
    ) -> list[SpanEvent]:
        """Events of one decision at `time` (s), in the order in which to publish them."""
        events = [self._event(SpanState.RETRACTED, span, time) for span in retracted if span.span_id]
        for span in completed:
            events += self._onset(span, trigger, time)
            events += self.finish([span], time)
        for span in open_spans:
            moved = span.span_id and (span.start, span.end) != span.published
            events += (
                [self._event(SpanState.UPDATE, span, time)] if moved else self._onset(span, trigger, time)
            )
        return events

    def finish(self, spans: Sequence[Span], time: float) -> list[SpanEvent]:
        """The OFFSET of each published span, for spans that are over or whose stream has ended."""
        return [self._event(SpanState.OFFSET, span, time) for span in spans if span.span_id]

    def _onset(self, span: Span, trigger: TriggerConfig, time: float) -> list[SpanEvent]:
        lasted = span.active_seconds >= trigger.min_active_seconds - _TIME_TOLERANCE
        if span.span_id or not lasted or span.confidence < trigger.min_confidence:
            return []
        span.span_id = next(self._ids)
        return [self._event(SpanState.ONSET, span, time)]

    def _event(self, state: SpanState, span: Span, time: float) -> SpanEvent:
        span.published = (span.start, span.end)
        return SpanEvent(state, span.span_id, self._query, span.start, span.end, span.confidence, time)
