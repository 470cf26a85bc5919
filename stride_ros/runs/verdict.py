"""The result of comparing a run with the ground truth, which terminal, page and JSON show alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from stride_ros.runs.onsets import ONSET_TOLERANCE
from stride_ros.terminal import one_line
from stride_ros.text.wording import counted, time_label

if TYPE_CHECKING:
    from stride_ros.runs.expectations import ExpectedSpan, Quiet
    from stride_ros.runs.record import Span

_ONSET_WIDTH = 13  # least columns of the onset in `Verdict.rows`
_RETRACTED = "retracted"
_UNDEFINED = "–"  # noqa: RUF001 - an en dash for a number that is not defined
_GRADES = {"found": "good", "inexact": "fair", "repeated": "fair", _RETRACTED: "fair"}


@dataclass(frozen=True)
class Line:
    """One event of the ground truth, or one span that is not the span of an event.

    `verdict`: "found"; "inexact", a span belongs to the event, but its start or end is too far off;
    "missed"; "repeated", a further span of an event; "retracted", a retracted span at an event; "false
    alarm", a span with its onset at no event, retracted or not; "not quiet", a span where nothing may be
    found. `iou`: the overlap of event and span, 0 to 1. `event`: the event that the span's onset is compared
    with, if there is one; `false_alarm`: whether the onset is counted as a false alarm, which that of a found
    event can be too.
    """

    verdict: str
    query: str
    expected: ExpectedSpan | Quiet | None
    span: Span | None
    iou: float = 0.0
    event: ExpectedSpan | None = None
    false_alarm: bool = False

    @property
    def good(self) -> bool:
        return self.verdict == "found"

    @property
    def grade(self) -> str:
        """One of good, fair and bad."""
        return "fair" if self.good and self.false_alarm else _GRADES.get(self.verdict, "bad")

    @property
    def retracted(self) -> bool:
        """Whether the span was retracted."""
        return self.span is not None and self.span.state == _RETRACTED

    @property
    def delay(self) -> float | None:
        """Seconds from the start of `event` to the onset of the span."""
        return None if self.event is None or self.span is None else self.span.onset - self.event.start

    @property
    def onset(self) -> str:
        """The delay in words, or the time of an onset that is compared with no event.

        "early" and "late" mark an onset that is not within ONSET_TOLERANCE of the event's start, "too early"
        and "too late" one that is a false alarm because of that.
        """
        if self.span is None:
            return ""
        if self.delay is None:
            return f"at {time_label(self.span.onset)}"
        side = "early" if self.delay < 0 else "late"
        if self.false_alarm:
            return f"{self.delay:+.1f} s too {side}"
        return f"{self.delay:+.1f} s{f' {side}' if abs(self.delay) > ONSET_TOLERANCE else ''}"

    def to_json(self) -> dict[str, Any]:
        """The line as JSON; null where there is no event or no span."""
        item, delay, event = self.expected, self.delay, self.event
        return {
            "verdict": self.verdict,
            "query": self.query,
            "expected": None if item is None else [round(item.start, 4), round(item.end, 4)],
            "span": None if self.span is None else self.span.id,
            "iou": round(self.iou, 4),
            "onset": None if self.span is None else round(self.span.onset, 4),
            "event": None if event is None else [round(event.start, 4), round(event.end, 4)],
            "delay": None if delay is None else round(delay, 4),
            "false_alarm": self.false_alarm,
        }


@dataclass(frozen=True)
class OnsetCounts:
    """How the onsets of one query compare with the ground truth, counted as `stride-ros evaluate` does.

    `events`: number of events; `in_time`: how many of them have an onset up to ONSET_TOLERANCE seconds from
    their start, with these `delays` (s); `onsets`: number of onsets, `retracted` of them for spans that were
    retracted; `false_alarms`: onsets at no event; `seconds`: how long the query was watched; `replays`: the
    events of each replay, if these are the counts of several.
    """

    query: str
    events: int
    delays: tuple[float, ...]
    onsets: int
    retracted: int
    false_alarms: int
    seconds: float
    replays: tuple[int, ...] = ()

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
            near = f"onset within {ONSET_TOLERANCE:g} s of the start: {self.in_time} of {self.events}"
            delay = "" if self.delay is None else f", median delay {self.delay:+.1f} s"
            parts.append(f"{near}{self._starts}{delay}")
        retracted = f", {self.retracted} of them retracted" if self.retracted else ""
        parts.append(f"{counted(self.onsets, 'onset')}{retracted}")
        rate = self.false_alarms_per_minute
        per_minute = "" if rate is None or not self.false_alarms else f", {rate:.1f} a minute"
        parts.append(f"{counted(self.false_alarms, 'false alarm')}{per_minute}")
        return "; ".join(parts)

    @property
    def _starts(self) -> str:
        """How often each event was counted, if more than once."""
        if not self.replays:
            return ""
        most = max(self.replays)
        some = "" if min(self.replays) == most else "up to "  # a late start may be after an event
        return f" ({some}{counted(most, 'event')} at {len(self.replays)} starts)"

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
                (*(before.replays or (before.events,)), each.events),
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

    @property
    def hang(self) -> int:
        """Column of the query in `rows`, which further lines of it are indented by."""
        return 54 + self._onset_width

    @property
    def _onset_width(self) -> int:
        return max([_ONSET_WIDTH, *(len(_onset_cell(line)) for line in self.lines)])

    def rows(self) -> list[str]:
        """The comparison, one line per event and per further span, then the numbers."""
        width = self._onset_width
        rows = [f"{'':11}  {'ground truth':>17}  {'found':>17}  {'onset':{width}}   query"]
        for line in self.lines:
            expected = _interval(line.expected) if line.expected is not None else ""
            found = _interval(line.span) if line.span is not None else ""
            cells = f"{line.verdict:11}  {expected:>17}  {found:>17}  {_onset_cell(line):{width}}"
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


def _onset_cell(line: Line) -> str:
    """The onset, and that the span was retracted if the verdict does not say so."""
    return f"{line.onset} (retracted)" if line.retracted and line.verdict != _RETRACTED else line.onset


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
