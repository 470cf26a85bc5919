"""Read the ground truth of a recording, a YAML file of spans, and judge a run by it.

The file is a list of items:

    - {query: "Tell me when a person is in view.", start: 6.2, end: 20.4}    # s from the first frame
    - {query: "Tell me when a person is in view.", start: 22.8, end: 45.2, tolerance: 1.5}
    - {query: "Tell me when the light is off.", none: [0, 60]}               # nothing may be found there
    - thresholds: {recall: 1.0, precision: 1.0, iou: 0.5}                    # these are the defaults

An event of the ground truth is found if a span overlaps it with at least `iou`, or, with a `tolerance`, if
its start and end are each within that many seconds. `recall` is the fraction of events found, `precision` the
fraction of spans that are events; spans in a `none` range always fail. A `text` is kept for the report, so
that the labels of `stride-ros world --labels` can be used unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from stride_ros.errors import ConfigError
from stride_ros.runs.matching import pair_up
from stride_ros.runs.record import RETRACTED, Expected, Run, Span
from stride_ros.terminal import one_line
from stride_ros.text.foreign import visible
from stride_ros.text.wording import counted, plural, time_label
from stride_ros.user_files.output import write_whole
from stride_ros.user_files.values import is_number, text_of
from stride_ros.user_files.yaml_file import line_of, plain, read_yaml

TABLE_HANG = 52  # column of the query in `Verdict.table`
_SPAN_KEYS = {"query", "start", "end", "tolerance", "text"}
_NONE_KEYS = {"query", "none"}


@dataclass(frozen=True)
class ExpectedSpan:
    """A span that should be found; `tolerance` in s, or None to go by the overlap."""

    query: str
    start: float
    end: float
    tolerance: float | None = None
    text: str = ""

    def accepts(self, span: Span, iou: float, least: float) -> bool:
        """Whether a span with overlap `iou` matches this one; `least` is the required overlap."""
        if self.tolerance is None:
            return iou > 0 and iou >= least
        return abs(span.start - self.start) <= self.tolerance and abs(span.end - self.end) <= self.tolerance


@dataclass(frozen=True)
class Quiet:
    """A range from `start` to `end` (s) in which nothing may be found for the query."""

    query: str
    start: float
    end: float


Item = TypeVar("Item", ExpectedSpan, Quiet)


@dataclass
class Expectations:
    """The contents of an expectations file."""

    spans: list[ExpectedSpan] = field(default_factory=list)
    quiet: list[Quiet] = field(default_factory=list)
    recall: float = 1.0
    precision: float = 1.0
    iou: float = 0.5

    @property
    def queries(self) -> list[str]:
        """All queries in the file, in order."""
        items: list[ExpectedSpan | Quiet] = [*self.spans, *self.quiet]
        return list(dict.fromkeys(item.query for item in items))

    def within(self, start: float, end: float) -> Expectations:
        """The ground truth of a part of the recording (s); events are cut at its borders."""

        def cut(items: Sequence[Item]) -> list[Item]:
            kept = (item for item in items if item.end > start and item.start < end)
            return [replace(item, start=max(item.start, start), end=min(item.end, end)) for item in kept]

        return replace(self, spans=cut(self.spans), quiet=cut(self.quiet))


@dataclass(frozen=True)
class Line:
    """One line of the verdict: "found", "missed", "false alarm", or "not quiet"."""

    verdict: str
    query: str
    expected: ExpectedSpan | Quiet | None
    span: Span | None

    @property
    def good(self) -> bool:
        return self.verdict == "found"


@dataclass(frozen=True)
class Verdict:
    """How a run compares with the ground truth."""

    lines: list[Line]
    recall: float
    precision: float
    failures: list[str]  # the thresholds that were not met, in words

    @property
    def ok(self) -> bool:
        return not self.failures

    def table(self) -> str:
        """The comparison in readable form, one line per span."""
        rows = [f"{'':11}  {'ground truth':>17}  {'found':>17}   query"]
        for line in self.lines:
            expected = _interval(line.expected) if line.expected is not None else ""
            found = _interval(line.span) if line.span is not None else ""
            rows.append(f"{line.verdict:11}  {expected:>17}  {found:>17}   {one_line(line.query)}")
        rows.append(f"recall {self.recall:.2f}, precision {self.precision:.2f}")
        rows += self.failures
        return "\n".join(rows)


def judge(run: Run, expectations: Expectations) -> Verdict:
    """Compare a run with the ground truth; queries that the run did not watch for are left out."""
    lines: list[Line] = []
    found_spans = 0
    for query in run.queries:
        spans = [span for span in query.spans if span.state != RETRACTED]
        expected = [item for item in expectations.spans if item.query == query.query]
        if not expected and not any(item.query == query.query for item in expectations.quiet):
            continue  # nothing is known about this query
        pairs = pair_up(expected, spans, lambda item, span, iou: item.accepts(span, iou, expectations.iou))
        lines += [
            Line(
                "found" if i in pairs else "missed",
                query.query,
                item,
                spans[pairs[i]] if i in pairs else None,
            )
            for i, item in enumerate(expected)
        ]
        quiet = [item for item in expectations.quiet if item.query == query.query]
        for j, span in enumerate(spans):
            stretch = next(
                (item for item in quiet if min(item.end, span.end) > max(item.start, span.start)), None
            )
            if stretch is not None:
                lines.append(Line("not quiet", query.query, stretch, span))
            elif j not in pairs.values() and expected:
                lines.append(Line("false alarm", query.query, None, span))
        found_spans += len(spans) if expected else 0
    hits = sum(line.verdict == "found" for line in lines)
    wanted = sum(isinstance(line.expected, ExpectedSpan) for line in lines)
    recall = hits / wanted if wanted else 1.0
    precision = hits / found_spans if found_spans else 1.0
    return Verdict(
        sorted(lines, key=_start), recall, precision, _failures(expectations, recall, precision, lines)
    )


def _failures(
    expectations: Expectations, recall: float, precision: float, lines: Sequence[Line]
) -> list[str]:
    failures = []
    for name, value, least in (
        ("recall", recall, expectations.recall),
        ("precision", precision, expectations.precision),
    ):
        if value < least:
            failures.append(f"Not met: {name} {value:.2f} is below {least:.2f}.")
    loud = sum(line.verdict == "not quiet" for line in lines)
    if loud:
        lie = plural(loud, "lies", "lie")
        failures.append(f"Not met: {counted(loud, 'span')} {lie} where nothing should be found.")
    return failures


def add_to(run: Run, expectations: Expectations) -> None:
    """Add the ground truth to the run, for its report and JSON."""
    for query in run.queries:
        query.expected = [
            Expected(item.start, item.end, item.text)
            for item in sorted(expectations.spans, key=lambda item: item.start)
            if item.query == query.query
        ]


def read_expectations(path: str | Path) -> Expectations:
    """Read a file; ConfigError names a wrong item and its line, SourceError an unreadable file."""
    root = read_yaml(path)
    if root is not None and root.id != "sequence":
        raise ConfigError(
            f"{path} is not a list of spans; write items like - {{query: ..., start: 1, end: 5}}."
        )
    expectations = Expectations()
    for number, item in enumerate(root.value if root is not None else (), 1):
        try:
            _add(expectations, plain(item))
        except ConfigError as error:
            raise ConfigError(f"Item {number} of {path}, line {line_of(item)}: {error}") from None
    if not expectations.queries:
        raise ConfigError(f"{path} expects nothing; write items like - {{query: ..., start: 1, end: 5}}.")
    return expectations


def _add(expectations: Expectations, item: Any) -> None:
    if not isinstance(item, dict):
        raise ConfigError("it is not a mapping; write it like {query: ..., start: 1, end: 5}.")
    if set(item) == {"thresholds"}:
        _set_thresholds(expectations, item["thresholds"])
        return
    query = item.get("query")
    if query is None or query == "":
        raise ConfigError("it has no query; add the text of the query.")
    query = text_of(query, "its query")
    if "none" in item:
        _refuse_others(item, _NONE_KEYS)
        stretch = item["none"]
        if not isinstance(stretch, list) or len(stretch) != 2:
            raise ConfigError("none must be [from, to] in seconds.")
        expectations.quiet.append(Quiet(query, *_interval_of(stretch[0], stretch[1])))
        return
    _refuse_others(item, _SPAN_KEYS)
    start, end = _interval_of(item.get("start"), item.get("end"))
    tolerance = item.get("tolerance")
    if tolerance is not None and not (is_number(tolerance) and tolerance >= 0):
        raise ConfigError("tolerance must be a number of seconds of at least 0.")
    text = "" if item.get("text") is None else text_of(item["text"], "its text", empty=True)
    expectations.spans.append(ExpectedSpan(query, start, end, tolerance, text))


def _set_thresholds(expectations: Expectations, values: Any) -> None:
    names = {"recall", "precision", "iou"}
    if not isinstance(values, dict) or not set(values) <= names:
        raise ConfigError("thresholds may have recall, precision and iou only.")
    for name, value in values.items():
        if not is_number(value) or not 0 <= value <= 1:
            raise ConfigError(f"threshold {name} must be between 0 and 1.")
        setattr(expectations, name, float(value))


def _refuse_others(item: dict[str, Any], known: set[str]) -> None:
    others = sorted(set(item) - known)
    if others:
        raise ConfigError(
            f"it has the unknown field {visible(others[0], 40)}; use {', '.join(sorted(known))}."
        )


def _interval_of(start: Any, end: Any) -> tuple[float, float]:
    if not is_number(start) or not is_number(end):
        raise ConfigError("start and end must be numbers of seconds.")
    if end < start:
        raise ConfigError(f"its end {end:g} is before its start {start:g}; swap them.")
    # An event that was going on when the recording began cannot be found before its first frame.
    return (max(float(start), 0.0) if end > 0 else float(start)), float(end)


def _interval(item: ExpectedSpan | Quiet | Span) -> str:
    return f"{time_label(item.start)} - {time_label(item.end)}"


def _start(line: Line) -> tuple[float, str]:
    item = line.expected if isinstance(line.expected, ExpectedSpan) else line.span
    return (item.start if item is not None else 0.0), line.query


def write_expectations(run: Run, path: str | Path) -> None:
    """Write the run's spans as ground truth, to be edited; a query without spans becomes a `none` range."""
    lines = ["# What the model found: correct it to what really happened, then use `replay --expect`.\n"]
    for query in run.queries:
        quoted = _quoted(query.query)
        spans = [span for span in query.spans if span.state != RETRACTED]
        for span in spans:
            text = f", text: {_quoted(span.said.text)}" if span.said is not None and span.said.text else ""
            lines.append(f"- {{query: {quoted}, start: {span.start:.1f}, end: {span.end:.1f}{text}}}\n")
        if not spans:
            lines.append(f"- {{query: {quoted}, none: [{run.begin:.1f}, {run.begin + run.seconds:.1f}]}}\n")
    lines.append("- thresholds: {recall: 1.0, precision: 1.0, iou: 0.5}\n")
    write_whole(path, "".join(lines))


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)  # JSON strings are YAML
