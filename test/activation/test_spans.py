"""Spans are found in labels, followed over decisions, and published once they meet the trigger."""

import itertools

import numpy as np
import pytest

from stride_ros.activation.config import TriggerConfig
from stride_ros.activation.spans import Span, SpanPublisher, SpanState, SpanTracker, extract_spans
from stride_ros.activation.window import SlotWindow

TRIGGER = TriggerConfig(min_active_seconds=2.0, min_confidence=0.5)


def found(pattern, mode="hull", max_gap=1.0, probabilities=None):
    """Spans in a window of one-second slots that starts at time 0; `1` is active."""
    labels = np.array([int(letter) for letter in pattern], dtype=np.uint8)
    window = SlotWindow.at(float(len(labels)), 0.0, len(labels), 0, 1.0)
    values = labels.astype(np.float32) if probabilities is None else np.float32(probabilities)
    return extract_spans(labels, values, window, mode, max_gap)


def times(spans):
    return [(span.start, span.end) for span in spans]


@pytest.mark.parametrize(
    ("pattern", "mode", "max_gap", "expected"),
    [
        ("000000", "hull", 1.0, []),
        ("010010", "hull", 1.0, [(1.0, 5.0)]),
        ("010010", "runs", 1.0, [(1.0, 2.0), (4.0, 5.0)]),
        ("010010", "runs", 2.0, [(1.0, 5.0)]),
        ("110101", "runs", 1.0, [(0.0, 6.0)]),
        ("110101", "runs", 0.0, [(0.0, 2.0), (3.0, 4.0), (5.0, 6.0)]),
    ],
)
def test_spans_are_a_hull_or_runs(pattern, mode, max_gap, expected):
    assert times(found(pattern, mode, max_gap)) == expected


def test_a_span_knows_its_confidence_and_its_longest_activity():
    (span,) = found("0110100", probabilities=[0.0, 0.9, 0.7, 0.4, 0.8, 0.0, 0.0])
    assert span.confidence == pytest.approx(0.7)
    assert span.active_seconds == 2.0


def test_two_events_at_once_stay_two_spans():
    tracker = SpanTracker()
    completed, _ = tracker.update(found("1100011", "runs"), 0.0, 7.0, 1.0)
    assert times(completed) == [(0.0, 2.0)]
    assert times(tracker.open_spans) == [(5.0, 7.0)]
    assert tracker.completed_until == 2.0


def test_of_several_open_spans_each_goes_on_in_its_own():
    tracker = SpanTracker()
    tracker.update([Span(0.0, 2.0), Span(4.0, 6.0)], 0.0, 6.0, 10.0)
    _, retracted = tracker.update([Span(1.0, 2.0), Span(5.0, 7.0)], 0.0, 7.0, 10.0)
    assert retracted == []
    assert times(tracker.open_spans) == [(0.0, 2.0), (4.0, 7.0)]
    _, retracted = tracker.update([Span(4.0, 8.0)], 0.0, 8.0, 10.0)
    assert times(retracted) == [(0.0, 2.0)]


@pytest.mark.parametrize(("first_seen", "state"), [(2.0, "retracted"), (2.1, "completed")])
def test_a_span_that_is_gone_was_a_false_alarm_unless_it_left_the_view(first_seen, state):
    tracker = SpanTracker()
    tracker.update([Span(0.0, 2.0)], 0.0, 2.0, 1.0)
    completed, retracted = tracker.update([], first_seen, 3.0, 5.0)
    assert times({"completed": completed, "retracted": retracted}[state]) == [(0.0, 2.0)]
    assert tracker.open_spans == []


def states(events):
    return [(event.state, event.span_id) for event in events]


def publisher():
    return SpanPublisher("q", itertools.count(1))


def span(start, end, confidence=1.0, **values):
    return Span(start, end, confidence, active_seconds=end - start, **values)


def test_a_span_is_published_when_it_has_lasted_and_is_sure():
    out = publisher()
    assert out.events([], [], [span(0.0, 1.0)], TRIGGER, 1.0) == []
    assert out.events([], [], [span(0.0, 3.0, confidence=0.4)], TRIGGER, 3.0) == []
    (onset,) = out.events([], [], [span(0.0, 2.0)], TRIGGER, 2.0)
    assert (onset.state, onset.span_id, onset.query) == (SpanState.ONSET, 1, "q")
    assert (onset.start, onset.end, onset.time) == (0.0, 2.0, 2.0)


def test_an_open_span_is_updated_when_it_moves_and_only_then():
    out, open_span = publisher(), span(0.0, 2.0)
    out.events([], [], [open_span], TRIGGER, 2.0)
    assert out.events([], [], [open_span], TRIGGER, 3.0) == []
    open_span.end = 3.0
    assert states(out.events([], [], [open_span], TRIGGER, 3.0)) == [(SpanState.UPDATE, 1)]


def test_what_was_never_published_ends_in_silence():
    out = publisher()
    assert out.events([span(0.0, 1.0)], [span(0.0, 1.5)], [], TRIGGER, 4.0) == []
    assert out.finish([span(0.0, 5.0)], 5.0) == []


def test_a_span_that_is_over_when_first_seen_still_has_its_onset():
    events = publisher().events([span(0.0, 3.0)], [], [], TRIGGER, 9.0)
    assert states(events) == [(SpanState.ONSET, 1), (SpanState.OFFSET, 1)]


def test_a_published_span_ends_once():
    out, first, second = publisher(), span(0.0, 2.0), span(5.0, 8.0)
    out.events([], [], [first], TRIGGER, 2.0)
    assert states(out.events([], [first], [second], TRIGGER, 8.0)) == [
        (SpanState.RETRACTED, 1),
        (SpanState.ONSET, 2),
    ]
    assert states(out.events([second], [], [], TRIGGER, 9.0)) == [(SpanState.OFFSET, 2)]
