"""The record of a run: JSON, report page and timeline."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from stride_ros.errors import SourceError
from stride_ros.runs.chart import chart_of, curves, tick_times
from stride_ros.runs.expectations import Expectations, ExpectedSpan, Quiet
from stride_ros.runs.judging import add_to, judge_recorded
from stride_ros.runs.record import OFFSET, RETRACTED, Expected, QueryRun, Run, Said, Span, thumbnail
from stride_ros.runs.report import report_html, write_report
from stride_ros.text.wording import time_label

QUERY = "Tell me when <b>a red ball</b> & more is on the table."


def decide(query, time, active_from, window=4, seconds=0.05):
    ends = time - np.arange(window - 1, -1, -1.0)
    labels = np.where(ends <= 0, 255, ends > active_from).astype(np.uint8)
    query.decided(time, labels, np.where(labels == 1, 0.9, 0.1), 1.0, seconds)


@pytest.fixture
def run():
    picture = thumbnail(np.full((48, 64, 3), 120, np.uint8))
    query = QueryRun(QUERY, expected=[Expected(4.2, 9.0, "A red ball."), Expected(15.0, 18.0, "Another.")])
    for time in range(1, 20):
        decide(query, float(time), active_from=10.0)
    answers = [Said("A red ball <rolls>.", "tiny", latency=0.4), Said("", "tiny", "error", "Out of memory.")]
    query.spans = [
        Span(1, 4.0, 9.0, 6.0, 0.91, OFFSET, 0.05, answers[0], picture),
        Span(2, 11.0, 12.0, 12.0, 0.55, RETRACTED, 0.06, answers[1], picture),
    ]
    return Run("a clip", 20.0, [query], {"seed": 3}, {"model": "tiny"}, ["A note."], [(0.0, picture)])


def test_activity_is_the_first_decision_on_each_slot():
    query = QueryRun(QUERY)
    decide(query, 4.0, active_from=2.0)
    decide(query, 5.0, active_from=9.0)
    expected = [(0, 1, 0.1), (1, 2, 0.1), (2, 3, 0.9), (3, 4, 0.9), (4, 5, 0.1)]
    assert query.activity() == [pytest.approx(stretch) for stretch in expected]


def test_slots_that_no_pass_decided_do_not_count():
    query = QueryRun(QUERY)
    query.decided(2.0, np.array([1, 1], np.uint8), np.array([0.8, 0.6]), 1.0, 0.1)
    query.decided(3.0, np.array([0, 1], np.uint8), np.array([0.0, 0.7]), 1.0, 0.1)
    expected = [(0, 1, 0.8), (1, 2, 0.6), (2, 3, 0.7)]
    assert query.activity() == [pytest.approx(stretch) for stretch in expected]


def test_activity_of_shifted_slots_does_not_overlap():
    query = QueryRun(QUERY)
    for time in (3.0, 4.0, 5.4, 6.4):
        decide(query, time, active_from=0.0)
    stretches = query.activity()
    assert all(before[1] <= after[0] + 1e-9 for before, after in pairwise(stretches))
    assert stretches[-1][1] == pytest.approx(6.4)


def test_json_without_latencies_does_not_depend_on_speed(run):
    first = run.to_json(latencies=False)
    run.queries[0].decision_seconds = [9.9] * 19
    run.queries[0].spans[0].said.latency = 7.0
    assert run.to_json(latencies=False) == first
    assert run.to_json(latencies=True) != first


def test_json_says_everything_that_was_decided(run):
    document = json.loads(run.to_json(latencies=True))
    assert document["schema"] == "stride_ros/run/1"
    assert document["source"] == {"name": "a clip", "seconds": 20.0, "seed": 3}
    (query,) = document["queries"]
    assert query["query"] == QUERY
    assert [span["state"] for span in query["spans"]] == ["offset", "retracted"]
    assert query["spans"][0]["commentary"]["text"] == "A red ball <rolls>."
    assert query["spans"][1]["commentary"]["status"] == "error"
    assert query["expected"][0] == {"start": 4.2, "end": 9.0, "text": "A red ball."}
    assert len(document["latencies"]["decision"]) == 19


def test_spans_that_were_retracted_are_counted_apart(run):
    assert run.summary == "1 span (and 1 retracted)"
    tiles = re.findall(r"<b>(.*?)</b><span>(.*?)</span>", report_html(run))
    assert tiles[:2] == [("1", "span found"), ("1", "span retracted")]


class Page(HTMLParser):
    """Collects text and attributes; fails on tags that do not close."""

    VOID = ("meta", "link", "img")

    def __init__(self):
        super().__init__()
        self.text, self.references, self.images, self.open = "", [], 0, []

    def handle_starttag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]
        self.images += tag == "img"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parse(html):
    page = Page()
    page.feed(html)
    assert page.open == []
    return page


def test_the_report_shows_what_was_said_and_escapes_it(run):
    page = parse(report_html(run))
    for part in (QUERY, "A red ball <rolls>.", "Out of memory.", "A note.", "missed", "found", "0:06.0"):
        assert part in page.text
    assert page.images == 3


def test_the_report_refers_to_nothing_outside_itself(run):
    html = report_html(run)
    assert all(reference.startswith("data:") for reference in parse(html).references)
    assert not re.search(r"https?://|//[a-z]|url\((?!data:)|@import|<script", html)


ACTS = "a\x1b[2J\x07\u202eb\u2066\u200b\ufeff\x85\x9b<b>$x$"


def test_names_that_act_are_shown_as_escapes_wherever_they_stand():
    said = Said(ACTS, ACTS, status="ok")
    failed = Said("", ACTS, status="error", error=ACTS)
    spans = [Span(1, 1.0, 2.0, 1.5, 0.9, said=said), Span(2, 3.0, 4.0, 3.5, 0.9, said=failed)]
    queries = [QueryRun(ACTS, spans=spans, expected=[Expected(1.0, 2.0, ACTS)]), QueryRun(f"b{ACTS}")]
    run = Run(ACTS, 10.0, queries, notes=[ACTS], settings={"model": ACTS, ACTS: 1}, source={"path": ACTS})
    html = report_html(run)
    assert not re.search("[\0-\x09\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]", html)
    assert "\\u202e" in parse(html).text
    assert "<b>$" not in html


def test_an_empty_run_still_makes_a_report(tmp_path):
    write_report(Run("nothing", 0.0, [QueryRun(QUERY)]), tmp_path / "out")
    assert "Nothing: no span" in (tmp_path / "out" / "report.html").read_text()
    assert (tmp_path / "out" / "timeline.png").read_bytes().startswith(b"\x89PNG")


def test_the_timeline_is_a_picture_with_the_spans(run, tmp_path):
    import cv2

    write_report(run, tmp_path)
    picture = cv2.imread(str(tmp_path / "timeline.png"))
    assert picture.shape[1] > 1000
    teal = np.abs(picture.astype(int) - (136, 148, 13)).sum(2) < 12  # #0d9488 in BGR
    assert teal.sum() > 500
    red = np.abs(picture.astype(int) - (60, 18, 190)).sum(2) < 60  # #be123c
    assert red.sum() > 100
    assert not red[teal.sum(1) > 100].any(), "an onset ends above the span, whose number stays readable"


def test_a_folder_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match=r"file cannot be written \(File exists\)"):
        write_report(run, tmp_path / "file")


def verdicts(expected, spans):
    run = Run("a clip", 60.0, [QueryRun(QUERY, spans=spans, expected=expected)])
    return [(line.verdict, line.span and line.span.id) for line in judge_recorded(run).lines]


def test_spans_are_matched_by_overlap_one_to_one(run):
    lines = judge_recorded(run).lines
    assert [line.verdict for line in lines] == ["found", "false alarm", "missed"]
    assert lines[0].iou == pytest.approx(4.8 / 5.0)


def test_two_spans_on_one_event_are_a_hit_and_a_repetition():
    spans = [Span(1, 0, 4, 1, 0.9, OFFSET), Span(2, 5, 10, 6, 0.9, OFFSET)]
    assert verdicts([Expected(0, 10)], spans) == [("found", 2), ("repeated", 1)]


def test_a_retracted_span_over_an_event_is_no_false_alarm():
    spans = [Span(1, 0, 4, 1, 0.9, RETRACTED), Span(2, 0, 10, 6, 0.9, OFFSET)]
    assert verdicts([Expected(0, 10)], spans) == [("found", 2), ("retracted", 1)]


def test_times_read_as_minutes_and_seconds():
    assert [time_label(t) for t in (0, 59.96, 65.2, 3600, -0.5)] == [
        "0:00.0",
        "1:00.0",
        "1:05.2",
        "60:00.0",
        "0:00.0",
    ]


def test_a_poor_overlap_is_called_inexact():
    assert verdicts([Expected(0, 10)], [Span(1, 0, 3, 1, 0.9, OFFSET)]) == [("inexact", 1)]


def table_of(html):
    """Verdicts and numbers of the page's comparison with the ground truth."""
    section = html[html.index("Against the ground truth") :]
    verdicts = re.findall(r'<td class="\w+">(.*?)</td>', section)
    return verdicts, [unescape(text) for text in re.findall(r'<p class="[a-z ]+">([^<]*)</p>', section)]


