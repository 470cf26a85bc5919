"""Score OVO-Bench: twelve tasks in three categories, from the result files of its `inference.py`.

A file contains lists of items for `backward`, `realtime` and `forward`. Items of the first two have one
`response` and the correct letter in `ground_truth`; items of the third have a `test_info` of probes, each
with a `response`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.evaluation.benchmarks.result import (
    OfficialStops,
    Score,
    left_out,
    named,
    plain_sum,
    stopped,
)
from stride_ros.evaluation.benchmarks.stored import each_file, read_objects, result_files
from stride_ros.text.foreign import visible
from stride_ros.text.wording import counted, plural
from stride_ros.user_files.values import shown

CATEGORIES = {
    "backward": ("EPM", "ASI", "HLD"),
    "realtime": ("OCR", "ACR", "ATR", "STU", "FPD", "OJR"),
    "forward": ("REC", "SSR", "CRR"),
}
NAMES = {
    "backward": "Backward Tracing",
    "realtime": "Real-Time Visual Perception",
    "forward": "Forward Active Responding",
}
PUBLISHED = {"Qwen3-VL-8B": 59.07, "InternVL3-8B": 56.98, "Gemma3-4B": 50.51}  # STRIDE-2B with each, card
TASKS = tuple(task for tasks in CATEGORIES.values() for task in tasks)


def choice_score(response: Any, letter: Any) -> int:
    """1 if the letter is anywhere in the response, or in one of a list of responses."""
    if response is None:
        return 0
    if isinstance(response, str) and not isinstance(letter, str):
        raise OfficialStops("TypeError", f"its ground_truth is {shown(letter)} and not a letter")
    if isinstance(response, dict) and isinstance(letter, list | dict):
        raise OfficialStops("TypeError", f"its ground_truth is {shown(letter)} and not a letter")
    if not isinstance(response, str | list | dict):
        raise OfficialStops("TypeError", f"its response is {shown(response)} and not text")
    return int(letter in response)


def count_score(response: Any, count: Any) -> int:
    """1 if all digits of the response, joined, are the count."""
    if response is None:
        return 0
    if not isinstance(response, str):
        raise OfficialStops("TypeError", f"its response is {shown(response)} and not text")
    return int("".join(re.findall(r"\d+", response)) == str(count))


def yes_no_score(response: Any, kind: Any) -> int:
    """1 if No (kind 0) or Yes (any other kind) is anywhere in the response, or the response is N or Y."""
    if (response, kind) in (("N", 0), ("Y", 1)):
        return 1
    return choice_score(response, "No" if kind == 0 else "Yes")


_PROBES: dict[str, tuple[str, Callable[[Any, Any], int]]] = {  # task -> key of the truth, rule
    "REC": ("count", count_score),
    "SSR": ("type", yes_no_score),
    "CRR": ("type", yes_no_score),
}


def score(predictions: str | Path, annotations: str | Path | None = None) -> Score:
    """Score a result file, or all files of a folder as one model.

    Annotations only tell what is missing: the correct answers are those in the results. Raises SourceError
    and ConfigError.
    """
    result = Score({"benchmark": "ovo-bench", "predictions": str(predictions)})
    result.result["annotations"] = None if annotations is None else str(annotations)
    wanted = None if annotations is None else _wanted(annotations)
    items, stops = _items(predictions, result)
    if not any(items.values()):
        raise ConfigError(
            f"{predictions} has no items of {', '.join(CATEGORIES)}; "
            "give the results of OVO-Bench's inference."
        )
    scores: dict[str, dict[str, list[int]]] = {}
    lists: list[dict[str, Any]] = []
    for category, members in items.items():
        scores[category] = {}
        for place, item in enumerate(members):
            stops += _add(category, place, item, scores[category], lists, result)
    for category, of_tasks in scores.items():
        for task in [task for task, probes in of_tasks.items() if not probes]:
            del of_tasks[task]
            what = "is unknown" if task not in _PROBES else "has no probes"
            error = OfficialStops("ZeroDivisionError", f"the task {visible(str(task), 40)} {what}")
            stops.append(error)
            result.notes.append(f"{category}: {error.why}; it is left out.")
    _compare(items, wanted, result)
    _fill(result, scores, stops)
    result.result["items"] = lists
    return result


def _items(predictions: str | Path, result: Score) -> tuple[dict[str, list[Any]], list[OfficialStops]]:
    """The items of all files by category, and which of them stop the official scorer."""
    path = Path(predictions)
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    if not files:
        raise SourceError(f"{path} has no files; give the folder with the results of one model.")
    items: dict[str, list[Any]] = {category: [] for category in CATEGORIES}
    stops = []
    usable = 0
    for file, value, problem in each_file(files):
        if problem:
            if len(files) == 1:
                raise ConfigError(problem)
            result.notes.append(problem.removesuffix("; correct it.").rstrip(".") + "; the file is left out.")
            continue
        if not isinstance(value, dict) or not any(isinstance(value.get(key), list) for key in CATEGORIES):
            result.notes.append(f"{file} has no list {', '.join(CATEGORIES)}; the file is left out.")
            continue
        usable += 1
        for category in CATEGORIES:
            part = value.get(category)
            if isinstance(part, list):
                items[category] += part
            else:
                error = OfficialStops("KeyError", f"{file} has no list {category}")
                stops.append(error)
                result.notes.append(f"{error.why}; its other lists are scored.")
                result.left_out.append(left_out({"file": str(file), "category": category}, error))
    if not usable:
        raise ConfigError(
            f"{predictions} has no lists {', '.join(CATEGORIES)}; give the results of OVO-Bench's inference."
        )
    return items, stops


def _add(
    category: str,
    place: int,
    item: Any,
    scores: dict[str, list[int]],
    lists: list[dict[str, Any]],
    result: Score,
) -> list[OfficialStops]:
    """Score one item. Errors that stop the official scorer are returned and noted."""
    task = item.get("task") if isinstance(item, dict) else None
    number = item.get("id", place) if isinstance(item, dict) else place
    where: dict[str, Any] = {"category": category, "task": task, "id": number}
    stops: list[OfficialStops] = []
    found: list[int] = []
    try:
        if not isinstance(item, dict):
            raise OfficialStops("TypeError", f"it is {shown(item)} and not an object")
        if not isinstance(task, str):
            raise OfficialStops("KeyError", "it has no task")
        if category != "forward":
            found.append(choice_score(_of(item, "response"), _of(item, "ground_truth")))
        else:
            scores.setdefault(task, [])
            found += _probes(item, task, where, stops, result)
    except OfficialStops as error:
        _leave_out(where, error, stops, result)
    if found:
        scores.setdefault(str(task), []).extend(found)
        lists.append({**where, "correct": sum(found), "probes": len(found)})
    return stops


def _probes(
    item: dict[str, Any], task: str, where: dict[str, Any], stops: list[OfficialStops], result: Score
) -> Iterator[int]:
    if task not in _PROBES:
        return
    key, rule = _PROBES[task]
    probes = _of(item, "test_info")
    if not isinstance(probes, list):
        raise OfficialStops("TypeError", f"its test_info is {shown(probes)} and not a list")
    for number, probe in enumerate(probes):
        try:
            if not isinstance(probe, dict):
                raise OfficialStops("TypeError", f"it is {shown(probe)} and not an object")
            response, truth = _of(probe, "response"), _of(probe, key)
            yield rule(response, truth)
        except OfficialStops as error:
            _leave_out({**where, "probe": number}, error, stops, result)


def _leave_out(
    where: dict[str, Any], error: OfficialStops, stops: list[OfficialStops], result: Score
) -> None:
    stops.append(error)
    result.left_out.append(left_out(where, error))
    result.notes.append(
        f"{named(where)}: {error.why}; it is left out (the official scorer stops with {error.kind})."
    )


def _of(item: dict[str, Any], key: str) -> Any:
    if key not in item:
        raise OfficialStops("KeyError", f"it has no {key}")
    return item[key]


def _wanted(path: str | Path) -> dict[tuple[str, str], Any]:
    """Annotated items by task and id."""
    objects = [item for file in result_files(path) for item in read_objects(file)[0]]
    found = {
        (item["task"], str(item["id"])): item
        for item in objects
        if isinstance(item, dict) and item.get("task") in TASKS and "id" in item and "video" in item
    }
    if not found:
        raise ConfigError(
            f"{path} has no items of OVO-Bench's tasks; give the benchmark's annotations, "
            "such as ovo_bench_new.json."
        )
    return found


def _compare(items: dict[str, list[Any]], wanted: dict[tuple[str, str], Any] | None, result: Score) -> None:
    """Count items that are repeated, of unknown tasks, missing, or different from the annotations."""
    there: Counter[tuple[str, str]] = Counter()
    unknown: Counter[str] = Counter()
    differ = 0
    for item in (item for members in items.values() for item in members if isinstance(item, dict)):
        key = (str(item.get("task")), str(item.get("id")))
        there[key] += "id" in item
        unknown[key[0]] += key[0] not in TASKS
        if wanted is not None and key in wanted and "ground_truth" in item:
            gt = wanted[key].get("gt")
            differ += isinstance(gt, int) and item["ground_truth"] != chr(ord("A") + gt % 26)
    doubles = sum(number - 1 for number in there.values() if number > 1)
    result.counts["repeated"] = doubles
    if doubles:
        result.notes.append(
            f"{counted(doubles, 'item')} {plural(doubles, 'is', 'are')} repeated; each counts, as in the "
            "official scorer."
        )
    for task, number in unknown.items():
        if number:
            result.notes.append(f"{counted(number, 'item')} have the unknown task {visible(task, 40)!r}.")
    if wanted is None:
        return
    missing = sum(key not in there for key in wanted)
    foreign = sum(key not in wanted for key in there)
    result.counts |= {"missing": missing, "not_annotated": foreign, "other_ground_truth": differ}
    if missing:
        result.notes.append(
            f"{counted(missing, 'annotated item')} {plural(missing, 'has', 'have')} no result and "
            f"{plural(missing, 'is', 'are')} not counted."
        )
    if foreign:
        result.notes.append(f"{counted(foreign, 'item')} {plural(foreign, 'is', 'are')} not annotated.")
    if differ:
        result.notes.append(
            f"{counted(differ, 'item')} {plural(differ, 'has', 'have')} another correct answer than the "
            "annotations; that of the results counts, as in the official scorer."
        )


def _fill(result: Score, scores: dict[str, dict[str, list[int]]], stops: list[OfficialStops]) -> None:
    printed: dict[str, Any] = {"tasks": {}}
    tasks: dict[str, dict[str, int]] = {}
    exact: dict[str, float] = {}
    rows: list[Sequence[str]] = []
    for category, of_tasks in scores.items():
        accuracies = []
        for task, found in sorted(of_tasks.items(), key=lambda pair: _rank(pair[0])):
            tasks[task] = {"correct": sum(found), "probes": len(found)}
            accuracies.append(sum(found) / len(found))
            printed["tasks"][task] = f"{100 * sum(found) / len(found):.2f}"
            rows.append([task, str(sum(found)), str(len(found)), printed["tasks"][task]])
        if accuracies:
            exact[category] = 100 * plain_sum(accuracies) / len(accuracies)
            printed[category] = f"{exact[category]:.2f}"
        else:
            error = OfficialStops("UnboundLocalError", f"{NAMES[category]} has no scored items")
            stops.append(error)
            result.notes.append(f"{error.why}, so there is no total.")
        rows.append([NAMES[category], "", "", printed.get(category, "-")])
    if len(exact) == len(CATEGORIES):
        exact["total"] = plain_sum(exact[category] for category in CATEGORIES) / len(CATEGORIES)
        printed["total"] = f"{exact['total']:.2f}"
    rows.append(["Total", "", "", printed.get("total", "-")])
    rows += [[f"published, with {name}", "", "", f"{value:.2f}"] for name, value in PUBLISHED.items()]
    if stops:
        result.result |= stopped(stops[0])
    result.result |= {"printed": printed, "tasks": tasks, "exact": exact, "published": PUBLISHED}
    probes = sum(task["probes"] for task in tasks.values())
    result.counts |= {"probes": probes, "left_out": len(result.left_out)}
    result.tables.append((("OVO-Bench", "correct", "probes", "accuracy"), rows))


def _rank(task: str) -> tuple[int, str]:
    return (TASKS.index(task) if task in TASKS else len(TASKS), task)
