"""Draw the timeline as a PNG file in the report's colours, for use in a chat or a ticket."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.pages.palette import LIGHT
from stride_ros.runs.chart import Bar, Chart, Kind, chart_of
from stride_ros.runs.record import Run
from stride_ros.terminal import one_line, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FONT = "DejaVu Sans"  # comes with matplotlib
_TITLE_COLUMNS = 105  # characters of a line of the title
_CHART, _LINE = 2.6, 0.2  # inches of a chart with one title line, and of each further line
_SPANS, _LANE = -0.22, 0.24  # position of the first lane of bars below P(active) = 0, and their distance
_LANE_HEIGHT = 0.3  # inches of each lane beyond two
_DASHED = (0, (5 / 1.6, 3 / 1.6))  # in line widths
_OUTLINE = (0, (4, 3))
_PLAIN: Any = {"parse_math": False, "usetex": False}  # $ is a dollar


def write_timeline_png(run: Run, path: str | Path) -> None:
    """Draw the timeline of every query into a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    texts = [_one_line(text) for text in (run.name, *(query.query for query in run.queries))]
    fonts, drawable = _fonts(texts)
    drawn = [_drawable(text, drawable, f"query {i}" if i else "the run") for i, text in enumerate(texts)]
    name, *titles = ["\n".join(wrapped(text, _TITLE_COLUMNS, tear=True)) for text in drawn]
    charts = [chart_of(run, query) for query in run.queries]
    heights = [
        _CHART + _LINE * title.count("\n") + _LANE_HEIGHT * max(_lanes(chart) - 2, 0)
        for title, chart in zip(titles, charts, strict=True)
    ] or [_CHART]
    with plt.rc_context({"font.family": fonts}):
        figure, axes = plt.subplots(
            len(heights),
            1,
            figsize=(12, sum(heights) + 0.6 + _LINE * name.count("\n")),
            sharex=True,
            squeeze=False,
            height_ratios=heights,
            layout="constrained",
        )
        for axis, chart, title in zip(axes[:, 0], charts, titles, strict=True):
            axis.set_title(title, loc="left", fontsize=11, fontweight="bold", **_PLAIN)
            _draw(axis, chart)
        axes[-1, 0].set_xlabel("time (minutes:seconds)")
        figure.suptitle(name, x=0.01, ha="left", fontsize=9, color=LIGHT["soft"], **_PLAIN)
        figure.savefig(path, dpi=110)
        plt.close(figure)


def _draw(axis: Axes, chart: Chart) -> None:
    for line in chart.curves:
        times, values = zip(*line, strict=True)
        axis.fill_between(times, values, color=LIGHT["area"], linewidth=0)
        axis.plot(times, values, color=LIGHT["curve"], linewidth=1.4)
    axis.axhline(0.5, color=LIGHT["line"], linewidth=1, linestyle=(0, (3, 4)))
    for bar in chart.bars:
        _bar(axis, bar, chart)
    mark = [_SPANS + 0.1, -0.02 if chart.crowded else 1]  # down to the bars, whose numbers stay readable
    for onset in chart.onsets:
        axis.plot([onset] * 2, mark, color=LIGHT["onset"], linewidth=1.6, linestyle=_DASHED)
    axis.set_ylim(_SPANS - 0.16 - _LANE * (_lanes(chart) - 1), 1.05)
    axis.set_yticks([0, 0.5, 1])
    axis.set_ylabel("P(active)")
    axis.set_xticks([time for time, _ in chart.ticks], [text for _, text in chart.ticks])
    # Keep an onset at the first frame off the axis.
    axis.set_xlim(chart.begin - 0.006 * chart.length, chart.begin + 1.006 * chart.length)
    axis.spines[["top", "right"]].set_visible(False)
    _legend(axis, chart)


def _lanes(chart: Chart) -> int:
    return chart.span_lanes + chart.truth_lanes


def _bar(axis: Axes, bar: Bar, chart: Chart) -> None:
    start, length = max(bar.start, chart.begin), chart.length
    width = max(bar.end - start, length / 1000)  # narrower bars might fall between pixels
    y = _SPANS - _LANE * (bar.lane + (chart.span_lanes if bar.kind == "truth" else 0))
    axis.barh(y, width, 0.18, left=start, **_look(bar.kind))
    # A number needs room, and a bar behind it.
    if bar.number is not None and width > (0.01 + 0.008 * len(str(bar.number))) * length:
        at = start + width / 2
        axis.text(at, y, str(bar.number), ha="center", va="center", color="white", fontsize=8)


def _look(kind: Kind) -> dict[str, Any]:
    """The style of a kind of bar, in the chart and the legend."""
    if kind == "retracted":
        return {"fill": False, "edgecolor": LIGHT["gone"], "linestyle": _OUTLINE}
    return {"color": LIGHT[kind], "linewidth": 0.8}


def _legend(axis: Axes, chart: Chart) -> None:
    """The legend, with the colours and lines of the chart."""
    from matplotlib.legend_handler import HandlerLine2D
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    class Upright(HandlerLine2D):
        """Draws an onset upright in the legend, too."""

        def create_artists(
            self,
            legend: Any,
            line: Any,
            xd: float,
            yd: float,
            width: float,
            height: float,
            size: Any,
            trans: Any,
        ) -> list[Any]:
            ends = [-yd - 2, height - yd + 2]
            upright = Line2D(
                [width / 2 - xd] * 2, ends, color=LIGHT["onset"], linewidth=1.6, linestyle=_DASHED
            )
            upright.set_transform(trans)
            return [upright]

    curve = (Patch(color=LIGHT["area"], linewidth=0), Line2D([], [], color=LIGHT["curve"], linewidth=1.4))
    onset = Line2D([], [], color=LIGHT["onset"], linewidth=1.6, linestyle=_DASHED)
    lines: dict[str, Any] = {"activity": curve, "onset": onset}
    keys = [lines.get(kind) or Patch(**_look(kind)) for kind, _ in chart.legend]
    axis.legend(
        keys,
        [name for _, name in chart.legend],
        loc="upper left",
        bbox_to_anchor=(1.005, 1.0),
        frameon=False,
        fontsize=9,
        handler_map={onset: Upright()},
    )


# Text in any script


def _one_line(text: str) -> str:
    """The text without line breaks and formatting characters."""
    return "".join(char for char in one_line(text) if unicodedata.category(char) not in ("Cc", "Cf"))


def _fonts(texts: Iterable[str]) -> tuple[list[str], set[str]]:
    """Font families that cover as many of the characters as this machine can draw, and those characters."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    wanted = {char for text in texts for char in text if not char.isspace()}
    families, drawable = [_FONT], {" "}
    regular = {(font.name, str(font.fname)) for font in manager.ttflist if font.weight in (400, "normal")}
    files = [(_FONT, str(manager.findfont(_FONT))), *sorted(regular)]
    for family, file in files:
        if not wanted - drawable:
            break
        if "Emoji" in family or "Last Resort" in family:  # these have pictures or boxes instead of outlines
            continue
        try:
            has = {chr(code) for code in font_manager.get_font(file).get_charmap()}
        except (OSError, RuntimeError):
            continue  # skip a damaged font
        if (wanted - drawable) & has:
            drawable |= wanted & has
            families += [family] if family not in families else []
    return families, drawable


def _drawable(text: str, drawable: set[str], what: str) -> str:
    """The text with boxes for missing characters; if that is most of it, a note instead."""
    missing = sum(char not in drawable for char in text)
    if missing > len(text) / 2:
        return f"({what}: no installed font has its characters, see report.html)"
    return "".join(char if char in drawable else "□" for char in text)
