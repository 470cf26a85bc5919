"""Expectations: the file's format, its errors by item, and the verdict."""

import pytest

from stride_ros.errors import ConfigError, SourceError, StrideError
from stride_ros.runs.expectations import (
    Expectations,
    ExpectedSpan,
    Quiet,
    judge,
    read_expectations,
    write_expectations,
)
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


def test_too_little_overlap_is_a_miss_and_a_false_alarm():
    verdict = judge(run_with((6, 10)), Expectations([ExpectedSpan(PERSON, 6, 20)]))
    assert [line.verdict for line in verdict.lines] == ["missed", "false alarm"]


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
