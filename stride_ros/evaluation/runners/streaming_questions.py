"""Read the questions of StreamingBench's files, each with its place and video, and check them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.evaluation.benchmarks.result import OfficialStops
from stride_ros.evaluation.benchmarks.streaming_bench import seconds_of_stamp
from stride_ros.evaluation.benchmarks.streaming_bench_files import PROACTIVE, SQA

AFTER = 4  # s after the ground truth in which a proactive question is still polled
OPTIONS = 4  # options of a question; more are not shown
_LONGEST_POLL = 3600  # s
Question = dict[str, Any]


@dataclass(frozen=True)
class Placed:
    """A question with its place in the file, its video, and the earlier questions of its group."""

    kind: str
    key: str
    video: str
    question: Question
    earlier: tuple[Question, ...] = field(default=(), repr=False)


def questions_of(kind: str, data: Sequence[Any]) -> Iterator[Placed]:
    """The questions of a file, in file order."""
    for number, group in enumerate(data):
        earlier: list[Question] = []
        for place, entry in enumerate(group if isinstance(group, list) else [group]):
            if not isinstance(entry, dict) or not isinstance(entry.get("questions"), list):
                continue
            for index, question in enumerate(entry["questions"]):
                if isinstance(question, dict):
                    key = f"{kind}/{number}/{place}/{index}"
                    video = str(entry.get("video_path", ""))
                    yield Placed(kind, key, video, question, tuple(earlier) if kind == SQA else ())
                    earlier.append(question)


def check(one: Placed) -> None:
    """Raise ConfigError for a question that cannot be asked."""
    if not one.video:
        raise ConfigError("Its entry has no video_path; correct the annotations.")
    question = one.question
    if not isinstance(question.get("question"), str):
        raise ConfigError("It has no question; correct the annotations.")
    seconds_of(question, "time_stamp")
    if one.kind == PROACTIVE:
        if "ground_truth_output" not in question:
            raise ConfigError("It has no ground_truth_output; correct the annotations.")
        polled(question)
        return
    for asked in (question, *one.earlier):
        if "options" in asked or one.kind == SQA:
            options_of(asked)
        if one.kind == SQA and "answer" not in asked:
            raise ConfigError("It has no answer, which later questions include; correct the annotations.")


def options_of(question: Question) -> list[str]:
    """The options as shown, with their letters; ConfigError for fewer than four."""
    options = question.get("options")
    if not isinstance(options, list) or len(options) < OPTIONS:
        raise ConfigError("It has fewer than four options; correct the annotations.")
    options = [str(option) for option in options]
    if options[0].startswith("A."):
        return options
    return [f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=False)]


def seconds_of(question: Question, key: str) -> int:
    """A timestamp of a question in s; ConfigError if it is invalid."""
    try:
        return int(seconds_of_stamp(question[key]))
    except (KeyError, OfficialStops, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"Its {key} is not a time like 00:03:10; correct the annotations.") from error


def polled(question: Question) -> tuple[int, int]:
    """When a proactive question is asked, and when it is last polled (s)."""
    begin, last = seconds_of(question, "time_stamp"), seconds_of(question, "ground_truth_time_stamp") + AFTER
    if last - begin > _LONGEST_POLL:
        raise ConfigError("Its ground_truth_time_stamp is over an hour after the question; correct it.")
    return begin, last
