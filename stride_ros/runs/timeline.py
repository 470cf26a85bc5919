"""Draw the chart of a query as inline SVG.

Positions along the time axis are in percent and heights in px, so that wide screens and phones both show it
at full width with the same text size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stride_ros.pages.page import shown
from stride_ros.runs.chart import Bar, Chart, chart_of
from stride_ros.runs.record import QueryRun, Run

_LABELS = 84  # px for the names of the rows
_CHART, _ROW, _GAP, _FOOT = 96, 20, 8, 22  # heights in px
_WIDTHS = {
    "": 190,
    "wide": 450,
    "widest": 800,
}  # minimum px of the plot, by class of screen
_LABEL_ROOM = 50  # px that a time label needs


def timeline_svg(run: Run, query: QueryRun) -> str:
    """The chart of one query; its colours and lines are CSS classes of the report's page."""
    chart = chart_of(run, query)
    rows = chart.span_lanes + chart.truth_lanes
    bottom = _CHART + _GAP + rows * (_ROW + _GAP)
    label = f"P(active) over time for: {query.query}"
    names = [("1", 4.0), ("P(active) 0.5", _CHART / 2 + 4), ("0", _CHART + 4.0), ("decided", _row(0) + 14)]
    if chart.truth_lanes:
        names.append(("ground truth", _row(chart.span_lanes) + 14))
    side = "".join(f'<text class="row" x="{_LABELS - 8}" y="{y:g}">{name}</text>' for name, y in names)
    return (
        f'<div class="timeline" role="img" aria-label="{shown(label)}">'
        f'<svg class="rows" width="{_LABELS}" height="{bottom + _FOOT}">{side}</svg>'
        f'<svg class="plot" height="{bottom + _FOOT}">{"".join(_plot(chart, bottom))}</svg></div>'
    )


def legend_html(run: Run, query: QueryRun) -> str:
    """The legend of a chart, drawn with the same shapes and classes."""
    chart = chart_of(run, query)
    top, bottom = (2, 2 + _GAP) if chart.crowded else (-2, 14)
    keys = {
        "activity": (
            '<rect class="area" y="3" width="26" height="9"/><line class="curve" x2="26" y1="3" y2="3"/>'
        ),
        "onset": f'<line class="onset" x1="13" x2="13" y1="{top}" y2="{bottom}"/>',
    }
    items = []
    for kind, name in chart.legend:
        key = keys.get(kind, f'<rect class="{kind}" y="1" width="26" height="10" rx="3"/>')
        items.append(f'<span><svg width="26" height="12" aria-hidden="true">{key}</svg>{name}</span>')
    return f'<p class="legend">{"".join(items)}</p>'


def _row(number: int) -> int:
    """Top of a row of bars in px."""
    return _CHART + _GAP + number * (_ROW + _GAP)


def _plot(chart: Chart, bottom: int) -> Iterator[str]:
    def x(time: float) -> float:
        return round(100 * min(max((time - chart.begin) / chart.length, 0.0), 1.0), 3)

    for i, (time, text) in enumerate(chart.ticks):
        at = f"{x(time)}%"
        yield f'<line class="grid" x1="{at}" x2="{at}" y1="0" y2="{bottom}"/>'
        if (shown := _tick_class(i, len(chart.ticks))) is not None:
            yield f'<text class="{shown}" x="{at}" y="{bottom + 16}">{text}</text>'
    for share in (0.0, 0.5, 1.0):
        y = _CHART * (1 - share)
        kind = "grid half" if share == 0.5 else "grid"
        yield f'<line class="{kind}" x1="0" x2="100%" y1="{y:g}" y2="{y:g}"/>'
    yield _area(chart)
    yield from (_bar(bar, chart, x) for bar in chart.bars)
    top = _row(0) - _GAP if chart.crowded else 0  # down to the bars, whose numbers stay readable
    for onset in chart.onsets:
        at = f"{x(onset)}%"
        yield f'<line class="onset" x1="{at}" x2="{at}" y1="{top}" y2="{_row(0)}"/>'


def _tick_class(number: int, count: int) -> str | None:
    """The class of a tick's time: shown everywhere, only on wide screens, or (None) nowhere."""
    steps, step = [], 1
    for kind, width in reversed(_WIDTHS.items()):
        step *= -(-count * _LABEL_ROOM // (width * step))  # a multiple, so that screens show the same times
        steps.append((step, kind))
    shown = [kind for step, kind in reversed(steps) if number % step == 0]
    return f"tick {shown[0]}".rstrip() if shown else None


def _bar(bar: Bar, chart: Chart, x: Callable[[float], float]) -> str:
    width = round(x(bar.end) - x(bar.start), 3)
    top = _row(bar.lane + (chart.span_lanes if bar.kind == "truth" else 0))
    number = "" if bar.number is None else _number(bar.number, x(bar.start), width, top)
    return (
        f'<g><title>{shown(bar.about)}</title><rect class="{bar.kind}" x="{x(bar.start)}%" y="{top}"'
        f' width="{width}%" height="{_ROW}" rx="3"/>{number}</g>'
    )


def _number(number: int, start: float, width: float, top: int) -> str:
    """The id of a span, white on its bar, on screens where it fits; start and width in percent."""
    room = 8 + 8 * len(str(number))  # px
    fits = [kind for kind, pixels in _WIDTHS.items() if width / 100 * pixels >= room]
    if not fits:
        return ""
    shown = f"id {fits[0]}".rstrip()
    return f'<text class="{shown}" x="{start}%" dx="5" y="{top + 14}">{number}</text>'


def _area(chart: Chart) -> str:
    """P(active) as a separate picture, which is stretched to the width of the plot."""
    parts = []
    for line in chart.curves:
        points = [
            (
                round(1000 * min(max((time - chart.begin) / chart.length, 0.0), 1.0), 2),
                round(_CHART * (1 - value), 2),
            )
            for time, value in line
        ]
        text = " ".join(f"{x:g},{y:g}" for x, y in points)
        parts.append(
            f'<polygon class="area" points="{points[0][0]:g},{_CHART} {text} {points[-1][0]:g},{_CHART}"/>'
            f'<polyline class="curve" points="{text}"/>'
        )
    return (
        f'<svg x="0" y="0" width="100%" height="{_CHART}" viewBox="0 0 1000 {_CHART}"'
        f' preserveAspectRatio="none">{"".join(parts)}</svg>'
    )
