"""Judge single items for the result page, each by the rule of its benchmark's scorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stride_ros.evaluation.benchmarks.et_bench_answers import written
from stride_ros.evaluation.benchmarks.et_bench_overlap import score_item
from stride_ros.evaluation.benchmarks.ovo_bench import choice_score, count_score, yes_no_score
from stride_ros.evaluation.benchmarks.result import OfficialStops, plain_sum
from stride_ros.evaluation.benchmarks.streaming_bench import first_letter, proactive_score, seconds_of_stamp
from stride_ros.evaluation.benchmarks.streaming_bench_files import PROACTIVE, SQA
from stride_ros.evaluation.runners.et_bench import EtBench, key_of
from stride_ros.evaluation.runners.ovo_bench import FORWARD, OvoBench
from stride_ros.evaluation.runners.store import Entry
from stride_ros.evaluation.runners.streaming_bench import StreamingBench

Span = tuple[float, float]


@dataclass(frozen=True)
class Judged:
    """One item with the correct answer.

    score: from 0 (wrong) to 1 (right). task, text: the question. right, given: answers in words. truth,
    found: time spans (s); found_are: a word for the latter. video: its file; `time` (s): the most telling
    moment.
    """

    key: str
    score: float
    task: str
    text: str
    right: str
    given: str
    video: Path
    time: float
    truth: tuple[Span, ...] = ()
    found: tuple[Span, ...] = ()
    found_are: str = "shown"


class Judge:
    """Judges entries of a benchmark run."""

    def __init__(self, bench: EtBench | OvoBench | StreamingBench) -> None:
        self._bench = bench
        if isinstance(bench, EtBench):
            self._samples = {key_of(sample): sample for sample in bench.samples}
        elif isinstance(bench, OvoBench):
            self._items = dict(bench.samples)
        else:
            self._placed = {one.key: one for one in bench.placed}

    def __call__(self, entry: Entry) -> Judged | None:
        """Judge an entry; None if it is not scored."""
        if entry.result is None:
            return None
        try:
            if isinstance(self._bench, EtBench):
                return self._et(entry, self._bench)
            if isinstance(self._bench, OvoBench):
                return self._ovo(entry, self._bench)
            return self._streaming(entry, self._bench)
        except (OfficialStops, KeyError, TypeError, ValueError, IndexError):
            return None  # faulty annotations, which the scorer names

    def _et(self, entry: Entry, bench: EtBench) -> Judged:
        sample = self._samples[entry.item]
        segments = entry.result["trigger_segments"]
        found = tuple((segment["start_sec"], segment["end_sec"]) for segment in segments)
        item = score_item(sample["task"], written(found, sample["task"]), sample["tgt"])
        target = sample["tgt"] if isinstance(sample["tgt"][0], list) else [sample["tgt"]]
        truth = tuple((float(start), float(end)) for start, end in target)
        given = "nothing, so the whole video" if segments[0].get("fallback") else _spans(found)
        return Judged(
            entry.item,
            plain_sum(item.f1) / len(item.f1),
            f"{sample['task'].upper()} {sample['source']}",
            str(sample["q"]),
            _spans(truth),
            given,
            bench.path_of(sample["video"]),
            0.5 * sum(truth[0]),
            truth,
            found,
            "given",
        )

    def _ovo(self, entry: Entry, bench: OvoBench) -> Judged:
        number, _, probe = entry.item.partition("/")
        sample = self._items[int(number)]
        task, reply = sample["task"], entry.result["response"]
        moment = sample["test_info"][int(probe)] if task in FORWARD else sample
        truth: Sequence[Span] = ()
        if task == "REC":
            text, right = f"How often: {sample['activity']}", str(moment["count"])
            score = count_score(reply, moment["count"])
            truth = _pairs(sample.get("start_times"), sample.get("end_times"))
        elif task in FORWARD:
            text = str(moment["step"] if task == "SSR" else sample["question"])
            right = "No" if moment["type"] == 0 else "Yes"
            score = yes_no_score(reply, moment["type"])
            if task == "SSR":
                truth = _of_step(sample, moment["step"])
        else:
            letter = chr(ord("A") + sample["gt"])
            text, right = str(sample["question"]), f"{letter}. {sample['options'][sample['gt']]}"
            score = choice_score(reply, letter)
        end = float(moment["realtime"])
        return Judged(
            entry.item,
            float(score),
            task,
            text,
            right,
            _reply(reply),
            bench.path_of(sample),
            max(0.0, end - 1),
            tuple(truth),
            ((0.0, end),),
        )

    def _streaming(self, entry: Entry, bench: StreamingBench) -> Judged:
        one = self._placed[entry.item]
        question = {**one.question, "_": entry.result}
        asked = float(seconds_of_stamp(question["time_stamp"]))
        if one.kind == PROACTIVE:
            due = float(seconds_of_stamp(question["ground_truth_time_stamp"]))
            _, right = proactive_score(question, "_")
            last = entry.result["dialog_history"][-1]
            return Judged(
                entry.item,
                float(right),
                one.kind,
                str(question["question"]),
                f"{question['ground_truth_output']!r} at {due:g} s",
                f"{_reply(last['content'])} at {last['time']:g} s",
                bench.path_of(one),
                due,
                ((due - 2, due + 2),),
                ((asked, float(last["time"])),),
            )
        letter = first_letter(question, "_", skip_empty=one.kind == SQA)
        return Judged(
            entry.item,
            float(letter == question["answer"]),
            f"{one.kind}: {question.get('task_type', '')}",
            str(question["question"]),
            str(question["answer"]),
            _reply(entry.result),
            bench.path_of(one),
            max(0.0, asked - 1),
            (),
            ((bench.window_of(one).start, asked),),
        )


def _of_step(sample: dict[str, Any], step: str) -> list[Span]:
    pairs = _pairs(sample.get("start_time"), sample.get("end_time"))
    steps = sample.get("all_steps", [])
    return [pair for name, pair in zip(steps, pairs, strict=False) if name == step]


def _pairs(starts: Any, ends: Any) -> list[Span]:
    if not isinstance(starts, list) or not isinstance(ends, list):
        return []
    return [(float(start), float(end)) for start, end in zip(starts, ends, strict=False)]


def _spans(spans: Sequence[Span]) -> str:
    return ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in spans)


def _reply(reply: Any) -> str:
    return "no reply" if reply is None else repr(str(reply))
