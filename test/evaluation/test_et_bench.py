"""ET-Bench: figures equal those of STRIDE's scorer and of the official one; bad input is named."""

import contextlib
import json
import math
import pickle
import shelve
import sqlite3

import pytest

from stride_ros.evaluation.benchmarks.et_bench_answers import events_in, spans_in, written
from stride_ros.evaluation.benchmarks.et_bench_overlap import dense, dense_overlap, overlaps, several, single
from stride_ros.evaluation.benchmarks.result import OfficialStops

STRIDE = (
    "collected",
    "estimated",
    "coverage",
    "summary",
    "summary_estimated",
    "collected_unrounded",
    "average_of_present_tasks (ours, as in the model card)",
)
OFFICIAL = {  # predictions -> official figures with missing ones as an empty text, and with them absent
    "full": ("full", "full"),
    "partial": ("partial_missing_as_empty", "partial_missing_absent"),
    "zero_epm": ("zero_epm", "zero_epm"),
    "crash_zero_length": ("crash_zero_length", "crash_zero_length"),
}


@pytest.fixture(scope="module")
def folder(benchmarks):
    return benchmarks / "etbench"


@pytest.fixture
def annotated(folder, score):
    """Runs `stride-ros score et-bench` with the annotations of the folder, or others."""

    def run(name, annotations=folder / "annotations.json", **options):
        return score("et-bench", folder / name, "--annotations", annotations, **options)

    return run


@pytest.fixture(scope="module")
def expected(folder):
    return json.loads((folder / "expected.json").read_text())


def five(figures):
    """Without what the official scorer says of other tasks, and of its sentence model's similarity."""
    kept = {key: value for key, value in figures.items() if key != "script_all_tasks"}
    script = dict(kept["script_five_tasks"])
    if "overall_row" in script:
        row = list(script["overall_row"])
        for place in (4, 6)[: len(row) - 5]:
            row[place] = None
        script["overall_row"] = row
    return kept | {"script_five_tasks": script}


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_database_scores_as_with_stride(name, expected, agree, annotated):
    found, *_ = annotated(f"stride_{name}.jsonl")
    for key in STRIDE:
        ours, theirs = found["stride"][key], expected["stride"][name][key]
        agree(without_rest(ours) if key.startswith("collected") else ours, theirs, 1e-9, f"{name}/{key}")


def without_rest(table):
    """What the official scorer has of a table: not our figures of what is left of a source."""
    return {
        task: {
            source: {key: value for key, value in figures.items() if key != "without_what_is_left_out"}
            for source, figures in sources.items()
        }
        for task, sources in table.items()
    }


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_same_as_text_scores_as_with_the_official_script(name, expected, agree, annotated):
    found, *_ = annotated(f"stride_{name}.jsonl")
    for key, official in zip(("official", "official_missing_absent"), OFFICIAL[name], strict=True):
        for part in ("per_source", "per_source_unrounded"):
            found[key][part] = without_rest(found[key][part])
        agree(found[key], five(expected["official"][official]), 1e-9, f"{name}/{key}")


def test_free_text_scores_as_with_the_official_script(folder, expected, score, agree, annotated):
    found, *_ = score("et-bench", folder / "responses.json")
    agree(found["official"], five(expected["official"]["responses"]))
    with_annotations, *_ = annotated("responses.json")
    agree(with_annotations["official"], five(expected["official"]["responses"]))


def test_a_text_that_is_scored_equals_the_database_it_is_written_from(folder, score, tmp_path, annotated):
    found, *_ = annotated("stride_full.jsonl")
    texts = {(item["task"], item["source"], item["idx"]): item["answer"] for item in found["items"]}
    samples = [
        sample | {"a": texts[sample["task"], sample["source"], sample["idx"]]}
        for sample in json.loads((folder / "annotations.json").read_text())
        if (sample["task"], sample["source"], sample["idx"]) in texts
    ]
    (tmp_path / "half.json").write_text(json.dumps(samples[:90]))
    (tmp_path / "rest.jsonl").write_text("\n".join(map(json.dumps, samples[90:])))
    (tmp_path / "metrics.json").write_text("{}")
    of_folder, *_ = score("et-bench", tmp_path)
    assert of_folder["official"] == found["official"]


def test_each_sample_has_its_hits_and_f1(folder, score, agree, annotated):
    items = json.loads((folder / "items.json").read_text())
    runs = {
        "stride_full": annotated("stride_full.jsonl")[0],
        "responses": score("et-bench", folder / "responses.json")[0],
    }
    for run, found in runs.items():
        by_sample = {(item["task"], item["source"], item["idx"]): item for item in found["items"]}
        assert len(by_sample) == len(items)
        for item in items:
            ours = by_sample[item["task"], item["source"], item["idx"]]
            if run == "stride_full":
                assert ours["answer"] == item["answer"]
            agree({key: ours[key] for key in item[run]}, item[run], 1e-9, f"{run} {item}")