def test_page_table_and_json_say_the_same(run):
    spans = [ExpectedSpan(QUERY, 2.5, 9.5, tolerance=2.0), ExpectedSpan(QUERY, 15.0, 18.0)]
    add_to(run, Expectations(spans, precision=0.5))
    html = report_html(run)
    verdicts, texts = table_of(html)
    verdict, written = run.verdict, json.loads(run.to_json(latencies=False))["verdict"]
    assert verdicts == [line.verdict for line in verdict.lines] == ["found", "false alarm", "missed"]
    assert [line["verdict"] for line in written["lines"]] == verdicts
    onsets = re.findall(r'data-name="onset" dir="auto">(.*?)</td>', html)
    assert onsets == [line.onset for line in verdict.lines] == ["+3.5 s late", "at 0:12.0", ""]
    assert [line["delay"] for line in written["lines"]] == [3.5, None, None]
    assert [line["onset"] for line in written["lines"]] == [6.0, 12.0, None]
    rows = verdict.rows()[1:4]
    assert all(f"  {onset} " in row for onset, row in zip(onsets, rows, strict=True))
    assert written["failures"] == ["recall 0.50 is below 1.00"]
    assert f"{verdict.scores}. {verdict.outcome}" in texts
    (counts,) = verdict.onsets
    assert str(counts) in texts
    assert str(counts) in verdict.table()
    assert (written["recall"], written["ok"]) == (0.5, False)


