"""Draw the picture of a benchmark: ticks and a reference, or an engine for all cameras and sessions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.benchmark.measure import PARTS
from stride_ros.text.wording import counted, plural
from stride_ros.user_files.output import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(report: dict[str, Any], path: Path) -> None:
    """Write the picture of a report in the format of the path's suffix; ConfigError for unknown formats."""
    import matplotlib

    from stride_ros.errors import ConfigError

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.4), width_ratios=(2, 1))
    (_draw_cameras if "cameras" in report else _draw_ticks)(figure, axes[0], axes[1], report)
    figure.tight_layout()
    try:
        with whole_file(path) as picture:
            figure.savefig(picture, dpi=110)
    except ValueError as error:
        raise ConfigError(f"{path} has an unsupported suffix; use .png, .svg or .pdf.") from error
    finally:
        pyplot.close(figure)


def _draw_ticks(figure: Figure, left: Axes, right: Axes, report: dict[str, Any]) -> None:
    """Draw the engine tick by tick, and compared with a prefill for each decision.

    A full forward for each pass only checks the answers and is not used in practice, so the picture leaves it
    out.
    """
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
        left.legend(loc="lower right", framealpha=1, edgecolor="none")  # over the lines of the shifts
    names = ["engine", *(["rebuild"] if "speedup_vs_rebuild" in report else [])]
    for row, name in enumerate(names):
        prefix = "" if name == "engine" else f"{name}_"
        total = report[f"{prefix}tick_ms"]
        right.barh(row, total, color="#2a6fbb" if name == "engine" else "#c9c9c9")
        faster = "" if name == "engine" else f"  ({report[f'speedup_vs_{name}']:.0f}x)"
        right.text(total, row, f" {_duration(total)}{faster}", va="center")
    longest = max(report["tick_ms"], report.get("rebuild_tick_ms", 0.0))
    right.set(xscale="log", xlim=(report["tick_ms"] / 3, longest * 30), title="Median tick")
    right.set_xlabel("ms")
    right.set_yticks(range(len(names)), ["engine", "prefill for\neach decision"][: len(names)])
    right.invert_yaxis()
    settings = report["settings"]
    parts = ", ".join(f"{part} {report['parts_ms'][part]['median']:.1f}" for part in PARTS)
    figure.suptitle(
        f"{report['model']}, {report['device']} {report['dtype']}: window {report['window']}, "
        f"{counted(settings['frames'], 'frame')}, {report['passes']:g} "
        f"{plural(report['passes'], 'pass', 'passes')}; ms: {parts}",
        fontsize=9,
    )


def _draw_cameras(figure: Figure, left: Axes, right: Axes, report: dict[str, Any]) -> None:
    """Draw batched and interleaved, round by round, and the medians."""
    sessions = report["cameras"] * report["queries"]
    arms = {
        "batched": ("one engine, batched", "#2a6fbb"),
        "interleaved": (counted(sessions, "session"), "#c9c9c9"),
    }
    rounds = range(1, report["rounds"] + 1)
    for name, (title, colour) in arms.items():
        left.plot(rounds, report[name]["rounds_cpu_ms"], "o-", color=colour, markersize=4, label=title)
    highest = max(max(report[name]["rounds_cpu_ms"]) for name in arms)
    left.set(
        xlabel="round", ylabel="CPU ms, a tick of all", ylim=(0, highest * 1.3), title="In alternating rounds"
    )
    left.locator_params(axis="x", integer=True)
    left.legend(frameon=False, loc="upper right", ncols=2)
    for row, (name, (_, colour)) in enumerate(arms.items()):
        cpu = report[name]["cpu_ms"]
        ratio = f"  ({report['cpu_ratio']:.2f}x)" if name == "interleaved" else ""
        right.barh(row, cpu, color=colour)
        right.text(cpu, row, f" {_duration(cpu)}{ratio}", va="center")
    right.set(xlim=(0, max(report[name]["cpu_ms"] for name in arms) * 2.2), title="Median", xlabel="CPU ms")
    right.set_yticks(range(len(arms)), ["batched", "sessions"])
    right.invert_yaxis()
    figure.suptitle(
        f"{report['model']}, {report['device']} {report['dtype']}, {counted(report['threads'], 'thread')}: "
        f"{counted(report['cameras'], 'camera')}, {counted(report['queries'], 'query', 'queries')} each, "
        f"window {report['window']}, {counted(report['settings']['frames'], 'frame')}",
        fontsize=9,
    )


def _duration(ms: float) -> str:
    return f"{ms:.1f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