def test_overlaps_are_exact_by_all_three_rules(folder):
    for case in json.loads((folder / "iou_cases.json").read_text()):
        event, span = tuple(case["gt"]), tuple(case["pred"])
        iou = float(overlaps([event], [span])[0, 0])
        if case["float32_iou"] == "NaN":
            assert math.isnan(iou), case
        else:
            assert iou == pytest.approx(case["float32_iou"], abs=1e-6), case
        assert dense_overlap(span, event) == pytest.approx(case["double_iou"], abs=1e-12)
        assert list(single(span, event).f1) == case["tvg"], case
        assert list(dense([span], [event]).f1) == case["dvc"], case
        if isinstance(case["tal"], dict):
            with pytest.raises(OfficialStops) as stops:
                several([span], [event])
            assert stops.value.kind == case["tal"]["type"]
        else:
            assert list(several([span], [event]).f1) == case["tal"], case


def test_both_parsers_find_what_the_official_ones_find(folder):
    for case in json.loads((folder / "parse_cases.json").read_text()):
        if isinstance(case["tvg"], dict):
            with pytest.raises(OfficialStops) as stops:
                spans_in(case["text"])
            assert stops.value.kind == case["tvg"]["type"]
        else:
            found = spans_in(case["text"])
            assert (found and [list(span) for span in found]) == case["tvg"], case
        events = events_in(case["text"])
        if case["dvc"] is None:
            assert events is None, case
        else:
            assert [list(span) for span, _ in events] == case["dvc"]["spans"], case
            assert [sentence for _, sentence in events] == case["dvc"]["captions"], case


@pytest.mark.parametrize("text", ["9" * 90_000, "1" + " " * 90_000, "1." * 45_000, "1:" * 45_000])
def test_a_long_answer_is_read_in_linear_time(text):
    for answer in (text, text + " seconds", f"start {text}"):  # hours with the plain expressions
        events_in(answer)
        with contextlib.suppress(OfficialStops):
            spans_in(answer)


def test_tenths_are_half_to_even_of_the_binary_value():
    assert written([(0.05, 0.15)], "tvg") == "0.1 - 0.1 seconds"
    assert written([(0.25, 0.35), (1, 2)], "tal") == "0.2 - 0.3 seconds\n1.0 - 2.0 seconds"


def test_what_stops_stride_is_named_and_the_rest_is_scored(expected, agree, annotated):
    found, _, said = annotated("stride_crash_null_end.jsonl")
    agree(found["stride"], {"official": "raises", "type": expected["stride"]["crash_null_end"]["type"]})
    (entry,) = found["left_out"]
    assert f"{entry['task']} {entry['source']} {entry['idx']}: its end_sec is None and not a number" in said
    assert found["counts"]["left_out"] == 1
    assert found["counts"]["scored"] == found["counts"]["samples"] - 1
    of_source = found["stride"]["collected"][entry["task"]][entry["source"]]
    full = expected["stride"]["full"]["collected"][entry["task"]][entry["source"]]
    assert of_source["Total"] == full["Total"] - 1


def test_a_source_that_stops_the_script_is_named_and_the_rest_of_it_scored(annotated):
    found, out, said = annotated("stride_crash_zero_length.jsonl")
    (entry,) = found["left_out"]
    assert f"tal {entry['source']} {entry['idx']}: " in said
    rest = found["official"]["per_source"]["tal"][entry["source"]]["without_what_is_left_out"]
    assert (
        rest["Total"]
        == sum(i["source"] == entry["source"] and i["task"] == "tal" for i in found["items"]) - 1
    )
    assert f"tal {entry['source']} *" in out


def test_an_answer_without_its_key_is_left_out(folder, expected, score, tmp_path):
    samples = json.loads((folder / "responses.json").read_text())
    first = next(sample for sample in samples if sample["task"] == "tvg")
    del first["a"]
    (tmp_path / "answers.json").write_text(json.dumps(samples))
    found, _, said = score("et-bench", tmp_path / "answers.json")
    assert [entry["type"] for entry in found["left_out"]] == [expected["official"]["missing_key_a"]["type"]]
    assert f"tvg {first['source']} {first['idx']}: it has no answer, the key a" in said


def test_a_dense_source_in_which_all_answers_fail_scores_0(expected, score, tmp_path, agree):
    sample = {"task": "dvc", "source": "s", "idx": 0, "video": "v.mp4", "tgt": [[1.0, 2.0]], "a": "nothing"}
    (tmp_path / "answers.json").write_text(json.dumps([sample]))
    found, *_ = score("et-bench", tmp_path / "answers.json")
    agree(found["official"]["per_source"]["dvc"]["s"], expected["official"]["dvc_all_failed"])


def entries_of(folder):
    lines = (folder / "stride_full.jsonl").read_text().splitlines()
    return {entry["_key"]: entry["_value"] for entry in map(json.loads, lines) if "_key" in entry}