def test_the_page_says_what_was_found_where_nothing_may_be(run):
    add_to(run, Expectations(quiet=[Quiet(QUERY, 0, 6)]))
    assert table_of(report_html(run))[0] == ["not quiet"]


def test_without_thresholds_the_page_has_no_outcome(run):
    html = report_html(run)
    assert "recall 0.50, precision 1.00" in html
    assert "Not met" not in html


def bars_of(*intervals):
    spans = [Span(i, start, end, end, 0.9, OFFSET) for i, (start, end) in enumerate(intervals, 1)]
    run = Run(
        "a clip", 60.0, [QueryRun(QUERY, spans=spans, expected=[Expected(*each) for each in intervals])]
    )
    return run, chart_of(run, run.queries[0])


def test_spans_that_overlap_are_drawn_below_each_other():
    run, chart = bars_of((4, 7), (6, 7), (7, 9), (20, 30))
    assert [bar.lane for bar in chart.bars] == [0, 1, 0, 0] * 2
    assert (chart.span_lanes, chart.truth_lanes) == (2, 2)
    tops = [
        re.findall(f'<rect class="{kind}" x="[^>]*%" y="(\\d+)" width', report_html(run))
        for kind in ("span", "truth")
    ]
    assert [len(set(each)) for each in tops] == [2, 2]
    assert not set(tops[0]) & set(tops[1])


