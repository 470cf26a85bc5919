"""The result of comparing a run with the ground truth, which terminal, page and JSON show alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from stride_ros.runs.onsets import ONSET_TOLERANCE, near_event
from stride_ros.terminal import one_line
from stride_ros.text.wording import counted, time_label

if TYPE_CHECKING:
    from stride_ros.runs.expectations import ExpectedSpan, Quiet
    from stride_ros.runs.record import Span

TABLE_HANG = 67  # column of the query in `Verdict.rows`
_RETRACTED = "retracted"
_UNDEFINED = "–"  # noqa: RUF001 - an en dash for a number that is not defined
_GRADES = {"found": "good", "inexact": "fair", "repeated": "fair", _RETRACTED: "fair"}


@dataclass(frozen=True)
class Line:
    """One event of the ground truth, or one span that belongs to none.

    `verdict`: "found"; "inexact", a span belongs to the event, but its start or end is too far off;
    "missed"; "repeated", a further span of an event; "retracted", a retracted span at an event; "false
    alarm", a span at no event, retracted or not; "not quiet", a span where nothing may be found. `iou`: the
    overlap of event and span, 0 to 1.
    """

    verdict: str
    query: str
    expected: ExpectedSpan | Quiet | None
    span: Span | None
    iou: float = 0.0

    @property
    def good(self) -> bool:
        return self.verdict == "found"

    @property
    def grade(self) -> str:
        """One of good, fair and bad."""
        return _GRADES.get(self.verdict, "bad")

    @property
    def retracted(self) -> bool:
        """Whether the span was retracted."""
        return self.span is not None and self.span.state == _RETRACTED

    @property
    def delay(self) -> float | None:
        """Seconds from the start of a found or inexact event to the onset of its span."""
        if self.verdict not in ("found", "inexact") or self.expected is None or self.span is None:
            return None
        return self.span.onset - self.expected.start

    @property
    def onset(self) -> str:
        """The delay in words; "early" and "late" mark an onset that is not near its event."""
        if self.delay is None or self.expected is None or self.span is None:
            return ""
        outside = not near_event(self.span.onset, [(self.expected.start, self.expected.end)])
        mark = (" early" if self.delay < 0 else " late") if outside else ""
        return f"{self.delay:+.1f} s{mark}"

    def to_json(self) -> dict[str, Any]:
        """The line as JSON; null where there is no event or no span."""
        item, delay = self.expected, self.delay
        return {
            "verdict": self.verdict,
            "query": self.query,
            "expected": None if item is None else [round(item.start, 4), round(item.end, 4)],
            "span": None if self.span is None else self.span.id,
            "iou": round(self.iou, 4),
            "delay": None if delay is None else round(delay, 4),
        }


@dataclass(frozen=True)
class OnsetCounts:
    """How the onsets of one query compare with the ground truth, counted as `stride-ros evaluate` does.

    `events`: number of events; `in_time`: how many of them have an onset up to ONSET_TOLERANCE seconds from
    their start, with these `delays` (s); `onsets`: number of onsets, `retracted` of them for spans that were
    retracted; `false_alarms`: onsets at no event; `seconds`: how long the query was watched.
    """

    query: str
    events: int
    delays: tuple[float, ...]
    onsets: int
    retracted: int
    false_alarms: int
    seconds: float

    @property
    def in_time(self) -> int:
        return len(self.delays)

    @property
    def delay(self) -> float | None:
        """Median of the delays, None if there are none."""
        return median(self.delays) if self.delays else None

    @property
    def false_alarms_per_minute(self) -> float | None:
        return 60.0 * self.false_alarms / self.seconds if self.seconds > 0 else None

    def __str__(self) -> str:
        parts = []
        if self.events:
            span = f"onset within {ONSET_TOLERANCE:g} s of the start"
            parts.append(f"{span}: {self.in_time} of {self.events}")
        retracted = f", {self.retracted} of them retracted" if self.retracted else ""
        parts.append(f"{counted(self.onsets, 'onset')}{retracted}")
        rate = self.false_alarms_per_minute
        per_minute = "" if rate is None or not self.false_alarms else f", {rate:.1f} a minute"
        parts.append(f"{counted(self.false_alarms, 'false alarm')}{per_minute}")
        if self.delay is not None:
            parts.append(f"median delay {self.delay:+.1f} s")
        return "; ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON."""
        rate = self.false_alarms_per_minute
        return {
            "query": self.query,
            "events": self.events,
            "in_time": self.in_time,
            "onsets": self.onsets,
            "retracted": self.retracted,
            "false_alarms": self.false_alarms,
            "false_alarms_per_minute": None if rate is None else round(rate, 4),
            "median_delay": None if self.delay is None else round(self.delay, 4),
        }


