"""The comparison in docs/quality.md: rivals of the default settings, a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.model import ActivationModel
from stride_ros.evaluation.detectors import Detector, FixedInterval, Motion, NewestSlot, Session
from stride_ros.text.wording import counted, plural
from stride_ros.user_files.output import whole_file, write_whole

COLUMNS = {
    "span_f1_30": "F1@.3",
    "span_f1_50": "F1@.5",
    "span_f1_70": "F1@.7",
    "onset_recall": "onset recall",
    "onset_precision": "onset precision",
    "false_alarms_per_minute": "false alarms/min",
    "boundary_error_s": "boundary error, s",
    "onset_delay_s": "onset delay, s",
}
Row = Mapping[str, float | None]


def rival_detectors(
    model: ActivationModel, checkpoints: Sequence[tuple[str, str]], device: str, threads: int | None = None
) -> dict[str, Detector]:
    """The detectors to compare with the default settings.

    They are ablations and per-frame decisions with the same weights, other checkpoints by (name, path), and
    two that need no model.
    """
    default = ActivationConfig()
    rivals: dict[str, Detector] = {
        "1 denoising step": Session(model, replace(default, unmasking_steps=1)),
        "no retention": Session(model, replace(default, confidence_threshold=None)),
        "1 step, no retention": Session(
            model, replace(default, unmasking_steps=1, confidence_threshold=None)
        ),
        "spans as runs": Session(model, replace(default, span_mode="runs")),
        "per frame, same weights": NewestSlot(model),
        "per frame, same weights, median of 3": NewestSlot(model, smoothing=3),
    }
    for name, checkpoint in checkpoints:
        other = ActivationModel.load(checkpoint, device, threads=threads)
        # A window of one slot is a per-frame model, which has no spans of its own.
        rivals[name] = Session(other) if other.past > 1 else NewestSlot(other)
    return rivals | {"motion trigger": Motion(), "every 10 s": FixedInterval()}


def write_report(file: Path, rows: Mapping[str, Row], result: Mapping[str, Any]) -> None:
    """Write a table between the markers of `file` (or to a new file), and draw a picture next to it."""
    picture = file.with_name(f"{file.stem}.png")
    draw(picture, rows)
    metrics = result["metrics"]
    text = metrics["text_accuracy"]
    said = "" if text is None else f" Word accuracy of the sentences: {text:.3f}."
    queries = counted(result["queries"], "query", "queries")
    lines = [
        f"{counted(result['clips'], 'held-out clip')} of {result['seconds']:g} s (seed {result['seed']}), "
        f"{counted(result['counts']['events'], 'event')}, {queries} watched in each.{said} "
        f"A tick of {plural(result['queries'], 'it', f'all {queries}')} took {result['tick_ms']:.0f} ms "
        "(median).",
        "",
        *table({name: {key: _cell(row[key]) for key in COLUMNS} for name, row in rows.items()}),
        "",
        f"![span F1 and onset recall of each]({picture.name})",
    ]
    replace_section(file, "numbers", "\n".join(lines))


def table(
    rows: Mapping[str, Mapping[str, str]], columns: Mapping[str, str] = MappingProxyType(COLUMNS)
) -> list[str]:
    """Lines of a Markdown table of these columns (heading by key), one row per name."""
    return [
        "| | " + " | ".join(columns.values()) + " |",
        "|---|" + "---|" * len(columns),
        *(f"| {name} | " + " | ".join(row[key] for key in columns) + " |" for name, row in rows.items()),
    ]


def replace_section(file: Path, section: str, text: str) -> None:
    """Put `text` between a section's markers in a Markdown page, adding them at the end if missing."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    old = file.read_text(encoding="utf-8") if file.is_file() else "# Quality\n"
    if begin not in old:
        old = f"{old}\n{begin}\n{end}\n"
    before, _, rest = old.partition(begin)
    _, _, after = rest.partition(end)
    write_whole(file, f"{before}{begin}\n{text}\n{end}{after}")


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"  # noqa: RUF001 - an en dash for an empty cell


def draw(file: Path, rows: Mapping[str, Row]) -> None:
    """Draw bars of span F1@.5 and onset recall, one pair for each row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(rows)[::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(names) + 1.2), layout="constrained")
    for offset, (key, label, colour) in enumerate(
        (
            ("onset_recall", "onset recall within 2 s", "#9bb8d3"),
            ("span_f1_50", "span F1 at IoU 0.5", "#1f4e79"),
        )
    ):
        values = [rows[name][key] or 0.0 for name in names]
        places = [i + 0.38 * offset for i in range(len(names))]
        axes.barh(places, values, height=0.36, label=label, color=colour)
    axes.set_yticks([i + 0.19 for i in range(len(names))], names)
    axes.set_xlim(0, 1)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("1 is best")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize=8)
    with whole_file(file) as picture:
        figure.savefig(picture, dpi=110)
    pyplot.close(figure)
