"""Score StreamingBench: real-time, omni-source, sequential and proactive questions, from run outputs.

An output file is a file of questions, in which each question that was asked has the reply under the name of
the model. The kind of questions is known from the content, since file names are arbitrary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.evaluation.benchmarks.result import OfficialStops, Score, left_out, named, percent, stopped
from stride_ros.evaluation.benchmarks.stored import result_files
from stride_ros.evaluation.benchmarks.streaming_bench_files import (
    CONTEXTUAL,
    KINDS,
    KNOWN_TASKS,
    OMNI,
    PROACTIVE,
    REAL,
    SQA,
    Questions,
    count_missing,
    only_model,
    read_outputs,
)
from stride_ros.text.foreign import visible
from stride_ros.text.wording import counted, plural
from stride_ros.user_files.values import shown

TOTAL = "total"  # the row over all tasks, only for real and omni
TOLERANCE = 2  # s between the output and its due time
LEADERBOARD = "leaderboard (ours: micro accuracy, PO by answer_correct; the repository prints none)"
PUBLISHED = {"Qwen3-VL-8B": 59.29, "InternVL3-8B": 57.58, "Gemma3-4B": 50.14}  # STRIDE-2B with each, card
_STOPS = (KeyError, IndexError, TypeError, ValueError, AttributeError)
Stats = dict[str, dict[str, float]]


def first_letter(question: dict[str, Any], model: str, *, skip_empty: bool) -> Any:
    """The first character of the reply (of the first element of a list), the only one judged.

    None for a question that does not count: not asked, an empty first element, and with `skip_empty` any
    empty reply. Raises OfficialStops where the official scorer does.
    """
    if model not in question or (skip_empty and not question[model]):
        return None
    try:
        return question[model][0] or None
    except _STOPS as error:
        what = "empty" if question[model] in ("", []) else shown(question[model])
        raise OfficialStops(type(error).__name__, f"its reply is {what}") from None


def seconds_of_stamp(stamp: Any) -> int:
    """The time in s of a stamp such as 00:03:10, of any number of parts. Raises OfficialStops."""
    try:
        return sum(int(part) * 60**place for place, part in enumerate(reversed(stamp.split(":"))))
    except _STOPS as error:
        raise OfficialStops(
            type(error).__name__, f"{shown(stamp)} is not a time stamp of whole numbers"
        ) from None


def proactive_score(question: dict[str, Any], model: str) -> tuple[int, int]:
    """Whether the last entry of the dialogue was in time, and if so, whether it has the expected output."""
    due = seconds_of_stamp(_of(question, "ground_truth_time_stamp"))
    try:
        last = question[model]["dialog_history"][-1]
        time, content = last["time"], last["content"]
        in_time = -TOLERANCE <= time - due <= TOLERANCE
        right = in_time and question["ground_truth_output"] in content
    except _STOPS as error:
        raise OfficialStops(type(error).__name__, _why_no_dialogue(question.get(model))) from None
    return int(in_time), int(right)


def _why_no_dialogue(reply: Any) -> str:
    if not isinstance(reply, dict) or "dialog_history" not in reply:
        return f"its reply is {shown(reply)} and has no dialog_history"
    if reply["dialog_history"] == []:
        return "its dialog_history is empty"
    return "the last entry of its dialog_history has no time and content, or there is no expected output"


def score(
    predictions: str | Path | Sequence[str | Path],
    annotations: str | Path | None = None,
    model: str | None = None,
) -> Score:
    """Score output files, or those in a folder, up to one of each kind.

    model: the key of its replies; needed if questions have replies of several models. Annotations, files of
    questions, only tell what is missing. Raises SourceError and ConfigError.
    """
    given = [predictions] if isinstance(predictions, str | Path) else list(predictions)
    result = Score({"benchmark": "streaming-bench", "predictions": [str(path) for path in given]})
    result.result["annotations"] = None if annotations is None else str(annotations)
    kinds = read_outputs([file for path in given for file in result_files(path)], result)
    model = model or only_model(kinds)
    result.result["model"] = model
    unanswered = left = 0
    for kind, questions in kinds.items():
        stats, items, missing = _count(kind, questions, model, result)
        unanswered += missing
        figures: dict[str, Any] = {"items": items, "stats": stats}
        result.result[kind] = stopped(questions.stops[0]) | figures if questions.stops else figures
        left += len(questions.stops)
    asked = sum(len(questions.questions) for questions in kinds.values())
    if unanswered == asked:
        raise ConfigError(f"No question has a reply of {visible(model, 60)!r}; give its name with --model.")
    result.counts |= {"questions": asked, "not_counted": unanswered, "left_out": left}
    result.counts["counted"] = asked - unanswered - left
    if unanswered:
        result.notes.append(
            f"{counted(unanswered, 'question')} {plural(unanswered, 'has', 'have')} no reply or an empty "
            f"one and {plural(unanswered, 'is', 'are')} not counted, as in the official scorer."
        )
    if annotations is not None:
        count_missing(kinds, annotations, result)
    result.result[LEADERBOARD] = _leaderboard(result.result)
    result.result["published"] = PUBLISHED
    _tables(result)
    return result


def _count(kind: str, questions: Questions, model: str, result: Score) -> tuple[Stats, int, int]:
    """Counts and accuracies by task, the number of counted questions, and of those without a reply."""
    stats: dict[str, Counter[str]] = {}
    unknown: Counter[str] = Counter()
    items = missing = 0
    for place, (video, question) in enumerate(questions.questions):
        try:
            found = _judge(kind, question, model)
            if found is None:
                missing += 1
                continue
            task = _of(question, "task_type")
            unknown[str(task)] += task not in KNOWN_TASKS
        except OfficialStops as error:
            where = {"kind": kind, "question": place, "video": video}
            questions.stops.append(error)
            result.left_out.append(left_out(where, error))
            result.notes.append(
                f"{named(where)}: {error.why}; the question is left out (the official scorer stops with "
                f"{error.kind})."
            )
            continue
        items += 1
        for row in (task, TOTAL) if kind in (REAL, OMNI) else (task,):
            stats.setdefault(str(row), Counter()).update(found)
    for task, number in unknown.items():
        if number:
            result.notes.append(
                f"{counted(number, 'question')} of the file of {kind} {plural(number, 'has', 'have')} the "
                f"unknown task {visible(task, 40)!r}, and {plural(number, 'counts', 'count')} anyway."
            )
    rates = {"time_correct": "time_accuracy", "answer_correct": "answer_accuracy", "correct": "accuracy"}
    return (
        {
            task: dict(counts) | {rates[key]: counts[key] / counts["total"] for key in rates if key in counts}
            for task, counts in stats.items()
        },
        items,
        missing,
    )


def _judge(kind: str, question: dict[str, Any], model: str) -> dict[str, int] | None:
    """What a question adds to the counts of its task; None if it does not count."""
    if isinstance(question.get("task_type"), list | dict):
        raise OfficialStops("TypeError", f"its task_type is {shown(question['task_type'])} and not text")
    if kind == PROACTIVE:
        if model not in question:
            return None
        in_time, right = proactive_score(question, model)
        return {"total": 1, "time_correct": in_time, "answer_correct": right}
    _of(question, "task_type")
    letter = first_letter(question, model, skip_empty=kind == SQA)
    if letter is None:
        return None
    return {"total": 1, "correct": int(letter == _of(question, "answer"))}


def _of(question: dict[str, Any], key: str) -> Any:
    if key not in question:
        raise OfficialStops("KeyError", f"it has no {key}")
    return question[key]


def _leaderboard(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Correct over counted questions of each part for which all needed files exist."""
    sums: dict[str, tuple[int, int]] = {}
    if REAL in result:
        sums["real_time"] = _sum(result[REAL]["stats"], lambda task: task != TOTAL)
    if OMNI in result:
        sums["omni_source"] = _sum(result[OMNI]["stats"], lambda task: task not in (TOTAL, *CONTEXTUAL))
    if all(kind in result for kind in (OMNI, SQA, PROACTIVE)):
        parts = [
            _sum(result[OMNI]["stats"], lambda task: task in CONTEXTUAL),
            _sum(result[SQA]["stats"], lambda _: True),
            _sum(result[PROACTIVE]["stats"], lambda _: True),
        ]
        sums["contextual"] = (sum(right for right, _ in parts), sum(total for _, total in parts))
    if len(sums) == 3:
        sums["overall"] = (sum(right for right, _ in sums.values()), sum(total for _, total in sums.values()))
    return {
        name: {"correct": right, "total": total, "accuracy": right / total if total else 0}
        for name, (right, total) in sums.items()
    }


