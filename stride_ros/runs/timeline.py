"""The run drawn over time: P(active), what was decided, and the ground truth, as inline SVG.

Places along the time axis are in percent and heights in px, so that a wide screen and a phone both show it at
their full width with text of one size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from stride_ros.runs.record import RETRACTED, QueryRun, Run, Span
from stride_ros.text.wording import time_label

_LABELS = 84  # px for the names of the rows
_CHART, _ROW, _GAP, _FOOT = 96, 20, 8, 22  # heights in px
_WIDTHS = {"": 190, "wide": 450, "widest": 800}  # px of the plot at least, by what only such screens show
_CROWD = 60  # spans; the onsets of more would hide the curve
_LABEL_ROOM = 50  # px that a time needs
_POINTS = 2000  # of a curve; more cannot be seen

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 21600, 43200)  # s


def tick_times(seconds: float) -> list[float]:
    """Round times for an axis of this length, about ten."""
    days = (86400 * 2**i for i in range(64))
    step = next(step for step in (*_STEPS, *days) if seconds / step <= 12)
    return [i * step for i in range(int(seconds // step) + 1)]


def curves(query: QueryRun, seconds: float) -> list[list[tuple[float, float]]]:
    """P(active) as lines of (time, value), one for each stretch of time without a gap, thinned where long."""
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
    """The lowest and the highest point in each ``column`` of time (s), in order, and both ends."""
    columns: dict[int, list[tuple[float, float]]] = {}
    for point in line:
        columns.setdefault(int(point[0] / column), []).append(point)
    kept = [line[0]]
    for points in columns.values():
        values = [value for _, value in points]
        low, high = values.index(min(values)), values.index(max(values))
        kept += [points[i] for i in sorted({low, high})]
    return [*kept, line[-1]]


def timeline_svg(run: Run, query: QueryRun) -> str:
    """The chart of one query; its colours and lines are CSS classes of the report's page."""
    rows = 2 if query.expected else 1
    bottom = _CHART + _GAP + rows * (_ROW + _GAP)
    label = f"P(active) over time for: {query.query}"
    names = [("1", 4.0), ("P(active) 0.5", _CHART / 2 + 4), ("0", _CHART + 4.0), ("decided", _row(0) + 14)]
    if query.expected:
        names.append(("ground truth", _row(1) + 14))
    side = "".join(f'<text class="row" x="{_LABELS - 8}" y="{y:g}">{name}</text>' for name, y in names)
    return (
        f'<div class="timeline" role="img" aria-label="{escape(label)}">'
        f'<svg class="rows" width="{_LABELS}" height="{bottom + _FOOT}">{side}</svg>'
        f'<svg class="plot" height="{bottom + _FOOT}">{"".join(_plot(run, query, bottom))}</svg></div>'
    )


def crowded(query: QueryRun) -> bool:
    """Whether onsets are short marks above their spans, since lines through the chart would hide it."""
    return len(query.spans) > _CROWD


def legend_html(run: Run, query: QueryRun) -> str:
    """What the chart shows, drawn with the same shapes and classes as in it."""
    top, bottom = (2, 2 + _GAP) if crowded(query) else (-2, 14)
    keys = [
        (
            "P(active)",
            '<rect class="area" y="3" width="26" height="9"/><line class="curve" x2="26" y1="3" y2="3"/>',
        ),
        ("decided span", '<rect class="span" y="1" width="26" height="10" rx="3"/>'),
        (
            "onset: time to speak" if run.answers else "onset",
            f'<line class="onset" x1="13" x2="13" y1="{top}" y2="{bottom}"/>',
        ),
    ]
    if any(span.state == RETRACTED for span in query.spans):
        keys.append(("retracted", '<rect class="retracted" y="1" width="26" height="10" rx="3"/>'))
    if query.expected:
        keys.append(("ground truth", '<rect class="truth" y="1" width="26" height="10" rx="3"/>'))
    items = (
        f'<span><svg width="26" height="12" aria-hidden="true">{key}</svg>{name}</span>' for name, key in keys
    )
    return f'<p class="legend">{"".join(items)}</p>'


