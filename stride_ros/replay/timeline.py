"""The run drawn over time: P(active), what was decided, what was expected. As inline SVG and as PNG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from stride_ros.replay.record import RETRACTED, Expected, QueryRun, Run, Span

WIDTH = 1000  # user units; the page scales it
_LEFT, _RIGHT = 96, 20  # room for the row labels
_CHART, _ROW, _GAP = 96, 20, 8  # heights


def time_label(seconds: float) -> str:
    """Minutes and seconds, like 1:05.2."""
    minutes, rest = divmod(max(round(seconds, 1), 0.0), 60)  # a first slot may begin before the first frame
    return f"{int(minutes)}:{rest:04.1f}"


def tick_times(seconds: float) -> list[float]:
    """Round times for an axis of this length, about ten."""
    step = next(
        step for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 10**9) if seconds / step <= 12
    )
    return [i * step for i in range(int(seconds // step) + 1)]


def timeline_svg(run: Run, query: QueryRun) -> str:
    """Inline SVG for one query; its colours are CSS classes of the report's page."""
    return "".join(_svg_parts(run, query))


def _svg_parts(run: Run, query: QueryRun) -> Iterator[str]:
    length = max(run.seconds, 1e-3)

    def x(time: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * min(max(time / length, 0.0), 1.0), 2)

    rows = 2 if query.expected else 1
    bottom = _CHART + _GAP + rows * (_ROW + _GAP)
    label = f"P(active) over time for: {query.query}"
    yield f'<svg class="timeline" viewBox="0 -8 {WIDTH} {bottom + 30}" role="img"'
    yield f' aria-label="{escape(label)}">'
    for time in tick_times(run.seconds):
        yield f'<line class="grid" x1="{x(time)}" x2="{x(time)}" y1="0" y2="{bottom}"/>'
        clock = time_label(time).removesuffix(".0")
        yield f'<text class="tick" x="{x(time)}" y="{bottom + 16}">{clock}</text>'
    for share, name in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
        y = _CHART * (1 - share)
        kind = "grid half" if share == 0.5 else "grid"
        yield f'<line class="{kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text class="row" x="{_LEFT - 8}" y="{y + 4}">{"P(active)  " * (share == 0.5)}{name}</text>'
    yield _area(query, x)
    y = _CHART + _GAP
    yield f'<text class="row" x="{_LEFT - 8}" y="{y + 14}">decided</text>'
    for span in sorted(query.spans, key=lambda span: span.state == RETRACTED):  # outlines, over the bars
        about = f"span {span.id}: {time_label(span.start)} to {time_label(span.end)}, {span.state}"
        width = max(x(span.end) - x(span.start), 2)
        kind = "retracted" if span.state == RETRACTED else "span"
        room = kind == "span" and width > 8 + 7 * len(str(span.id))  # white on a bar
        number = str(span.id) if room else ""
        yield (
            f"<g><title>{escape(about)}</title>"
            f'<rect class="{kind}" x="{x(span.start)}" y="{y}" width="{width:.2f}"'
            f' height="{_ROW}" rx="3"/><text class="id" x="{x(span.start) + 5}" y="{y + 14}">{number}</text>'
            f'<line class="onset" x1="{x(span.onset)}" x2="{x(span.onset)}" y1="0" y2="{y + _ROW}"/></g>'
        )
    if query.expected:
        y += _ROW + _GAP
        yield f'<text class="row" x="{_LEFT - 8}" y="{y + 14}">expected</text>'
        for item in query.expected:
            about = f"{item.text} {time_label(item.start)} to {time_label(item.end)}".strip()
            width = max(x(item.end) - x(item.start), 2)
            yield (
                f'<g><title>{escape(about)}</title><rect class="expected" x="{x(item.start)}" y="{y}"'
                f' width="{width:.2f}" height="{_ROW}" rx="3"/></g>'
            )
    yield "</svg>"


def _area(query: QueryRun, x: Callable[[float], float]) -> str:
    stretches = query.activity()
    if not stretches:
        return ""
    line = " ".join(
        f"{x(time)},{_CHART * (1 - value):.2f}" for start, end, value in stretches for time in (start, end)
    )
    first, last = x(stretches[0][0]), x(stretches[-1][1])
    return (
        f'<polygon class="area" points="{first},{_CHART} {line} {last},{_CHART}"/>'
        f'<polyline class="curve" points="{line}"/>'
    )


def write_timeline_png(run: Run, path: str | Path) -> None:
    """The same picture as a PNG file, one chart a query."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    count = max(len(run.queries), 1)
    figure, axes = plt.subplots(count, 1, figsize=(12, 2.6 * count + 0.5), sharex=True, squeeze=False)
    for axis, query in zip(axes[:, 0], run.queries, strict=True):
        stretches = query.activity()
        if stretches:
            times = [time for start, end, _ in stretches for time in (start, end)]
            values = [value for _, _, value in stretches for _ in range(2)]
            axis.fill_between(times, values, color="#3b82f6", alpha=0.25, linewidth=0)
            axis.plot(times, values, color="#2563eb", linewidth=1.4, label="P(active)")
        axis.axhline(0.5, color="#94a3b8", linewidth=0.8, linestyle=":")
        kept = [span for span in query.spans if span.state != RETRACTED]
        gone = [span for span in query.spans if span.state == RETRACTED]
        outline = {"fill": False, "edgecolor": "#64748b", "linestyle": (0, (3, 2))}
        rows: list[tuple[float, dict[str, Any], str, Sequence[Span | Expected]]] = [
            (-0.22, {"color": "#0d9488"}, "decided", kept),
            (-0.22, outline, "retracted", gone),
            (-0.46, {"color": "#d97706"}, "expected", query.expected),
        ]
        for y, look, label, spans in rows:
            if spans:
                lengths = [max(span.end - span.start, 0.05) for span in spans]
                starts = [span.start for span in spans]
                axis.barh([y] * len(spans), lengths, 0.18, left=starts, label=label, **look)
        for i, span in enumerate(query.spans):
            axis.axvline(
                span.onset,
                0,
                1,
                color="#be123c",
                linewidth=1.1,
                linestyle="--",
                label="onset" if i == 0 else None,
            )
            # A number needs room, and a bar behind it.
            if span.state != RETRACTED and span.end - span.start > 0.02 * run.seconds:
                at = (span.start + span.end) / 2
                axis.text(at, -0.22, str(span.id), ha="center", va="center", color="white", fontsize=8)
        axis.set_title(query.query, loc="left", fontsize=11, fontweight="bold")
        axis.set_ylim(-0.62 if query.expected else -0.38, 1.05)
        axis.set_yticks([0, 0.5, 1])
        length = max(run.seconds, 1e-3)
        axis.set_xlim(-0.006 * length, length)  # an onset with the first frame is not on the axis itself
        axis.spines[["top", "right"]].set_visible(False)
        if stretches or query.spans or query.expected:
            axis.legend(loc="upper left", bbox_to_anchor=(1.005, 1.0), frameon=False, fontsize=9)
    axes[-1, 0].set_xlabel("time (s)")
    figure.suptitle(run.name, x=0.01, ha="left", fontsize=9, color="#64748b")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
