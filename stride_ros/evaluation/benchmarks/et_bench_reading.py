"""Read ET-Bench's samples and answers, from a database of STRIDE or a list of answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.evaluation.benchmarks.et_bench_answers import Span, written
from stride_ros.evaluation.benchmarks.et_bench_figures import TASKS, Answer
from stride_ros.evaluation.benchmarks.et_bench_overlap import Item, score_item
from stride_ros.evaluation.benchmarks.result import OfficialStops, Score
from stride_ros.evaluation.benchmarks.stored import read_database, read_objects, result_files
from stride_ros.text.foreign import visible
from stride_ros.text.wording import counted, plural
from stride_ros.user_files.json_file import parse_json
from stride_ros.user_files.values import shown

OTHER_TASKS = ("rar", "eca", "rvq", "evs", "vhd", "tem", "gvq")
Sample = dict[str, Any]


def read_answers(predictions: str | Path, annotations: str | Path | None, result: Score) -> list[Answer]:
    """All samples of the five tasks with their answers; counts and notes are added to the result.

    Without annotations, the samples are those in the predictions. Raises SourceError and ConfigError.
    """
    samples = None if annotations is None else _samples(annotations, result)
    database = None if Path(predictions).is_dir() else read_database(predictions)
    if database is not None:
        entries, notes = database
        result.notes += notes
        answers = _from_database(entries, samples, str(predictions), result)
    else:
        answers = _from_answers(predictions, samples, result)
    if not answers:
        raise ConfigError(
            f"{predictions} has no samples of ET-Bench's tasks {', '.join(TASKS)}; "
            "give the predictions of a run."
        )
    return answers


def _samples(path: str | Path, result: Score) -> list[Sample]:
    """The samples of the five tasks of an annotation file, or of a folder of them."""
    found: list[Any] = []
    for file in result_files(path):
        objects, notes = read_objects(file)
        found += objects
        result.notes += notes
    samples = _of_our_tasks(found, str(path), result)
    if not samples:
        raise ConfigError(
            f"{path} has no samples of ET-Bench's tasks {', '.join(TASKS)}; "
            "give the benchmark's annotations, such as etbench_txt_v1.0.json."
        )
    return samples


def _of_our_tasks(objects: Sequence[Any], name: str, result: Score) -> list[Sample]:
    """The samples that can be scored; others are counted, and unknown tasks are named."""
    samples: list[Sample] = []
    unknown: Counter[str] = Counter()
    odd = other = 0
    for item in objects:
        if not isinstance(item, dict) or not all(
            isinstance(item.get(key), str) for key in ("task", "source", "video")
        ):
            odd += 1
        elif item["task"] in TASKS:
            samples.append(item)
        elif item["task"] in OTHER_TASKS:
            other += 1
        else:
            unknown[item["task"]] += 1
    if odd:
        result.notes.append(
            f"{name} has {counted(odd, 'item')} without task, source and video, which are left out."
        )
    if other:
        result.notes.append(
            f"{name} has {counted(other, 'sample')} of tasks that are not scored here "
            f"({', '.join(OTHER_TASKS)})."
        )
    for task, number in unknown.items():
        result.notes.append(
            f"{name} has {counted(number, 'sample')} of the unknown task {visible(task, 40)!r}, "
            f"{plural(number, 'which is', 'which are')} left out."
        )
    result.counts["of_other_tasks"] = max(result.counts.get("of_other_tasks", 0), other)
    return samples


def _from_database(
    entries: dict[str, Any], samples: list[Sample] | None, name: str, result: Score
) -> list[Answer]:
    if samples is None:
        samples = _of_our_tasks([_key(key) for key in entries], name, result)
        result.notes.append("Without --annotations, samples without a prediction are not counted.")
    keys = [json.dumps(sample, sort_keys=True, ensure_ascii=False) for sample in samples]
    unmatched = len(entries.keys() - set(keys))
    if entries and unmatched == len(entries):
        raise ConfigError(
            f"None of the {len(entries)} predictions in {name} belongs to a sample of the annotations; "
            "give the annotations with which the run was made."
        )
    result.counts["without_sample"] = unmatched
    if unmatched:
        belong = plural(unmatched, "prediction belongs", "predictions belong")
        result.notes.append(f"{unmatched} {belong} to no sample that is scored.")
    errors = sum(isinstance(e, dict) and "error" in e for e in map(entries.get, keys))
    result.counts["predicted_after_an_error"] = errors
    if errors:
        result.notes.append(
            f"{counted(errors, 'prediction')} {plural(errors, 'was', 'were')} stored after an error of the "
            "run; their spans count like others."
        )
    return [_stored(sample, entries.get(key)) for sample, key in zip(samples, keys, strict=True)]


def _key(text: str) -> Any:
    try:
        return parse_json(text, "the key")
    except ConfigError:
        return None


def _stored(sample: Sample, entry: Any) -> Answer:
    """The answer that a database has for a sample; None if it has no entry."""
    try:
        text = written(_spans(entry), sample["task"])
    except OfficialStops as error:
        return _answer(sample, "", entry is not None, True, error)
    return _answer(sample, text, entry is not None, bool(entry))


def _spans(entry: Any) -> list[Span]:
    if not entry:
        return []
    if not isinstance(entry, dict):
        raise OfficialStops("AttributeError", f"its prediction is {shown(entry)} and not an object")
    segments = entry.get("trigger_segments", [])
    if not isinstance(segments, list):
        raise OfficialStops("TypeError", f"its trigger_segments is {shown(segments)} and not a list")
    spans = []
    for segment in segments:
        times = []
        for key in ("start_sec", "end_sec"):
            if not isinstance(segment, dict) or key not in segment:
                raise OfficialStops("KeyError", f"one of its trigger_segments has no {key}")
            if not isinstance(segment[key], int | float):
                raise OfficialStops("TypeError", f"its {key} is {shown(segment[key])} and not a number")
            times.append(max(0.0, segment[key]))
        spans.append((times[0], times[1]))
    return spans


def _from_answers(predictions: str | Path, samples: list[Sample] | None, result: Score) -> list[Answer]:
    objects: list[Any] = []
    for file in result_files(predictions):
        if Path(predictions).is_dir() and file.name == "metrics.json":
            continue  # what the official script writes next to the predictions
        found, notes = read_objects(file)
        objects += found
        result.notes += notes
    answered = _of_our_tasks(objects, str(predictions), result)
    identities = [_identity(sample) for sample in answered]
    doubles = len(identities) - len(set(identities))
    result.counts["repeated"] = doubles
    if doubles:
        result.notes.append(
            f"{predictions} repeats {counted(doubles, 'sample')}; each counts, as in the official script."
        )
    missing: list[Sample] = []
    if samples is not None:
        wanted = {_identity(sample): sample for sample in samples}
        known = [sample for sample in answered if _identity(sample) in wanted]
        result.counts["without_sample"] = len(answered) - len(known)
        if answered and not known:
            raise ConfigError(
                f"None of the {len(answered)} answers in {predictions} belongs to a sample of the "
                "annotations; give the annotations with which the run was made."
            )
        if len(known) < len(answered):
            number = len(answered) - len(known)
            belong = plural(number, "answer belongs", "answers belong")
            result.notes.append(f"{number} {belong} to no sample of the annotations.")
        answered = known
        missing = [wanted[one] for one in wanted.keys() - set(identities)]
    return [_dumped(sample) for sample in answered] + [_answer(one, "", False, False) for one in missing]


def _identity(sample: Sample) -> tuple[str, str, str]:
    return sample["task"], sample["source"], str(sample.get("idx"))


def _dumped(sample: Sample) -> Answer:
    if "a" not in sample:
        return _answer(
            sample, "", True, True, OfficialStops("KeyError", "it has no answer, the key a"), False
        )
    return _answer(sample, sample["a"], True, True)


def _answer(
    sample: Sample,
    text: Any,
    predicted: bool,
    given: bool,
    error: OfficialStops | None = None,
    unreadable: bool = True,
) -> Answer:
    scored: Item | OfficialStops
    if error is None:
        try:
            scored = score_item(sample["task"], text, sample.get("tgt"))
        except OfficialStops as stops:
            scored = stops
    else:
        scored = error
    return Answer(
        sample["task"],
        sample["source"],
        sample.get("idx"),
        sample["video"],
        text,
        predicted,
        given,
        scored,
        unreadable=error is not None and unreadable,
    )