def _row(number: int) -> int:
    """Top of a row of bars in px."""
    return _CHART + _GAP + number * (_ROW + _GAP)


def _plot(run: Run, query: QueryRun, bottom: int) -> Iterator[str]:
    length = max(run.seconds, 1e-3)

    def x(time: float) -> float:
        return round(100 * min(max(time / length, 0.0), 1.0), 3)

    ticks = tick_times(run.seconds)
    for i, time in enumerate(ticks):
        at = f"{x(time)}%"
        yield f'<line class="grid" x1="{at}" x2="{at}" y1="0" y2="{bottom}"/>'
        if (shown := _tick_class(i, len(ticks))) is not None:
            clock = time_label(time).removesuffix(".0")
            yield f'<text class="{shown}" x="{at}" y="{bottom + 16}">{clock}</text>'
    for share in (0.0, 0.5, 1.0):
        y = _CHART * (1 - share)
        kind = "grid half" if share == 0.5 else "grid"
        yield f'<line class="{kind}" x1="0" x2="100%" y1="{y:g}" y2="{y:g}"/>'
    yield _area(query, length)
    # Outlines over the bars.
    for span in sorted(query.spans, key=lambda span: span.state == RETRACTED):
        yield _bar(span, x)
    top = _row(0) - _GAP if crowded(query) else 0
    for span in query.spans:
        at, end = f"{x(span.onset)}%", _row(0) + (0 if crowded(query) else _ROW)
        yield f'<line class="onset" x1="{at}" x2="{at}" y1="{top}" y2="{end}"/>'
    for item in query.expected:
        about = f"{item.text} {time_label(item.start)} to {time_label(item.end)}".strip()
        width = round(x(item.end) - x(item.start), 3)
        yield (
            f'<g><title>{escape(about)}</title><rect class="truth" x="{x(item.start)}%" y="{_row(1)}"'
            f' width="{width}%" height="{_ROW}" rx="3"/></g>'
        )


def _tick_class(number: int, count: int) -> str | None:
    """The class of a tick's time: shown everywhere, on wide screens only, or (None) nowhere."""
    steps, step = [], 1
    for kind, width in reversed(_WIDTHS.items()):
        step *= -(-count * _LABEL_ROOM // (width * step))  # a multiple, so that no screen shows other times
        steps.append((step, kind))
    shown = [kind for step, kind in reversed(steps) if number % step == 0]
    return f"tick {shown[0]}".rstrip() if shown else None


def _bar(span: Span, x: Callable[[float], float]) -> str:
    gone = span.state == RETRACTED
    about = f"span {span.id}: {time_label(span.start)} to {time_label(span.end)}, {span.state}"
    width, top = round(x(span.end) - x(span.start), 3), _row(0)
    number, room = "", 8 + 8 * len(str(span.id))  # px that the number takes, white on a bar
    fits = [kind for kind, pixels in _WIDTHS.items() if width / 100 * pixels >= room]
    if fits and not gone:
        shown = f"id {fits[0]}".rstrip()
        number = f'<text class="{shown}" x="{x(span.start)}%" dx="5" y="{top + 14}">{span.id}</text>'
    kind = "retracted" if gone else "span"
    return (
        f'<g><title>{escape(about)}</title><rect class="{kind}" x="{x(span.start)}%" y="{top}"'
        f' width="{width}%" height="{_ROW}" rx="3"/>{number}</g>'
    )


def _area(query: QueryRun, length: float) -> str:
    """P(active) in a picture of its own, which is stretched to the width of the plot."""
    parts = []
    for line in curves(query, length):
        points = [
            (round(1000 * min(time / length, 1.0), 2), round(_CHART * (1 - value), 2)) for time, value in line
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
