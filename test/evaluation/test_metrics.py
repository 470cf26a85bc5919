"""What each number of the evaluation counts."""

import pytest

from stride_ros.evaluation.metrics import (
    Outcome,
    Tally,
    match_spans,
    word_accuracy,
)
from stride_ros.runs.onsets import match_onsets


def tally(*outcomes):
    result = Tally()
    for outcome in outcomes:
        result.add(outcome)
    return result.metrics()


def test_perfect_spans_score_one_everywhere():
    truth = ((5.0, 10.0), (20.0, 30.0))
    metrics = tally(Outcome(truth, truth, (5.5, 21.5), 60.0))
    assert [metrics[f"span_f1_{t}"] for t in (30, 50, 70)] == [1.0, 1.0, 1.0]
    assert (metrics["onset_recall"], metrics["onset_precision"]) == (1.0, 1.0)
    assert metrics["false_alarms_per_minute"] == 0.0
    assert metrics["boundary_error_s"] == 0.0
    assert metrics["onset_delay_s"] == pytest.approx(1.0)


def test_a_span_counts_only_at_thresholds_it_reaches():
    metrics = tally(Outcome(((0.0, 10.0),), ((4.0, 10.0),), (), 60.0))
    assert (metrics["span_f1_30"], metrics["span_f1_50"], metrics["span_f1_70"]) == (1.0, 1.0, 0.0)
    assert metrics["boundary_error_s"] == pytest.approx(2.0)  # 4 s at the start, 0 s at the end


def test_missed_and_invented_spans_both_lower_f1():
    missed = Outcome(((0.0, 10.0),), (), (), 60.0)
    invented = Outcome((), ((0.0, 10.0),), (), 60.0)
    found = Outcome(((0.0, 10.0),), ((0.0, 10.0),), (), 60.0)
    assert tally(missed, found)["span_f1_50"] == pytest.approx(2 / 3)
    assert tally(invented, found)["span_f1_50"] == pytest.approx(2 / 3)


def test_an_onset_counts_within_two_seconds_of_the_start_and_once():
    metrics = tally(Outcome(((10.0, 20.0),), (), (8.5, 11.0, 12.5), 60.0))
    assert metrics["onset_recall"] == 1.0
    assert metrics["onset_precision"] == pytest.approx(1 / 3)
    assert metrics["onset_delay_s"] == pytest.approx(1.0)


def test_a_late_onset_is_no_false_alarm_but_one_without_an_event_is():
    metrics = tally(Outcome(((10.0, 20.0),), (), (15.0, 40.0), 120.0))
    assert metrics["onset_recall"] == 0.0
    assert metrics["false_alarms_per_minute"] == pytest.approx(0.5)


def test_nothing_to_count_is_none():
    metrics = tally(Outcome((), (), (), 60.0))
    assert metrics["span_f1_50"] is None
    assert metrics["onset_recall"] is None
    assert metrics["text_accuracy"] is None
    assert metrics["false_alarms_per_minute"] == 0.0


def test_every_event_and_span_is_matched_once_with_the_best_overlap():
    truth = [(0.0, 10.0), (12.0, 20.0)]
    assert match_spans(truth, [(0.0, 12.5), (11.0, 20.0)]) == [
        (1, 1, pytest.approx(8 / 9)),
        (0, 0, pytest.approx(0.8)),
    ]
    assert match_spans(truth, [(0.0, 20.0)]) == [(0, 0, pytest.approx(0.5))]
    assert match_onsets(truth, [1.0, 11.0]) == [(0, 0), (1, 1)]


@pytest.mark.parametrize(
    ("said", "expected", "value"),
    [
        ("A red ball is on the table.", "a red ball is on the table", 1.0),
        ("A blue ball is on the table.", "A red ball is on the table.", 6 / 7),
        ("A red ball is on the table now.", "A red ball is on the table.", 6 / 7),
        ("", "A hand.", 0.0),
        ("x " * 20, "A hand.", 0.0),
        ("", "", 1.0),
    ],
)
def test_word_accuracy_is_one_less_the_word_error_rate(said, expected, value):
    assert word_accuracy(said, expected) == pytest.approx(value)
