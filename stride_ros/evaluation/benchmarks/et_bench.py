"""Score ET-Bench: the five tasks that find time spans (TVG, EPM, TAL, DVC, SLC).

Predictions are a database of STRIDE (lines of JSON, or a `shelve`), scored as the text that STRIDE makes from
it, or a list of the benchmark's samples with a text in `a`. Times are in s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stride_ros.evaluation.benchmarks.et_bench_figures import (
    TASKS,
    Answer,
    official_figures,
    stride_summary,
    table_of,
)
from stride_ros.evaluation.benchmarks.et_bench_overlap import THRESHOLDS
from stride_ros.evaluation.benchmarks.et_bench_reading import read_answers
from stride_ros.evaluation.benchmarks.result import (
    OfficialStops,
    Score,
    left_out,
    mean,
    named,
    percent,
    stopped,
)
from stride_ros.text.foreign import visible

PUBLISHED = {"tvg": 62.8, "epm": 10.7, "tal": 24.6, "dvc": 36.5, "slc": 28.5, "mean": 32.6}  # STRIDE-2B, card


def score(predictions: str | Path, annotations: str | Path | None = None) -> Score:
    """Score a database or a list of answers, against the annotations for which it was made.

    Without annotations, the samples are those in the predictions. Raises SourceError and ConfigError.
    """
    result = Score({"benchmark": "et-bench", "predictions": str(predictions)})
    result.result["annotations"] = None if annotations is None else str(annotations)
    _fill(result, read_answers(predictions, annotations, result))
    return result


def _fill(result: Score, answers: list[Answer]) -> None:
    """Add all figures of the answers to the result."""
    unreadable = [answer for answer in answers if answer.unreadable]
    readable = [answer for answer in answers if not answer.unreadable]
    for answer in answers:
        if isinstance(answer.score, OfficialStops):
            result.left_out.append(left_out(answer.where, answer.score))
            result.notes.append(
                f"{named(answer.where)}: {answer.score.why}; the sample is left out "
                f"(the official scorer stops with {answer.score.kind})."
            )
    result.counts |= {
        "samples": len(answers),
        "predicted": sum(answer.given for answer in answers),
        "missing": sum(not answer.given for answer in answers),
        "left_out": len(result.left_out),
        "scored": len(answers) - len(result.left_out),
    }
    stride = _stride(readable)
    if unreadable:
        assert isinstance(unreadable[0].score, OfficialStops)
        stride = stopped(unreadable[0].score) | stride
    given = [answer for answer in readable if answer.given]
    result.result |= {
        "thresholds": list(THRESHOLDS),
        "stride": stride,
        "official": official_figures(readable),
        "official_missing_absent": official_figures(given),
        "published": PUBLISHED,
        "items": [_item(answer) for answer in readable],
    }
    _tables(result)


def _stride(answers: list[Answer]) -> dict[str, Any]:
    """The figures of STRIDE's scorer: collected over all samples, estimated over those with an entry."""
    predicted = [answer for answer in answers if answer.predicted]
    collected = table_of(answers, error_key=True)
    estimated = table_of(predicted, error_key=True)
    for sources in estimated.values():
        for source in [source for source, figures in sources.items() if "error" in figures]:
            del sources[source]
    summary = stride_summary(collected)
    coverage: dict[str, dict[str, int]] = {}
    for answer in answers:
        of_task = coverage.setdefault(answer.task, {"matched": 0, "empty": 0, "total": 0})
        of_task["matched" if answer.text else "empty"] += 1
        of_task["total"] += 1
    result: dict[str, Any] = {
        "collected": collected,
        "estimated": {task: estimated.get(task, {}) for task in collected},
        "coverage": coverage,
        "summary": summary,
        "summary_estimated": stride_summary(estimated),
        "collected_unrounded": table_of(answers, rounded=False, error_key=True),
    }
    average = mean(list(summary.values()))
    if average is not None:
        result["average_of_present_tasks (ours, as in the model card)"] = average
    return result


def _item(answer: Answer) -> dict[str, Any]:
    entry = {**answer.where, "answer": answer.text}
    if isinstance(answer.score, OfficialStops):
        return entry | stopped(answer.score)
    entry |= {"failed": answer.score.failed, "f1": list(answer.score.f1)}
    return entry if answer.score.iou is None else entry | {"iou": answer.score.iou}


def _tables(result: Score) -> None:
    stride, official = result.result["stride"], result.result["official"]
    columns = [f"F1@{threshold}" for threshold in THRESHOLDS]
    rows: list[Sequence[str]] = []
    for task, sources in official["per_source"].items():
        for source, figures in sources.items():
            shown_figures = figures.get("without_what_is_left_out", figures)
            estimated = stride["estimated"].get(task, {}).get(source, {})
            rows.append(
                [
                    f"{task} {visible(source, 40)}" + (" *" if "official" in figures else ""),
                    *(str(shown_figures.get(key, "-")) for key in ("Total", "Failed")),
                    *(percent(shown_figures.get(key)) for key in (*columns, "F1", "mIoU")),
                    percent(estimated.get("F1")),
                ]
            )
    result.tables.append((("", "total", "failed", *columns, "F1", "mIoU", "F1 of predicted"), rows))
    means = "task_means (row Overall of the script)"
    of_five = "average_of_five (ours, as in the model card)"
    of_present = "average_of_present_tasks (ours, as in the model card)"
    absent = result.result["official_missing_absent"]
    summaries = [
        ("official", official[means], official.get(of_five)),
        ("official, missing ones left out", absent[means], absent.get(of_five)),
        ("STRIDE", stride["summary"], stride.get(of_present)),
        ("STRIDE, of predicted", stride["summary_estimated"], None),
    ]
    if not result.counts["missing"]:
        del summaries[3], summaries[1]
    lines: list[Sequence[str]] = [
        [name, *(percent(values.get(task)) for task in TASKS), percent(average)]
        for name, values, average in summaries
    ]
    lines.append(["published (STRIDE-2B)", *(f"{value:.1f}" for value in PUBLISHED.values())])
    result.tables.append((("F1, mean over sources", *map(str.upper, TASKS), "mean"), lines))
