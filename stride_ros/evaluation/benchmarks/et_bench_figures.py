"""Compute ET-Bench's figures for a source, a task and all tasks from the scores of the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stride_ros.evaluation.benchmarks.et_bench_overlap import DENSE, SINGLE, THRESHOLDS, Item, harmonic
from stride_ros.evaluation.benchmarks.result import OfficialStops, mean, plain_sum, stopped

TASKS = ("tvg", "epm", "tal", "dvc", "slc")
_PLACES = 5
Figures = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """A sample with its answer, and its score or the reason why the official scorer has none.

    predicted: whether there is an entry for it. given: whether the entry is not empty. unreadable: whether
    STRIDE's reader of the database stops here, before anything is scored.
    """

    task: str
    source: str
    idx: Any
    video: str
    text: Any
    predicted: bool
    given: bool
    score: Item | OfficialStops
    unreadable: bool = False

    @property
    def where(self) -> dict[str, Any]:
        return {"task": self.task, "source": self.source, "idx": self.idx}


def by_source(answers: Sequence[Answer], tasks: Sequence[str] = TASKS) -> dict[str, dict[str, list[Answer]]]:
    """The answers by task, and by source in order of first appearance."""
    groups: dict[str, dict[str, list[Answer]]] = {task: {} for task in tasks}
    for answer in answers:
        groups[answer.task].setdefault(answer.source, []).append(answer)
    return {task: sources for task, sources in groups.items() if sources}


def source_figures(task: str, answers: Sequence[Answer]) -> Figures:
    """Total, Failed, mIoU for single tasks, F1 at each threshold and its mean; not rounded.

    Raises OfficialStops for the first answer that has no score.
    """
    items = []
    for answer in answers:
        if isinstance(answer.score, OfficialStops):
            raise answer.score
        items.append(answer.score)
    figures: Figures = {"Total": len(items), "Failed": sum(item.failed for item in items)}
    if task in SINGLE:
        figures["mIoU"] = plain_sum(item.iou or 0.0 for item in items if not item.failed) / len(items)
    if task in DENSE:
        f1 = _dense(answers, items)
    else:
        f1 = [plain_sum(item.f1[i] for item in items) / len(items) for i in range(len(THRESHOLDS))]
    figures |= {f"F1@{threshold}": value for threshold, value in zip(THRESHOLDS, f1, strict=True)}
    figures["F1"] = plain_sum(f1) / len(f1)
    return figures


def _dense(answers: Sequence[Answer], items: Sequence[Item]) -> list[float]:
    """Figures of a dense task: samples of a video replace each other, but each counts in the total."""
    videos = {a.video: item for a, item in zip(answers, items, strict=True) if not item.failed}
    if not videos:
        return [0.0] * len(THRESHOLDS)
    share = len(videos) / len(items)
    f1 = []
    for i in range(len(THRESHOLDS)):
        precision = plain_sum(item.precision[i] for item in videos.values()) / len(videos) * share
        recall = plain_sum(item.recall[i] for item in videos.values()) / len(videos) * share
        f1.append(harmonic(precision, recall))
    return f1


def table_of(
    answers: Sequence[Answer], *, rounded: bool = True, error_key: bool = False
) -> dict[str, dict[str, Figures]]:
    """Figures by task and source; if there are none, what stops the official scorer, and those of the rest.

    error_key: report that under the key "error", as STRIDE does, instead of "official".
    """
    result: dict[str, dict[str, Figures]] = {}
    for task, sources in by_source(answers).items():
        result[task] = {}
        for source, members in sources.items():
            try:
                figures = source_figures(task, members)
            except OfficialStops as error:
                rest = [one for one in members if isinstance(one.score, Item)]
                figures = {"error": error.why} if error_key else stopped(error)
                if rest:
                    of_rest = source_figures(task, rest)
                    figures["without_what_is_left_out"] = _rounded(of_rest) if rounded else of_rest
                result[task][source] = figures
            else:
                result[task][source] = _rounded(figures) if rounded else figures
    return result


def _rounded(figures: Figures) -> Figures:
    return {
        key: round(value, _PLACES) if isinstance(value, float) else value for key, value in figures.items()
    }


def stride_summary(table: Mapping[str, Mapping[str, Figures]]) -> dict[str, float]:
    """STRIDE's means over sources, which leave out sources with an F1 of 0 and tasks without others."""
    means = {}
    for task, sources in table.items():
        value = mean([figures["F1"] for figures in sources.values() if figures.get("F1")])
        if value is not None:
            means[task] = value
    return means


def official_means(table: Mapping[str, Mapping[str, Figures]]) -> dict[str, float | None]:
    """The official means over sources, including zeros; None for a task with a source without a figure."""
    means: dict[str, float | None] = {}
    for task, sources in table.items():
        values = [figures.get("F1") for figures in sources.values()]
        whole = [value for value in values if value is not None]
        means[task] = round(plain_sum(whole) / len(whole), _PLACES) if len(whole) == len(values) else None
    return means


def official_figures(answers: Sequence[Answer]) -> dict[str, Any]:
    """All figures of the official script for the five tasks, except the similarity of sentences."""
    table = table_of(answers)
    means = official_means(table)
    result: dict[str, Any] = {
        "per_source": table,
        "per_source_unrounded": table_of(answers, rounded=False),
        "script_five_tasks": _script(table, means),
        "task_means (row Overall of the script)": means,
    }
    values = [means.get(task) for task in TASKS]
    whole = [value for value in values if value is not None]
    if len(whole) == len(TASKS):
        result["average_of_five (ours, as in the model card)"] = plain_sum(whole) / len(TASKS)
    return result


def _script(table: Mapping[str, Mapping[str, Figures]], means: Mapping[str, Any]) -> dict[str, Any]:
    """The two lines "Mean F1" over all sources of a group, and the row "Overall"; None for similarities.

    after_that: how the script ends. It assumes all twelve tasks, so with five it always stops.
    """
    for sources in table.values():
        for figures in sources.values():
            if "official" in figures:
                return {
                    "mean_f1": [],
                    "after_that": {key: figures[key] for key in ("official", "type", "message")},
                }
    mean_f1 = []
    for group in (("tvg", "epm", "tal"), DENSE):
        values = [figures["F1"] for task in group for figures in table.get(task, {}).values()]
        if values:
            mean_f1.append(round(plain_sum(values) / len(values), _PLACES))
    row: list[str | None] = []
    for task, value in means.items():
        row.append(str(round(100 * value, 1)))
        if task in DENSE:
            row.append(None)
    end = OfficialStops("IndexError", "its last table needs all twelve tasks, so it writes no metrics.json")
    return {"mean_f1": mean_f1, "overall_row": row, "after_that": stopped(end)}
