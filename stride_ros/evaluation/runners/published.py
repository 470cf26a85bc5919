"""The rows of the model card, and a run's own row in the same columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stride_ros.evaluation.benchmarks import et_bench, ovo_bench, streaming_bench
from stride_ros.evaluation.benchmarks.et_bench_figures import TASKS
from stride_ros.evaluation.benchmarks.result import Score, percent

Table = tuple[Sequence[str], list[Sequence[str]], str]
_OVO = {"realtime": "Real-Time", "backward": "Backward", "forward": "Forward", "total": "Overall"}
_STREAMING = {
    "real_time": "Real-Time",
    "omni_source": "Omni-Source",
    "contextual": "Contextual",
    "overall": "Overall",
}


def comparison(score: Score, settings: Mapping[str, Any]) -> Table:
    """Headings, rows and a footnote: this run, then the published rows."""
    names = [str(settings[name]) for name in ("model", "responder") if name in settings]
    label = f"this run: {' and '.join(names)}"
    if settings["benchmark"] == "et-bench":
        return _et(score.result, label)
    if settings["benchmark"] == "ovo-bench":
        return _accuracies(label, score.result["printed"], _OVO, ovo_bench.PUBLISHED, settings)
    board = score.result[streaming_bench.LEADERBOARD]
    ours = {name: percent(part["accuracy"], 2) for name, part in board.items()}
    return _accuracies(label, ours, _STREAMING, streaming_bench.PUBLISHED, settings)


def _et(result: Mapping[str, Any], label: str) -> Table:
    official, stride = result["official"], result["stride"]
    means = official["task_means (row Overall of the script)"]
    mean = official.get("average_of_five (ours, as in the model card)")
    summary = stride["summary"]
    of_present = stride.get("average_of_present_tasks (ours, as in the model card)")
    rows = [
        [f"{label}, official means", *(percent(means.get(task)) for task in TASKS), percent(mean)],
        [f"{label}, STRIDE's summary", *(percent(summary.get(task)) for task in TASKS), percent(of_present)],
        ["published: STRIDE-2B", *(f"{value:.1f}" for value in et_bench.PUBLISHED.values())],
    ]
    note = (
        "F1 in percent, as the mean over sources. STRIDE's summary, as printed by the authors' script, "
        "leaves out sources whose F1 is exactly 0."
    )
    return ("", *map(str.upper, TASKS), "mean"), list(rows), note


def _accuracies(
    label: str,
    ours: Mapping[str, Any],
    columns: Mapping[str, str],
    published: Mapping[str, float],
    settings: Mapping[str, Any],
) -> Table:
    last = list(columns)[-1]
    rows: list[Sequence[str]] = [[label, *(str(ours.get(name, "-")) for name in columns)]]
    for responder, value in published.items():
        cells = (f"{value:.2f}" if name == last else "-" for name in columns)
        rows.append([f"published: STRIDE-2B with {responder}", *cells])
    note = (
        "Accuracy in percent. The published rows have only overall figures; the model card also has those "
        f"of the columns. Mode of this run: {settings['mode']}; prompts: {settings['prompts']}."
    )
    return ("", *columns.values()), rows, note
