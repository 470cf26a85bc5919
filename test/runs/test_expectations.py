"""Expectations: the file's format, its errors by item, and the verdict."""

import pytest

from stride_ros.errors import ConfigError, SourceError, StrideError
from stride_ros.runs.expectations import (
    Expectations,
    ExpectedSpan,
    Quiet,
    read_expectations,
    write_expectations,
)
from stride_ros.runs.judging import judge
from stride_ros.runs.record import OFFSET, RETRACTED, QueryRun, Run, Said, Span

PERSON, LIGHT = "Tell me when a person is in view.", "Tell me when the light is off."


def run_with(*spans, query=PERSON, state=OFFSET):
    found = [Span(i, start, end, start + 1, 0.9, state) for i, (start, end) in enumerate(spans, 1)]
    return Run("a clip", 60.0, [QueryRun(query, spans=found)])


def read(tmp_path, text):
    file = tmp_path / "spans.yaml"
    file.write_text(text)
    return read_expectations(file)


def test_the_documented_format_is_read(tmp_path):
    expectations = read(
        tmp_path,
        f"""
- {{query: "{PERSON}", start: 6.2, end: 20.4}}
- {{query: "{PERSON}", start: 22, end: 45.2, tolerance: 1.5, text: "A man."}}
- {{query: "{LIGHT}", none: [0, 60]}}
- thresholds: {{recall: 0.9, iou: 0.4}}
""",
    )
    assert expectations.spans[0] == ExpectedSpan(PERSON, 6.2, 20.4)
    assert expectations.spans[1] == ExpectedSpan(PERSON, 22.0, 45.2, 1.5, "A man.")
    assert expectations.quiet == [Quiet(LIGHT, 0.0, 60.0)]
    assert (expectations.recall, expectations.precision, expectations.iou) == (0.9, 1.0, 0.4)
    assert expectations.queries == [PERSON, LIGHT]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {query: a, start: 5, end: 3}", "Item 1 .* its end 3 is before its start 5"),
        ("- {query: a, start: 1, end: 3}\n- {query: a, start: 1, stop: 3}", "Item 2 .* unknown field stop"),
        ("- {start: 1, end: 3}", "Item 1 .* no query"),
        ("- {query: a, start: x, end: 3}", "numbers of seconds"),
        ("- {query: a, none: 5}", r"none must be \[from, to\]"),
        ("- {query: a, start: 1, end: 3, tolerance: -1}", "tolerance"),
        ("- thresholds: {recall: 2}", "between 0 and 1"),
        ("- thresholds: {speed: 1}", "recall, precision and iou only"),
        ("- 5", "not a mapping"),
        ("a: b", "not a list"),
        ("- {query: a, start: [", "not YAML at line"),
        ("[]", "expects nothing"),
    ],
)
def test_a_wrong_file_is_refused_by_item(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said) as caught:
        read(tmp_path, text)
    assert isinstance(caught.value, StrideError)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"none\.yaml"):
        read_expectations(tmp_path / "none.yaml")


def test_everything_found_is_met():
    verdict = judge(
        run_with((6, 20), (22, 45)),
        Expectations([ExpectedSpan(PERSON, 6.2, 20.4), ExpectedSpan(PERSON, 23, 45)]),
    )
    assert verdict.ok
    assert (verdict.recall, verdict.precision) == (1.0, 1.0)


def test_a_missed_span_says_which_and_when():
    verdict = judge(
        run_with((6, 20)), Expectations([ExpectedSpan(PERSON, 6, 20), ExpectedSpan(PERSON, 30, 40)])
    )
    assert not verdict.ok
    assert verdict.recall == 0.5
    assert "missed         0:30.0 - 0:40.0" in verdict.table()
    assert "Not met: recall 0.50 is below 1.00." in verdict.table()


def test_a_false_alarm_lowers_precision():
    expectations = Expectations([ExpectedSpan(PERSON, 6, 20)], precision=0.4)
    verdict = judge(run_with((6, 20), (50, 55)), expectations)
    assert verdict.ok
    assert verdict.precision == 0.5
    assert "false alarm" in verdict.table()


def test_an_event_with_loose_borders_is_one_line_with_both_times():
    verdict = judge(run_with((6, 10)), Expectations([ExpectedSpan(PERSON, 6, 20)]))
    assert [line.verdict for line in verdict.lines] == ["inexact"]
    assert "inexact        0:06.0 - 0:20.0    0:06.0 - 0:10.0         +1.0 s" in verdict.table()
    assert (verdict.recall, verdict.precision) == (0.0, 0.0)


def test_a_span_that_only_reports_the_start_of_an_event_is_inexact():
    verdict = judge(run_with((4, 6), (50, 51)), Expectations([ExpectedSpan(PERSON, 6, 7, tolerance=0.5)]))
    assert [line.verdict for line in verdict.lines] == ["inexact", "false alarm"]


