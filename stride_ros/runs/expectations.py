"""Read and write the ground truth of a recording, a YAML file of spans.

The file is a list of items:

    - {query: "Tell me when a person is in view.", start: 6.2, end: 20.4}    # s from the first frame
    - {query: "Tell me when a person is in view.", start: 22.8, end: 45.2, tolerance: 1.5}
    - {query: "Tell me when the light is off.", none: [0, 60]}               # nothing may be found there
    - thresholds: {recall: 1.0, precision: 1.0, iou: 0.5}                    # these are the defaults

An event of the ground truth is found if a span overlaps it with at least `iou`. With a `tolerance`, `iou`
does not count: it is found if start and end of a span are each within that many seconds. `recall` is the
fraction of events found, `precision` the fraction of spans that are events; spans in a `none` interval always
fail, so it may not overlap an event of its query. A `text` is kept for the report, so that the labels of
`stride-ros world --labels` can be used unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from stride_ros.errors import ConfigError
from stride_ros.runs.record import RETRACTED, Run, Span
from stride_ros.text.foreign import visible
from stride_ros.user_files.output import write_whole
from stride_ros.user_files.values import is_number, text_of
from stride_ros.user_files.yaml_file import line_of, plain, read_yaml

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
    """An interval from `start` to `end` (s) in which nothing may be found for the query."""

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


def read_expectations(path: str | Path) -> Expectations:
    """Read a file; ConfigError names a wrong item and its line, SourceError an unreadable file."""
    root = read_yaml(path)
    if root is not None and root.id != "sequence":
        raise ConfigError(
            f"{path} is not a list of spans; write items like - {{query: ..., start: 1, end: 5}}."
        )
    expectations = Expectations()
    lines: list[tuple[ExpectedSpan | Quiet, int]] = []
    for number, item in enumerate(root.value if root is not None else (), 1):
        try:
            added = _add(expectations, plain(item))
        except ConfigError as error:
            raise ConfigError(f"Item {number} of {path}, line {line_of(item)}: {error}") from None
        if added is not None:
            lines.append((added, line_of(item)))
    _refuse_contradictions(lines, path)
    if not expectations.queries:
        raise ConfigError(f"{path} expects nothing; write items like - {{query: ..., start: 1, end: 5}}.")
    return expectations


def _refuse_contradictions(items: Sequence[tuple[ExpectedSpan | Quiet, int]], path: str | Path) -> None:
    """Raise ConfigError if a `none` interval overlaps an event of its query; `items` have their lines."""
    longest: dict[tuple[str, bool], tuple[ExpectedSpan | Quiet, int]] = {}  # of those that began so far
    for item, line in sorted(items, key=lambda each: each[0].start):
        quiet = isinstance(item, Quiet)
        other, of_other = longest.get((item.query, not quiet), (None, 0))
        if other is not None and item.start < other.end and item.end > other.start:
            none, event = (line, of_other) if quiet else (of_other, line)
            raise ConfigError(
                f"The none interval in {path}, line {none}, overlaps the event of the same query in line "
                f"{event}; remove the interval, or limit it to times without events."
            )
        before = longest.get((item.query, quiet))
        if before is None or item.end > before[0].end:
            longest[item.query, quiet] = (item, line)


def _add(expectations: Expectations, item: Any) -> ExpectedSpan | Quiet | None:
    """Add an item of a file, and return it if it is about a query."""
    if not isinstance(item, dict):
        raise ConfigError("it is not a mapping; write it like {query: ..., start: 1, end: 5}.")
    if set(item) == {"thresholds"}:
        _set_thresholds(expectations, item["thresholds"])
        return None
    query = item.get("query")
    if query is None or query == "":
        raise ConfigError("it has no query; add the text of the query.")
    query = text_of(query, "its query")
    if "none" in item:
        _refuse_others(item, _NONE_KEYS)
        stretch = item["none"]
        if not isinstance(stretch, list) or len(stretch) != 2:
            raise ConfigError("none must be [from, to] in seconds.")
        quiet = Quiet(query, *_interval_of(stretch[0], stretch[1]))
        expectations.quiet.append(quiet)
        return quiet
    _refuse_others(item, _SPAN_KEYS)
    start, end = _interval_of(item.get("start"), item.get("end"))
    tolerance = item.get("tolerance")
    if tolerance is not None and not (is_number(tolerance) and tolerance >= 0):
        raise ConfigError("tolerance must be a number of seconds of at least 0.")
    text = "" if item.get("text") is None else text_of(item["text"], "its text", empty=True)
    event = ExpectedSpan(query, start, end, tolerance, text)
    expectations.spans.append(event)
    return event


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


def write_expectations(run: Run, path: str | Path) -> None:
    """Write the run's spans as ground truth, to be edited; for a query without spans, a `none` interval."""
    lines = ["# What the model found: correct it to what really happened, then use `replay --expect`.\n"]
    kept = [[span for span in query.spans if span.state != RETRACTED] for query in run.queries]
    if not all(kept):
        lines.append(
            "# A `none` line says that nothing happens: when you add an event of its query, remove it.\n"
        )
    for query, spans in zip(run.queries, kept, strict=True):
        quoted = _quoted(query.query)
        for span in spans:
            text = f", text: {_quoted(span.said.text)}" if span.said is not None and span.said.text else ""
            lines.append(f"- {{query: {quoted}, start: {span.start:.1f}, end: {span.end:.1f}{text}}}\n")
        if not spans:
            lines.append(f"- {{query: {quoted}, none: [{run.begin:.1f}, {run.begin + run.seconds:.1f}]}}\n")
    usual = Expectations()
    values = f"recall: {usual.recall}, precision: {usual.precision}, iou: {usual.iou}"
    lines.append(f"- thresholds: {{{values}}}\n")
    write_whole(path, "".join(lines))


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)  # JSON strings are YAML
