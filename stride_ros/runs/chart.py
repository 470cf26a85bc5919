"""The content of a query's timeline, which the page and the PNG file both draw."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from stride_ros.runs.record import RETRACTED, Expected, QueryRun, Run, Span
from stride_ros.text.wording import time_label

Kind = Literal["activity", "span", "retracted", "truth", "onset"]

_CROWD = 60  # spans; with more, their onsets would hide the curve
_LANES = 6  # of overlapping bars; further ones are drawn over the last
_POINTS = 2000  # points of a curve; more would not be visible
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 21600, 43200)  # s


def tick_times(seconds: float, begin: float = 0.0) -> list[float]:
    """About ten round times for an axis of this length from `begin` (s)."""
    days = (86400 * 2**i for i in range(64))
    step = next(step for step in (*_STEPS, *days) if seconds / step <= 12)
    first = math.ceil(begin / step)
    return [i * step for i in range(first, int((begin + seconds) // step) + 1)]


def curves(query: QueryRun, seconds: float) -> list[list[tuple[float, float]]]:
    """P(active) as lines of (time, value), one for each period without gaps; long ones are reduced."""
    lines: list[list[tuple[float, float]]] = []
    before = float("-inf")
    for start, end, value in query.activity():
        if start > before + 1e-6:
            lines.append([])
        lines[-1] += [(start, value), (end, value)]
        before = end
    if sum(map(len, lines)) <= _POINTS:
        return lines
    return [_thinned(line, 2 * seconds / _POINTS) for line in lines]


def _thinned(line: list[tuple[float, float]], column: float) -> list[tuple[float, float]]:
    """The lowest and the highest point in each `column` of time (s), in order, and both ends."""
    columns: dict[int, list[tuple[float, float]]] = {}
    for point in line:
        columns.setdefault(int(point[0] / column), []).append(point)
    kept = [line[0]]
    for points in columns.values():
        values = [value for _, value in points]
        low, high = values.index(min(values)), values.index(max(values))
        kept += [points[i] for i in sorted({low, high})]
    return [*kept, line[-1]]


@dataclass(frozen=True)
class Bar:
    """A time range (s from the first frame) in the row of spans or of the ground truth.

    `number`: the id written on it if there is room; `about`: its description; `lane`: which of the row's
    lanes it is in, from 0, so that bars that overlap are below each other.
    """

    kind: Kind
    start: float
    end: float
    number: int | None
    about: str
    lane: int = 0


@dataclass(frozen=True)
class Chart:
    """One query over time, from `begin` for `length` seconds.

    `curves`: P(active) as lines of (time, value); `bars` in drawing order, outlines last; `onsets` in s;
    `ticks`: times of the axis with their labels; `legend`: the kinds drawn, with their names; `crowded`:
    onsets are short marks above their spans, since lines through the chart would hide the curve.
    """

    begin: float
    length: float
    curves: list[list[tuple[float, float]]]
    bars: list[Bar]
    onsets: list[float]
    ticks: list[tuple[float, str]]
    legend: list[tuple[Kind, str]]
    crowded: bool

    @property
    def span_lanes(self) -> int:
        """Number of lanes in the row of spans, at least 1."""
        return max((bar.lane for bar in self.bars if bar.kind != "truth"), default=0) + 1

    @property
    def truth_lanes(self) -> int:
        """Number of lanes in the row of the ground truth, 0 if there is none."""
        return max((bar.lane for bar in self.bars if bar.kind == "truth"), default=-1) + 1


def chart_of(run: Run, query: QueryRun) -> Chart:
    """The chart of one query of a run."""
    length = max(run.seconds, 1e-3)
    spans = sorted(query.spans, key=lambda span: span.state == RETRACTED)
    legend: list[tuple[Kind, str]] = [
        ("activity", "P(active) when first decided"),
        ("span", "decided span"),
        ("onset", "onset: time to speak" if run.answers else "onset"),
    ]
    if any(span.state == RETRACTED for span in spans):
        legend.append(("retracted", "retracted"))
    if query.expected:
        legend.append(("truth", "ground truth"))
    return Chart(
        run.begin,
        length,
        curves(query, length),
        [*_in_lanes(map(_span_bar, spans)), *_in_lanes(map(_truth_bar, query.expected))],
        [span.onset for span in query.spans],
        [(time, time_label(time).removesuffix(".0")) for time in tick_times(run.seconds, run.begin)],
        legend,
        len(query.spans) > _CROWD,
    )


def _in_lanes(bars: Iterable[Bar]) -> list[Bar]:
    """The bars in their order, each in the first lane where it overlaps no other."""
    bars = list(bars)
    ends: list[float] = []  # of the last bar in each lane
    lanes: dict[int, int] = {}
    for i in sorted(range(len(bars)), key=lambda i: (bars[i].start, bars[i].end)):
        free = (lane for lane, end in enumerate(ends) if end <= bars[i].start)
        lane = next(free, min(len(ends), _LANES - 1))
        ends[lane : lane + 1] = [max([bars[i].end, *ends[lane : lane + 1]])]
        lanes[i] = lane
    return [replace(bar, lane=lanes[i]) for i, bar in enumerate(bars)]


def _span_bar(span: Span) -> Bar:
    about = f"span {span.id}: {time_label(span.start)} to {time_label(span.end)}, {span.state}"
    if span.state == RETRACTED:
        return Bar("retracted", span.start, span.end, None, about)
    return Bar("span", span.start, span.end, span.id, about)


def _truth_bar(item: Expected) -> Bar:
    about = f"{item.text} {time_label(item.start)} to {time_label(item.end)}".strip()
    return Bar("truth", item.start, item.end, None, about)