def test_many_overlapping_spans_stay_within_a_few_lanes():
    _, chart = bars_of(*((i / 10, 50.0) for i in range(40)))
    assert chart.span_lanes < 10


def test_the_bars_of_the_histogram_are_whole_milliseconds_apart(run):
    run.queries[0].decision_seconds = [0.0051, 0.0052, 0.0053, 0.0054, 0.0071, 0.0072]
    bars = re.findall(r"<title>(\d+) to (\d+) ms: (\d+)</title>", report_html(run))
    assert bars == [("5", "6", "4"), ("7", "8", "2")]


def shapes(svg):
    """Classes of what is drawn, by the CSS rules that give colours and lines."""
    known = {"area", "curve", "span", "onset", "retracted", "truth"}
    return {name for names in re.findall(r'class="([^"]*)"', svg) for name in names.split()} & known


def test_the_legend_is_what_is_drawn(run):
    chart, legend = re.search(r'(<svg class="plot".*?)<p class="legend">(.*?)</p>', report_html(run)).groups()
    assert shapes(chart) == shapes(legend) == {"area", "curve", "span", "onset", "retracted", "truth"}
    run.queries[0].expected, run.queries[0].spans = [], run.queries[0].spans[:1]
    chart, legend = re.search(r'(<svg class="plot".*?)<p class="legend">(.*?)</p>', report_html(run)).groups()
    assert shapes(chart) == shapes(legend) == {"area", "curve", "span", "onset"}


def test_ground_truth_has_one_name(run):
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", report_html(run), flags=re.S)
    assert "ground truth" in text
    assert "expected" not in text.lower()


def test_without_a_responder_nothing_is_about_what_was_said(run):
    for span in run.queries[0].spans:
        span.said = None
    text = parse(report_html(run)).text
    body = text[text.index("What the camera showed") :]
    assert not re.search(r"\bsaid\b|sentence|answer|speak", body, re.I)
    assert "span 1: 0:04.0 to 0:09.0" in body
    run.responder = "tiny"
    assert "No answer was requested or came in time." in report_html(run)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["from $HOME_ to $PWD_", "$x^{$", "\udce4.mcap", "a\x07b\nc", "x" * 900])
def test_any_text_makes_a_report(name, tmp_path):
    queries = [f"Tell me when {name} is in view."]
    queries += ["当有人进入视野时告诉我。" * 9, "أخبرني عندما يدخل شخص", "A 🤖 or 👩‍🔬."]
    run = Run(name, 8.0, [QueryRun(query) for query in queries], responder=name)
    write_report(run, tmp_path)
    run.write_json(tmp_path / "run.json", latencies=True)
    assert json.loads((tmp_path / "run.json").read_text())["queries"][1]["query"] == queries[1]
    page = (tmp_path / "report.html").read_text()
    assert queries[1] in page


def test_a_gap_in_the_stream_is_a_gap_in_the_curve():
    query = QueryRun(QUERY)
    for time in (1.0, 2.0, 3.0, 11.0, 12.0):
        query.decided(time, np.array([1], np.uint8), np.array([0.9]), 1.0, 0.1)
    lines = curves(query, 12.0)
    assert [(line[0][0], line[-1][0]) for line in lines] == [
        (0.0, pytest.approx(3.0)),
        (pytest.approx(10.0), pytest.approx(12.0)),
    ]


def test_a_long_curve_keeps_its_peaks():
    query = QueryRun(QUERY)
    for time in range(1, 36001):
        peak = time in (1, 17777, 36000)
        query.decided(float(time), np.array([1], np.uint8), np.array([0.9 if peak else 0.1]), 1.0, 0.1)
    (line,) = curves(query, 36000.0)
    assert len(line) < 5000
    assert {round(time / 100) for time, value in line if value == 0.9} == {0, 178, 360}


