"""Read files of StreamingBench: their questions, and which annotated ones are missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.evaluation.benchmarks.result import OfficialStops, Score
from stride_ros.evaluation.benchmarks.stored import each_file, result_files
from stride_ros.text.foreign import visible
from stride_ros.text.wording import counted, plural

REAL, OMNI, SQA, PROACTIVE = KINDS = ("real", "omni", "sqa", "proactive")
CONTEXTUAL = (
    "Misleading Context Understanding",
    "Anomaly Context Understanding",
)  # part of the omni ones
OMNI_TASKS = (
    "Emotion Recognition",
    "Scene Understanding",
    "Source Discrimination",
    "Multimodal Alignment",
    *CONTEXTUAL,
)
REAL_TASKS = (
    "Object Recognition",
    "Causal Reasoning",
    "Clips Summarize",
    "Attribute Recognition",
    "Event Understanding",
    "Text-Rich Understanding",
    "Prospective Reasoning",
    "Spatial Understanding",
    "Action Recognition",
    "Counting",
)
KNOWN_TASKS = {*REAL_TASKS, *OMNI_TASKS, "Sequential Question Answering", "Proactive Output"}
_QUESTION_KEYS = {
    "task_type",
    "question",
    "time_stamp",
    "answer",
    "options",
    "required_ability",
    "ground_truth_time_stamp",
    "ground_truth_output",
}


@dataclass
class Questions:
    """The questions of one kind with their videos, and what stops the official scorer."""

    questions: list[tuple[str, Any]] = field(default_factory=list)
    stops: list[OfficialStops] = field(default_factory=list)


def read_outputs(files: list[Path], result: Score) -> dict[str, Questions]:
    kinds: dict[str, Questions] = {}
    sources: dict[str, Path] = {}
    for file, value, problem in each_file(files):
        kind = "" if value is None else kind_of(value)
        if not kind:
            problem = (
                problem
                or f"{file} has no list of StreamingBench's videos with questions; give an output file."
            )
            if len(files) == 1:
                raise ConfigError(problem)
            reason, _, _ = problem.removesuffix("; correct it.").rpartition("; give an output file.")
            result.notes.append(f"{reason or problem.rstrip('.')}; the file is left out.")
            continue
        if kind in sources:
            raise ConfigError(
                f"{sources[kind]} and {file} both have {kind} questions; name one file of each kind."
            )
        sources[kind] = file
        kinds[kind] = Questions(list(questions_in(value, str(file), result)))
    if not kinds:
        raise ConfigError("None of the files has questions of StreamingBench; give the outputs of a run.")
    return {kind: kinds[kind] for kind in KINDS if kind in kinds}


def questions_in(value: list[Any], name: str, result: Score) -> Iterator[tuple[str, Any]]:
    """The questions of a file, each with the path of its video."""
    odd = 0
    for group in value:
        for entry in group if isinstance(group, list) else [group]:
            if not isinstance(entry, dict) or not isinstance(entry.get("questions"), list):
                odd += 1
                continue
            for question in entry["questions"]:
                if isinstance(question, dict):
                    yield str(entry.get("video_path", "")), question
                else:
                    odd += 1
    if odd:
        what = counted(odd, "entry", "entries")
        result.notes.append(
            f"{name} has {what} that {plural(odd, 'is not a question', 'are not questions')}."
        )


def kind_of(value: Any) -> str:
    """The kind of a file's questions; "" for other files."""
    if not isinstance(value, list):
        return ""
    questions = [question for _, question in questions_in(value, "", Score({}))]
    tasks = Counter(
        question["task_type"] for question in questions if isinstance(question.get("task_type"), str)
    )
    if not tasks:
        return ""
    if any(isinstance(group, list) for group in value):
        return SQA
    if any("ground_truth_time_stamp" in question for question in questions):
        return PROACTIVE
    return OMNI if sum(tasks[task] for task in OMNI_TASKS) * 2 > tasks.total() else REAL


def only_model(kinds: dict[str, Questions]) -> str:
    """The only key of the questions that is not the benchmark's."""
    keys = {key for kind in kinds.values() for _, question in kind.questions for key in question}
    found: list[str] = sorted(keys - _QUESTION_KEYS)
    if not found:
        raise ConfigError("No question has a reply; give the outputs of a run instead of its questions.")
    if len(found) > 1:
        names = visible(", ".join(found[:6]), 200)
        raise ConfigError(f"The questions have replies of several models ({names}); choose one with --model.")
    return found[0]


def count_missing(kinds: dict[str, Questions], annotations: str | Path, result: Score) -> None:
    """Count annotated questions, of the given kinds, that are not in the outputs."""
    missing = 0
    seen = False
    for _, value, problem in each_file(result_files(annotations)):
        kind = "" if value is None else kind_of(value)
        if problem:
            result.notes.append(problem)
        if not kind:
            continue
        seen = True
        if kind in kinds:
            there = Counter(map(_identity, kinds[kind].questions))
            wanted = Counter(map(_identity, questions_in(value, "", Score({}))))
            missing += (wanted - there).total()
    if not seen:
        raise ConfigError(
            f"{annotations} has no questions of StreamingBench; give its file of questions, or their folder."
        )
    result.counts["missing"] = missing
    if missing:
        result.notes.append(
            f"{counted(missing, 'annotated question')} {plural(missing, 'is', 'are')} not in the outputs."
        )


def _identity(of_video: tuple[str, Any]) -> tuple[str, str, str]:
    video, question = of_video
    # A run may have changed the folder of the videos.
    return Path(video).name, str(question.get("question")), str(question.get("time_stamp"))
