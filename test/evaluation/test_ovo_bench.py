"""OVO-Bench: figures equal what the official scorer prints; what stops it is named, the rest scored."""

import json
import re

import pytest

from stride_ros.evaluation.benchmarks.ovo_bench import choice_score, count_score, yes_no_score
from stride_ros.evaluation.benchmarks.result import OfficialStops


@pytest.fixture(scope="module")
def folder(benchmarks):
    return benchmarks / "ovobench"


@pytest.fixture(scope="module")
def expected(folder):
    return json.loads((folder / "expected.json").read_text())


def test_every_set_of_results_scores_as_with_the_official_scorer(folder, expected, score, agree):
    sets = [name for name, figures in expected.items() if "official" not in figures]
    assert sets
    for name in sets:
        found, out, _ = score("ovo-bench", folder / "results" / name)
        assert "official" not in found
        for key in ("printed", "tasks", "exact"):
            agree(found[key], expected[name][key], 1e-9, f"{name}/{key}")
        assert re.search(rf"^Total +{re.escape(expected[name]['printed']['total'])}$", out, re.MULTILINE)


def test_what_stops_the_official_scorer_is_told_and_the_rest_scored(folder, expected, score):
    crashes = [name for name, figures in expected.items() if figures.get("official") == "raises"]
    assert crashes
    for name in crashes:
        found, _, said = score("ovo-bench", folder / "results" / name)
        assert (found["official"], found["type"]) == ("raises", expected[name]["type"]), name
        assert found["message"] in said, name
        official = expected[name]["printed"]
        assert official["tasks"].items() <= found["printed"]["tasks"].items(), name
        for category in ("backward", "realtime", "forward"):
            if category in official:
                assert found["printed"][category] == official[category], name


def one_item(items):
    """The only item of a crash set that the official scorer cannot read, as a sentence names it."""
    (entry,) = items["left_out"]
    return " ".join(str(entry[key]) for key in ("category", "task", "id"))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("crash_no_response", "it has no response"),
        ("crash_number", "and not text"),
        ("crash_rec_list", "its response is a list and not text"),
    ],
)
def test_a_single_item_is_left_out_and_counted(name, problem, folder, score):
    found, _, said = score("ovo-bench", folder / "results" / name)
    assert one_item(found) in said
    assert problem in said
    assert found["counts"]["left_out"] == 1
    whole, *_ = score("ovo-bench", folder / "results" / "scripted")
    assert found["counts"]["probes"] == whole["counts"]["probes"] - 1
    assert "total" in found["printed"]


@pytest.mark.parametrize(
    ("name", "category", "title"),
    [
        ("crash_empty_category", "realtime", "Real-Time Visual Perception"),
        ("crash_no_category", "forward", "Forward Active Responding"),
    ],
)
def test_without_a_category_there_is_no_total(name, category, title, folder, score):
    found, _, said = score("ovo-bench", folder / "results" / name)
    assert f"{title} has no scored items, so there is no total" in said
    assert set(found["printed"]) == {"tasks", "backward", "realtime", "forward"} - {category}


def test_single_replies_score_as_with_the_official_rules(folder):
    cases = json.loads((folder / "string_cases.json").read_text())
    rules = (
        ("mcq", choice_score, "letter"),
        ("rec", count_score, "count"),
        ("yes_no", yes_no_score, "type"),
    )
    for case in cases:
        for name, rule, truth in rules:
            if isinstance(case[name], dict):
                with pytest.raises(OfficialStops) as stops:
                    rule(case["response"], case[truth])
                assert stops.value.kind == case[name]["type"]
            else:
                assert rule(case["response"], case[truth]) == case[name], case


def test_annotations_tell_what_is_missing_double_or_different(folder, score):
    annotations = ("--annotations", folder / "annotations.json")
    total = len(json.loads((folder / "annotations.json").read_text()))
    found, _, said = score("ovo-bench", folder / "results" / "scripted", *annotations)
    assert (found["counts"]["missing"], found["counts"]["repeated"]) == (0, 0)
    found, _, said = score("ovo-bench", folder / "results" / "some_tasks", *annotations)
    assert f"{found['counts']['missing']} annotated items have no result" in said
    assert found["counts"]["missing"] + len(found["items"]) == total
    found, _, said = score("ovo-bench", folder / "results" / "doubles", *annotations)
    assert f"{found['counts']['repeated']} items are repeated; each counts" in said
    assert found["counts"]["repeated"] == len(found["items"]) - total
    found, _, said = score("ovo-bench", folder / "results" / "own_ground_truth", *annotations)
    assert "another correct answer than the annotations; that of the results counts" in said
    assert found["counts"]["other_ground_truth"] > 0


def test_a_half_written_file_and_an_unknown_task_are_told_and_the_rest_scored(folder, score, tmp_path):
    (source,) = (folder / "results" / "scripted").iterdir()
    results = json.loads(source.read_text())
    results["forward"].append({"id": 999, "task": "XYZ", "test_info": []})
    results["backward"].append("no item")
    (tmp_path / "whole.json").write_text(json.dumps(results))
    (tmp_path / "half.json").write_text(source.read_text()[:5000])
    (tmp_path / "list.json").write_text("[]")
    found, _, said = score("ovo-bench", tmp_path)
    assert "half.json is not JSON at line" in said
    assert "list.json has no list backward, realtime, forward; the file is left out" in said
    assert "the task XYZ is unknown; it is left out" in said
    assert "it is 'no item' and not an object" in said
    plain, *_ = score("ovo-bench", source)
    assert found["printed"] == plain["printed"]


def test_what_cannot_be_used_is_one_sentence(folder, score, tmp_path):
    (tmp_path / "half.json").write_text('{"backward": [')
    (tmp_path / "null.json").write_text("null")
    (tmp_path / "other.json").write_text('[{"task": "tvg", "source": "s", "video": "v"}]')
    for arguments, problem in (
        ([tmp_path / "half.json"], "is not JSON at line 1"),
        ([tmp_path / "other.json"], "has no lists backward, realtime, forward"),
        ([tmp_path / "nowhere"], "cannot be read"),
        ([tmp_path / "null.json"], "has no lists backward, realtime, forward"),
        (
            [folder / "results" / "scripted", "--annotations", tmp_path / "other.json"],
            "has no items of OVO-Bench's tasks",
        ),
    ):
        _, _, said = score("ovo-bench", *arguments, code=2)
        assert problem in said
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("response", "letter", "problem"),
    [
        ({"a": 1}, ["A"], "its ground_truth is a list"),
        ("A", None, "its ground_truth is None"),
        (3, "A", "is 3"),
    ],
)
def test_replies_and_answers_of_other_kinds_are_named(response, letter, problem):
    with pytest.raises(OfficialStops, match=problem) as stops:
        choice_score(response, letter)
    assert stops.value.kind == "TypeError"


def test_annotations_may_be_a_folder(folder, score, tmp_path):
    (tmp_path / "ovo.json").write_text((folder / "annotations.json").read_text())
    found, *_ = score("ovo-bench", folder / "results" / "scripted", "--annotations", tmp_path)
    assert found["counts"]["missing"] == 0