@pytest.mark.parametrize("seconds", [0.0, 0.5, 3.0, 59.0, 61.0, 3600.0, 36000.0, 86400.0, 3e6, 1e9])
def test_an_axis_has_some_round_times(seconds):
    ticks = tick_times(seconds)
    assert 1 <= len(ticks) <= 13
    assert seconds < 2 or len(ticks) >= 3
    assert ticks[-1] <= seconds


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 400, 1200])
def test_the_page_fits_screens_of_any_width(run, open_page, width, tmp_path):
    run.queries[0].spans[0].said = Said("word" * 200, "a/long/path" * 30, latency=0.4)
    run.queries.append(QueryRun("x" * 300, expected=[Expected(0.0, 5.0, "y" * 300)]))
    run.settings = {"model": "/home/somebody" * 40}
    write_report(run, tmp_path)
    evaluate = open_page(tmp_path / "report.html", width).evaluate
    assert evaluate("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
    beyond = "filter(e => e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML.slice(0, 80))"
    assert evaluate(f"[...document.querySelectorAll('body *')].{beyond}") == []
    text = "[...document.querySelectorAll('svg text')].map(e => e.getBoundingClientRect())"
    assert evaluate(f"Math.min(...{text}.filter(r => r.width).map(r => r.height))") >= 11  # px, as set
    assert evaluate("document.querySelector('.plot').getBoundingClientRect().width") > 0.4 * width
    ticks = f"{text.replace('svg text', 'h2 + .chart .tick')}.filter(r => r.width)"
    apart = f"{ticks}.every((r, i, all) => !i || r.left > all[i - 1].right)"
    assert evaluate(f"{ticks}.length >= 2 && {apart}") is True


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("count", [1, 5, 12, 60])
def test_the_pictures_of_the_strip_are_large_enough_to_be_read(run, open_page, width, count, tmp_path):
    run.strip = [(i / 3, run.strip[0][1]) for i in range(count)]
    write_report(run, tmp_path)
    page = open_page(tmp_path / "report.html", width)
    boxes = page.evaluate(
        "[...document.querySelectorAll('.strip img')].map(e => e.getBoundingClientRect())"
        ".map(r => [r.left, r.right, r.top])"
    )
    assert len(boxes) == count
    assert min(right - left for left, right, _ in boxes) >= (84 if width == 400 or count == 12 else 126)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    rows = len({top for _, _, top in boxes})
    assert (rows == 1) is (count <= (4 if width == 400 else 12))
    rights = [right for _, right, _ in boxes]
    assert max(rights) >= 0.9 * page.evaluate(
        "document.querySelector('.strip').getBoundingClientRect().right"
    )


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 500, 1200])
def test_no_onset_crosses_the_number_of_a_span(run, open_page, width, tmp_path):
    onsets = (0.0, 0.2, 0.5, 0.9, 1.6)
    run.queries[0].spans = [Span(i, 4.0 * i, 4.0 * i + 3, 4.0 * i + x, 0.9) for i, x in enumerate(onsets)]
    write_report(run, tmp_path)
    page = open_page(tmp_path / "report.html", width)
    rectangles = "[...document.querySelectorAll('.plot {0}')].map(e => e.getBoundingClientRect())".format
    assert page.evaluate(f"{rectangles('.id')}.filter(r => r.width).length") == len(onsets)
    assert page.evaluate(f"{rectangles('.onset')}.length") == len(onsets)
    crossed = "o.left < r.right && o.right > r.left && o.bottom > r.top"
    crossings = f"{rectangles('.id')}.filter(r => {rectangles('.onset')}.some(o => {crossed})).length"
    assert page.evaluate(crossings) == 0


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_every_text_can_be_told_from_what_is_behind_it(run, open_page, dark, tmp_path):
    run.responder = "tiny"
    run.queries[0].spans[1].said = None
    write_report(run, tmp_path)
    page = open_page(tmp_path / "report.html", 800, dark)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(16, 21, 27)" if dark else "rgb(246, 247, 249)"
    )
    contrast, text = page.faintest()
    assert contrast >= 4.5, text
