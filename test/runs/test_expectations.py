"""Expectations: the file's format, its errors by item, and the verdict."""

import json
import re
from itertools import pairwise
from pathlib import Path
from random import Random

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
from stride_ros.runs.onsets import ONSET_TOLERANCE
from stride_ros.runs.record import OFFSET, RETRACTED, QueryRun, Run, Said, Span
from stride_ros.runs.verdict import together

DOCS = Path(__file__).parents[2] / "docs"
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


@pytest.mark.parametrize(
    ("items", "lines"),
    [
        (["none: [0, 39.9]", "start: 5, end: 6"], (1, 2)),
        (["start: 5, end: 6", "none: [5.9, 39.9]"], (2, 1)),
        (["none: [0, 30]", "start: 50, end: 60", "none: [2, 3]", "start: 29, end: 50"], (1, 4)),
        (["start: 0, end: 50", "start: 3, end: 4", "none: [40, 41]"], (3, 1)),
        (["none: [0, 10]", "start: 5, end: 5, tolerance: 2"], (1, 2)),
    ],
)
def test_a_none_interval_over_an_event_is_refused_with_both_lines(tmp_path, items, lines):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "".join(f"- {{query: a, {item}}}\n" for item in items))
    none, event = lines
    assert str(caught.value) == (
        f"The none interval in {tmp_path / 'spans.yaml'}, line {none}, overlaps the event of the same query "
        f"in line {event}; remove the interval, or limit it to times without events."
    )


def test_a_none_interval_may_touch_an_event_or_overlap_that_of_another_query(tmp_path):
    items = "- {query: a, start: 5, end: 6}\n- {query: a, none: [0, 5]}\n- {query: a, none: [6, 9]}\n"
    assert read(tmp_path, items + "- {query: b, none: [0, 60]}\n").queries == ["a", "b"]


def test_what_was_written_without_spans_says_that_an_event_takes_the_place_of_none(tmp_path):
    file = tmp_path / "spans.yaml"
    write_expectations(run_with((5, 6)), file)
    assert "`none`" not in file.read_text()
    write_expectations(run_with(), file)
    assert "when you add an event of its query, remove it" in file.read_text()
    corrected = file.read_text() + f"- {{query: {PERSON}, start: 5, end: 6}}\n"
    with pytest.raises(
        ConfigError, match=r"none interval .* line 3, .* line 5; remove the interval, or limit it"
    ):
        read(tmp_path, corrected)
    removed = "".join(line for line in corrected.splitlines(True) if "none:" not in line)
    assert read(tmp_path, removed).spans == [ExpectedSpan(PERSON, 5.0, 6.0)]


def test_the_published_defaults_of_thresholds_are_those_of_the_code(tmp_path):
    schema = json.loads((DOCS / "schemas" / "expectations.schema.json").read_text())
    (thresholds,) = [
        item["properties"]["thresholds"]
        for item in schema["items"]["oneOf"]
        if "thresholds" in item["properties"]
    ]
    usual = {name: value["default"] for name, value in thresholds["properties"].items()}
    assert usual == {name: getattr(Expectations(), name) for name in ("recall", "precision", "iou")}
    page = (DOCS / "replay.md").read_text()
    said = ", ".join(f"`{name}: {value}`" for name, value in usual.items())
    assert f"defaults are {said}." in " ".join(page.split())
    write_expectations(run_with((6, 20)), tmp_path / "spans.yaml")
    line = "- thresholds: {" + said.replace("`", "") + "}"
    assert line in (tmp_path / "spans.yaml").read_text()
    assert line in page


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
    assert "inexact        0:06.0 - 0:20.0    0:06.0 - 0:10.0  +1.0 s" in verdict.table()
    assert (verdict.recall, verdict.precision) == (0.0, 0.0)


def test_a_span_that_only_reports_the_start_of_an_event_is_inexact():
    verdict = judge(run_with((4, 6), (50, 51)), Expectations([ExpectedSpan(PERSON, 6, 7, tolerance=0.5)]))
    assert [line.verdict for line in verdict.lines] == ["inexact", "false alarm"]


def test_an_onset_that_is_not_near_its_event_is_marked():
    (line,) = judge(run_with((1, 20)), Expectations([ExpectedSpan(PERSON, 8, 20)])).lines
    assert (line.verdict, line.onset) == ("found", "-6.0 s too early")


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
        "onset within 2 s of the start: 1 of 2, median delay +0.8 s; 3 onsets, 1 of them retracted; "
        "2 false alarms, 2.0 a minute"
    )


def judged(events, *spans):
    """The verdict on spans (start, end, onset[, state]) for events (start, end)."""
    found = [
        Span(i, start, end, onset, 0.9, *state) for i, (start, end, onset, *state) in enumerate(spans, 1)
    ]
    run = Run("a clip", 60.0, [QueryRun(PERSON, spans=found)])
    return judge(run, Expectations([ExpectedSpan(PERSON, *event) for event in events]))


def onsets(verdict):
    return [(line.verdict, line.onset) for line in verdict.lines]


def test_the_delay_of_the_counts_is_that_of_a_row_even_if_another_span_is_the_events():
    verdict = judged([(6.2, 20.4)], (6, 7, 6.9), (8, 20, 8.4))
    assert onsets(verdict) == [("found", "+2.2 s late"), ("repeated", "+0.7 s")]
    assert str(verdict.onsets[0]).startswith("onset within 2 s of the start: 1 of 1, median delay +0.7 s;")