def test_a_shelve_scores_as_its_lines_do(folder, score, tmp_path):
    import numpy as np

    with shelve.open(str(tmp_path / "run")) as database:
        database["_metadata"] = {"bench_args": {}}
        for key, value in entries_of(folder).items():
            for segment in value.get("trigger_segments", []):
                segment["start_sec"] = np.float64(segment["start_sec"])
            database[key] = value
    annotations = ("--annotations", folder / "annotations.json")
    found, *_ = score("et-bench", tmp_path / "run", *annotations)
    of_lines, *_ = score("et-bench", folder / "stride_full.jsonl", *annotations)
    files = list(tmp_path.glob("run*"))
    assert files
    for file in files:  # the name by which it was opened, with a suffix or several, or with none
        of_file, *_ = score("et-bench", file, *annotations)
        assert of_file["stride"] == of_lines["stride"], file
    assert found["stride"] == of_lines["stride"]
    assert found["official"] == of_lines["official"]


def test_a_shelve_of_python_3_13_scores_on_every_python(folder, score, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "run")) as database, database:
        database.execute("CREATE TABLE Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)")
        rows = [(key.encode(), pickle.dumps(value)) for key, value in entries_of(folder).items()]
        database.executemany("INSERT INTO Dict VALUES (?, ?)", rows)
    annotations = ("--annotations", folder / "annotations.json")
    found, *_ = score("et-bench", tmp_path / "run", *annotations)
    of_lines, *_ = score("et-bench", folder / "stride_full.jsonl", *annotations)
    assert found["official"] == of_lines["official"]
    assert list(tmp_path.glob("run*")) == [tmp_path / "run"]


def test_a_database_of_something_else_is_one_sentence(score, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "run.db")) as database, database:
        database.execute("CREATE TABLE events (id INTEGER)")
    _, _, said = score("et-bench", tmp_path / "run.db", code=2)
    assert "cannot be read as a database of SQLite (no such table: Dict); check it." in said


def test_a_shelve_runs_no_code(folder, score, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    with shelve.open(str(tmp_path / "run")) as database:
        for i, (key, value) in enumerate(entries_of(folder).items()):
            database[key] = Harmful() if i == 0 else value
    found, _, said = score("et-bench", tmp_path / "run", "--annotations", folder / "annotations.json")
    assert not (tmp_path / "made").exists()
    assert "has 1 entry of other kinds than numbers" in said
    assert found["counts"]["missing"] == 1


def test_half_written_lines_doubles_and_unknown_tasks_are_told_and_the_rest_scored(folder, score, tmp_path):
    lines = (folder / "stride_full.jsonl").read_text().splitlines()
    (tmp_path / "run.jsonl").write_text("\n".join([*lines[:-1], lines[1], lines[-1][:40]]))
    samples = json.loads((folder / "annotations.json").read_text())
    (tmp_path / "annotations.json").write_text(json.dumps([*samples, {**samples[0], "task": "xyz"}, 3]))
    found, _, said = score("et-bench", tmp_path / "run.jsonl", "--annotations", tmp_path / "annotations.json")
    assert f"is not JSON at line {len(lines) + 1}" in said
    assert "has 1 prediction twice; the last of each counts" in said
    assert "of the unknown task 'xyz'" in said
    assert "has 1 item without task, source and video" in said
    assert found["counts"]["missing"] == 1


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("run.jsonl", "{}\n", "has no line with _key and _value"),
        ("run.json", "[1, 2", "is not JSON at line 1"),
        ("run.json", '{"a": 1}', "is not a JSON list"),
        ("run.json", "[]", "has no samples of ET-Bench's tasks"),
        ("run.db", "no database", "is not a database that Python can open"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(name, content, problem, score, tmp_path):
    (tmp_path / name).write_text(content)
    _, _, said = score("et-bench", tmp_path / name, code=2)
    assert problem in said
    assert said.startswith("stride-ros score: ")
    assert said.count("\n") == 1


def test_annotations_of_another_benchmark_or_another_run_are_refused(folder, score, tmp_path, annotated):
    (tmp_path / "ovo.json").write_text(json.dumps([{"id": 0, "task": "EPM", "video": "v.mp4", "gt": 2}]))
    _, _, said = annotated("stride_full.jsonl", tmp_path / "ovo.json", code=2)
    assert "has no samples of ET-Bench's tasks" in said
    samples = [s | {"version": 9} for s in json.loads((folder / "annotations.json").read_text())]
    (tmp_path / "other.json").write_text(json.dumps(samples))
    _, _, said = annotated("stride_full.jsonl", tmp_path / "other.json", code=2)
    assert "belongs to a sample of the annotations" in said
    _, _, said = score("et-bench", tmp_path / "nowhere", code=2)
    assert "cannot be read" in said


def test_times_beyond_float32_score_without_a_warning(recwarn, score, tmp_path):
    sample = {"task": "tvg", "source": "s", "idx": 0, "video": "v.mp4", "tgt": [1.0, 2.0]}
    (tmp_path / "answers.json").write_text(json.dumps([sample | {"a": f"1 - {'9' * 60}"}]))
    found, *_ = score("et-bench", tmp_path / "answers.json")
    assert found["official"]["per_source"]["tvg"]["s"]["F1"] == 0.0
    assert not recwarn.list