def together(counts: Iterable[OnsetCounts]) -> list[OnsetCounts]:
    """The counts of several runs added up, one for each query."""
    summed: dict[str, OnsetCounts] = {}
    for each in counts:
        before = summed.get(each.query)
        summed[each.query] = (
            each
            if before is None
            else OnsetCounts(
                each.query,
                before.events + each.events,
                before.delays + each.delays,
                before.onsets + each.onsets,
                before.retracted + each.retracted,
                before.false_alarms + each.false_alarms,
                before.seconds + each.seconds,
            )
        )
    return list(summed.values())


def count_rows(counts: Sequence[OnsetCounts]) -> list[str]:
    """The counts in readable form, below their queries if there are several."""
    if len(counts) == 1:
        return [str(counts[0])]
    return [row for each in counts for row in (one_line(each.query), f"  {each}")]


@dataclass(frozen=True)
class Verdict:
    """How a run compares with the ground truth.

    `recall`: fraction of the events found, None without events; `precision`: fraction of the spans that are
    events, retracted ones left out, None without spans; `failures`: the thresholds that were not met, in
    words; `onsets`: the counts of each query.
    """

    lines: list[Line]
    recall: float | None
    precision: float | None
    failures: list[str]
    onsets: list[OnsetCounts]

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def outcome(self) -> str:
        """Whether the ground truth was met, and if not, why."""
        return f"Not met: {'; '.join(self.failures)}." if self.failures else "Met."

    @property
    def scores(self) -> str:
        """Recall and precision."""
        return f"recall {_score(self.recall)}, precision {_score(self.precision)}"

    def rows(self) -> list[str]:
        """The comparison, one line per event and per span without one, then the numbers."""
        rows = [f"{'':11}  {'ground truth':>17}  {'found':>17}  {'onset':>13}   query"]
        for line in self.lines:
            expected = _interval(line.expected) if line.expected is not None else ""
            found = _interval(line.span) if line.span is not None else ""
            onset = "(retracted)" if line.retracted else line.onset
            cells = f"{line.verdict:11}  {expected:>17}  {found:>17}  {onset:>13}"
            rows.append(f"{cells}   {one_line(line.query)}")
        return [*rows, *count_rows(self.onsets), self.scores]

    def table(self) -> str:
        """The comparison in readable form, with the outcome."""
        return "\n".join([*self.rows(), self.outcome])

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON; times in s."""
        return {
            "ok": self.ok,
            "failures": self.failures,
            "recall": None if self.recall is None else round(self.recall, 4),
            "precision": None if self.precision is None else round(self.precision, 4),
            "lines": [line.to_json() for line in self.lines],
            "onsets": [counts.to_json() for counts in self.onsets],
        }


def _score(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:.2f}"


def _interval(item: ExpectedSpan | Quiet | Span) -> str:
    return f"{time_label(item.start)} - {time_label(item.end)}"


def unmet(recall: float | None, precision: float | None, least: Sequence[float]) -> list[str]:
    """The thresholds, `least` recall and precision, that are not met; one that is not defined is."""
    named = zip(("recall", "precision"), (recall, precision), least, strict=True)
    return [
        f"{name} {value:.2f} is below {limit:.2f}"
        for name, value, limit in named
        if value is not None and value < limit
    ]
