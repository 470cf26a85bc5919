"""The picture of a benchmark: every tick with the shifts marked, and what the references take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stride_ros.benchmark.measure import PARTS, REFERENCES
from stride_ros.text.wording import counted, plural
from stride_ros.user_files.output import whole_file


def draw(report: dict[str, Any], path: Path) -> None:
    """Write the picture of a report, in the format of the path's suffix; ConfigError for another."""
    import matplotlib

    from stride_ros.errors import ConfigError

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.4), width_ratios=(2, 1))
    ticks = report["ticks_ms"]
    left.plot(ticks, color="#2a6fbb", linewidth=1)
    for number, tick in enumerate(report["shifts"]):
        left.axvline(
            tick, color="#bbbbbb", linestyle="--", linewidth=1, label="" if number else "window shift"
        )
    left.set(
        xlabel="tick with a full context",
        ylabel="ms",
        ylim=(0, max(ticks) * 1.25),
        title="Engine, tick by tick",
    )
    if report["shifts"]:
        left.legend(frameon=False, loc="lower right")
    names = ["engine", *(name for name in REFERENCES if f"speedup_vs_{name}" in report)]
    for row, name in enumerate(names):
        prefix = "" if name == "engine" else f"{name}_"
        total = report[f"{prefix}tick_ms"]
        right.barh(row, total, color="#2a6fbb" if name == "engine" else "#c9c9c9")
        faster = "" if name == "engine" else f"  ({report[f'speedup_vs_{name}']:.0f}x)"
        right.text(total, row, f" {_duration(total)}{faster}", va="center")
    longest = max(report["tick_ms"], *(report.get(f"{name}_tick_ms", 0.0) for name in REFERENCES))
    right.set(xscale="log", xlim=(report["tick_ms"] / 3, longest * 30), title="Median tick")
    right.set_xlabel("ms")
    right.set_yticks(range(len(names)), names)
    right.invert_yaxis()
    settings = report["settings"]
    parts = ", ".join(f"{part} {report['parts_ms'][part]['median']:.1f}" for part in PARTS)
    figure.suptitle(
        f"{report['model']}, {report['device']} {report['dtype']}: window {report['window']}, "
        f"{counted(settings['frames'], 'frame')}, {report['passes']:g} "
        f"{plural(report['passes'], 'pass', 'passes')}; ms: {parts}",
        fontsize=9,
    )
    figure.tight_layout()
    try:
        with whole_file(path) as picture:
            figure.savefig(picture, dpi=110)
    except ValueError as error:
        raise ConfigError(f"{path} has a suffix that cannot be drawn; use .png, .svg or .pdf.") from error
    finally:
        pyplot.close(figure)


def _duration(ms: float) -> str:
    return f"{ms:.1f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