def _sum(stats: Stats, wanted: Any) -> tuple[int, int]:
    rows = [counts for task, counts in stats.items() if wanted(task)]
    right = sum(counts.get("correct", counts.get("answer_correct", 0)) for counts in rows)
    return int(right), int(sum(counts["total"] for counts in rows))


def _tables(result: Score) -> None:
    rows: list[Sequence[str]] = []
    for kind in KINDS:
        for task, counts in result.result.get(kind, {}).get("stats", {}).items():
            right = counts.get("correct", counts.get("answer_correct", 0))
            in_time = f"{counts['time_correct']:g}" if "time_correct" in counts else ""
            accuracy = percent(right / counts["total"], 2)
            rows.append(
                [f"{kind}: {visible(task, 60)}", f"{right:g}", in_time, f"{counts['total']:g}", accuracy]
            )
    result.tables.append((("StreamingBench", "correct", "in time", "counted", "accuracy"), rows))
    board: list[Sequence[str]] = [
        [name.replace("_", " "), f"{part['correct']:g}", f"{part['total']:g}", percent(part["accuracy"], 2)]
        for name, part in result.result[LEADERBOARD].items()
    ]
    board += [[f"published, with {name}", "", "", f"{value:.2f}"] for name, value in PUBLISHED.items()]
    result.tables.append((("Parts (ours: right over counted)", "correct", "counted", "accuracy"), board))
