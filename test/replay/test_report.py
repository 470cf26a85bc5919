"""The record of a run: JSON, report page and timeline."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from stride_ros.errors import SourceError
from stride_ros.replay.matching import match_spans, overlap
from stride_ros.replay.record import OFFSET, RETRACTED, Expected, QueryRun, Run, Said, Span, thumbnail
from stride_ros.replay.report import report_html, write_report
from stride_ros.replay.timeline import time_label

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


def test_an_empty_run_still_makes_a_report(tmp_path):
    write_report(Run("nothing", 0.0, [QueryRun(QUERY)]), tmp_path / "out")
    assert "Nothing: no span" in (tmp_path / "out" / "report.html").read_text()
    assert (tmp_path / "out" / "timeline.png").read_bytes().startswith(b"\x89PNG")


def test_the_timeline_is_a_picture_with_the_spans(run, tmp_path):
    import cv2

    write_report(run, tmp_path)
    picture = cv2.imread(str(tmp_path / "timeline.png"))
    assert picture.shape[1] > 1000
    teal = (np.abs(picture.astype(int) - (136, 148, 13)).sum(2) < 12).sum()  # #0d9488 in BGR
    assert teal > 500


def test_a_folder_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="choose another folder"):
        write_report(run, tmp_path / "file")


def test_spans_are_matched_by_overlap_one_to_one(run):
    matches = match_spans(run.queries[0].expected, run.queries[0].spans)
    assert [match.verdict for match in matches] == ["found", "false alarm", "missed"]
    assert matches[0].iou == pytest.approx(4.8 / 5.0)


def test_two_spans_on_one_event_are_one_hit_and_one_false_alarm():
    spans = [Span(1, 0, 4, 1, 0.9, OFFSET), Span(2, 5, 10, 6, 0.9, OFFSET)]
    matches = match_spans([Expected(0, 10)], spans)
    assert [(match.verdict, match.span.id) for match in matches] == [("found", 2), ("false alarm", 1)]


def test_a_retracted_span_over_an_event_is_no_false_alarm():
    spans = [Span(1, 0, 4, 1, 0.9, RETRACTED), Span(2, 0, 10, 6, 0.9, OFFSET)]
    assert [match.verdict for match in match_spans([Expected(0, 10)], spans)] == ["found"]


@pytest.mark.parametrize(
    ("a", "b", "iou"), [((0, 4), (2, 6), 1 / 3), ((0, 1), (1, 2), 0), ((0, 2), (0, 2), 1)]
)
def test_overlap_is_intersection_over_union(a, b, iou):
    assert overlap(*a, *b) == pytest.approx(iou)


def test_times_read_as_minutes_and_seconds():
    assert [time_label(t) for t in (0, 59.96, 65.2, 3600, -0.5)] == [
        "0:00.0",
        "1:00.0",
        "1:05.2",
        "60:00.0",
        "0:00.0",
    ]


def test_a_poor_overlap_is_called_inexact():
    (match,) = match_spans([Expected(0, 10)], [Span(1, 0, 3, 1, 0.9, OFFSET)])
    assert match.verdict == "inexact"