def test_an_onset_that_is_not_near_its_event_is_marked():
    (line,) = judge(run_with((1, 20)), Expectations([ExpectedSpan(PERSON, 8, 20)])).lines
    assert (line.verdict, line.onset) == ("found", "-6.0 s early")


def test_onsets_are_counted_as_evaluate_counts_them():
    from stride_ros.evaluation.metrics import Outcome, Tally

    run = run_with((6, 20), (22, 45), (50, 55))
    run.queries[0].spans[2].state = RETRACTED
    truth = ((6.2, 20.0), (30.0, 45.0))
    verdict = judge(run, Expectations([ExpectedSpan(PERSON, *event) for event in truth]))
    (counts,) = verdict.onsets
    tally = Tally()
    tally.add(Outcome(truth, (), tuple(span.onset for span in run.queries[0].spans), run.seconds))
    assert (counts.in_time, counts.onsets) == (tally.told, tally.onsets) == (1, 3)
    assert counts.false_alarms == tally.false_alarms == 2
    assert counts.false_alarms_per_minute == tally.metrics()["false_alarms_per_minute"] == 2.0
    assert str(counts) in verdict.table()
    assert str(counts) == (
        "onset within 2 s of the start: 1 of 2; 3 onsets, 1 of them retracted; 2 false alarms, 2.0 a minute; "
        "median delay +0.8 s"
    )


def test_a_retracted_false_alarm_is_shown_as_one_and_left_out_of_precision():
    run = run_with((6, 20), (50, 55))
    run.queries[0].spans[1].state = RETRACTED
    verdict = judge(run, Expectations([ExpectedSpan(PERSON, 6, 20)]))
    assert [line.verdict for line in verdict.lines] == ["found", "false alarm"]
    assert "(retracted)" in verdict.table()
    assert (verdict.ok, verdict.precision) == (True, 1.0)


def test_only_quiet_ranges_are_watched_for_false_alarms():
    expectations = Expectations(quiet=[Quiet(PERSON, 10, 20), Quiet(PERSON, 15, 40)])
    (counts,) = judge(run_with((12, 14), (50, 55)), expectations).onsets
    assert (counts.false_alarms, counts.seconds) == (1, 30.0)


def test_without_a_span_precision_is_not_defined_and_recall_decides():
    expectations = Expectations([ExpectedSpan(PERSON, 6, 20)])
    verdict = judge(run_with(), expectations)
    assert verdict.precision is None
    assert verdict.table().endswith("recall 0.00, precision –\nNot met: recall 0.00 is below 1.00.")  # noqa: RUF001
    expectations.recall = 0.0
    assert judge(run_with(), expectations).ok


def test_all_reasons_are_in_one_sentence():
    verdict = judge(run_with((50, 55)), Expectations([ExpectedSpan(PERSON, 6, 20)]))
    assert verdict.table().count("Not met") == 1
    assert verdict.outcome == "Not met: recall 0.00 is below 1.00; precision 0.00 is below 1.00."


@pytest.mark.parametrize(("tolerance", "ok"), [(0.5, False), (1.0, True)])
def test_a_tolerance_goes_by_start_and_end(tolerance, ok):
    verdict = judge(run_with((7, 19.5)), Expectations([ExpectedSpan(PERSON, 6, 20, tolerance)]))
    assert verdict.ok is ok


def test_quiet_must_stay_quiet():
    expectations = Expectations(quiet=[Quiet(PERSON, 10, 20)])
    assert judge(run_with((30, 40)), expectations).ok
    verdict = judge(run_with((18, 25)), expectations)
    assert not verdict.ok
    assert "not quiet" in verdict.table()


def test_retracted_spans_do_not_count():
    assert judge(run_with((18, 25), state=RETRACTED), Expectations(quiet=[Quiet(PERSON, 10, 20)])).ok


def test_queries_that_were_not_asked_are_left_out():
    expectations = Expectations([ExpectedSpan(PERSON, 6, 20), ExpectedSpan(LIGHT, 30, 40)])
    assert judge(run_with((6, 20)), expectations).ok


def test_what_is_written_is_met_by_the_same_run(tmp_path):
    run = run_with((6.04, 20.3), (30, 40))
    run.queries[0].spans[0].said = Said('He says "hi": {really}.', "tiny")
    run.queries.append(QueryRun(LIGHT))
    write_expectations(run, tmp_path / "spans.yaml")
    expectations = read_expectations(tmp_path / "spans.yaml")
    assert expectations.spans[0].text == 'He says "hi": {really}.'
    assert expectations.quiet == [Quiet(LIGHT, 0.0, 60.0)]
    assert judge(run, expectations).ok