def test_a_row_has_the_event_that_its_onset_counts_for():
    verdict = judged([(10, 10.5), (12, 20)], (10, 13, 11.2, RETRACTED), (11, 13, 11.5, RETRACTED))
    shown = [line.onset for line in verdict.lines if line.span is not None]
    assert shown == ["+1.2 s", "-0.5 s"], "the second event is nearer to the first onset, but has one already"
    assert sorted(verdict.onsets[0].delays) == pytest.approx([-0.5, 1.2])


def test_a_false_alarm_shows_when_it_was_and_by_how_much_it_missed_the_event_it_overlaps():
    verdict = judged(
        [(31.3, 32.1)], (31.0, 32.0, 32.0), (31.5, 32.5, 34.5), (50, 52, 51), (50, 52, 53, RETRACTED)
    )
    assert onsets(verdict) == [
        ("found", "+0.7 s"),
        ("false alarm", "+3.2 s too late"),
        ("false alarm", "at 0:51.0"),
        ("false alarm", "at 0:53.0"),
    ]
    assert "  at 0:53.0 (retracted)   Tell me" in verdict.table()


def test_an_onset_that_is_too_late_is_marked_though_its_span_is_found():
    verdict = judged([(10, 13)], (10, 13, 17.1))
    (line,) = verdict.lines
    assert (line.verdict, line.onset, line.grade) == ("found", "+7.1 s too late", "fair")
    assert (verdict.recall, verdict.onsets[0].in_time, verdict.onsets[0].false_alarms) == (1.0, 0, 1)


def test_further_spans_of_an_event_follow_it():
    verdict = judged(
        [(6, 20), (30, 40)], (5.5, 6.5, 6.4), (6, 20, 7), (29.5, 31, 30.2, RETRACTED), (30, 40, 31)
    )
    assert [(line.verdict, line.span.id) for line in verdict.lines] == [
        ("found", 2),
        ("repeated", 1),
        ("found", 4),
        ("retracted", 3),
    ]


def test_a_further_span_that_is_not_quiet_is_a_repetition_too():
    spans = [Span(1, 6, 20, 7, 0.9), Span(2, 20, 25, 19, 0.9)]
    run = Run("a clip", 60.0, [QueryRun(PERSON, spans=spans)])
    verdict = judge(run, Expectations([ExpectedSpan(PERSON, 6, 20)], [Quiet(PERSON, 22, 30)]))
    assert onsets(verdict) == [("found", "+1.0 s"), ("repeated", "+13.0 s late"), ("not quiet", "at 0:19.0")]


@pytest.mark.parametrize("seed", range(20))
def test_the_counts_are_those_of_the_rows(seed):
    chosen = Random(seed)
    events, time = [], 0.0
    while time < 50:
        time += chosen.uniform(0, 8)
        events.append((time, time := time + chosen.uniform(0.5, 6)))
    spans = [
        (
            start,
            start + chosen.uniform(0.5, 8),
            start + chosen.uniform(-1, 9),
            chosen.choice([OFFSET, RETRACTED]),
        )
        for start in (chosen.uniform(0, 55) for _ in range(12))
    ]
    found = [Span(i, *each[:3], 0.9, each[3]) for i, each in enumerate(spans, 1)]
    quiet = [Quiet(PERSON, a, b) for (_, a), (b, _) in pairwise(events) if chosen.random() < 0.3]
    run = Run("a clip", 60.0, [QueryRun(PERSON, spans=found)])
    verdict = judge(run, Expectations([ExpectedSpan(PERSON, *event) for event in events], quiet))
    (counts,) = verdict.onsets
    assert sum(line.false_alarm for line in verdict.lines) == counts.false_alarms
    rows = [line for line in verdict.lines if line.span is not None and line.verdict != "not quiet"]
    assert len({line.span.id for line in rows}) == len(rows), (
        "a span has one row, and one for not being quiet"
    )
    assert {line.span.id for line in verdict.lines if line.span is not None} == {span.id for span in found}
    assert all(line.onset for line in rows)
    in_time = [line for line in rows if line.delay is not None and abs(line.delay) <= ONSET_TOLERANCE]
    assert not [line for line in in_time if " " in line.onset.removesuffix(" s")]


def test_counts_of_several_starts_say_how_many_events_they_are():
    verdict = judged([(6, 20), (30, 40)], (6, 20, 7), (30, 40, 30.5))
    late = judged([(30, 40)], (30, 40, 30.5))
    (total,) = together([*verdict.onsets, *verdict.onsets, *verdict.onsets])
    assert str(total).startswith(
        "onset within 2 s of the start: 6 of 6 (2 events at 3 starts), median delay +0.8 s"
    )
    (total,) = together([*verdict.onsets, *late.onsets])
    assert str(total).startswith("onset within 2 s of the start: 3 of 3 (up to 2 events at 2 starts), ")
    assert "start" not in str(verdict.onsets[0]).replace("of the start", "")


def test_the_table_of_the_documentation_is_what_is_printed():
    page = (DOCS / "replay.md").read_text()
    shown = re.search(r"--expect lobby.spans.yaml\n(.*?)\n```", page, re.S).group(1)
    spans = [
        Span(1, 6, 7, 6.9, 0.9, OFFSET),
        Span(2, 8, 20, 8.4, 0.9, OFFSET),
        Span(3, 23, 36, 24.1, 0.9, OFFSET),
        Span(4, 50, 52, 51, 0.9, RETRACTED),
    ]
    events = [ExpectedSpan(PERSON, 6.2, 20.4), ExpectedSpan(PERSON, 22.8, 45.2, 1.5)]
    run = Run("lobby", 60.0, [QueryRun(PERSON, spans=spans), QueryRun(LIGHT)])
    assert judge(run, Expectations(events, [Quiet(LIGHT, 0, 60)])).table() == shown


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
