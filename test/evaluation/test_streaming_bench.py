"""StreamingBench: counts equal those of the official scorer; what stops it is named, the rest scored."""

import json
import shutil

import pytest

from stride_ros.evaluation.benchmarks.result import OfficialStops
from stride_ros.evaluation.benchmarks.streaming_bench import seconds_of_stamp

KINDS = ("real", "omni", "sqa", "proactive")
BOARD = "leaderboard (ours: micro accuracy, PO by answer_correct; the repository prints none)"


@pytest.fixture(scope="module")
def folder(benchmarks):
    return benchmarks / "streamingbench"


@pytest.fixture(scope="module")
def expected(folder):
    return json.loads((folder / "expected.json").read_text())


def outputs(folder, name):
    return [folder / "outputs" / f"{name}_{kind}.json" for kind in KINDS]


@pytest.mark.parametrize("name", ["scripted", "awkward"])
def test_counts_equal_those_of_the_official_scorer(name, folder, expected, score, agree):
    found, out, _ = score("streaming-bench", *outputs(folder, name))
    for key in (*KINDS, BOARD):
        agree(found[key], expected[name][key], 1e-12, f"{name}/{key}")
    assert found["model"] == expected["model"]
    assert f"{100 * expected[name][BOARD]['overall']['accuracy']:.2f}" in out


def test_a_folder_has_the_files_of_one_run(folder, expected, score, agree, tmp_path):
    for file in outputs(folder, "scripted"):
        shutil.copy(file, tmp_path)
    found, *_ = score("streaming-bench", tmp_path)
    agree(found[BOARD], expected["scripted"][BOARD])
    _, _, said = score("streaming-bench", folder / "outputs", code=2)
    assert "both have" in said
    assert "name one file of each kind" in said


def test_parts_of_the_leaderboard_need_their_files(folder, expected, score, agree):
    found, *_ = score("streaming-bench", *outputs(folder, "scripted")[:2])
    assert set(found[BOARD]) == {"real_time", "omni_source"}
    agree(found[BOARD], {key: expected["scripted"][BOARD][key] for key in found[BOARD]})


def one(tmp_path, task, reply, **more):
    """An output file with one question, and one that is answered, so that there is a model."""
    known = {"task_type": task, "answer": "A", "time_stamp": "00:00:10", "question": "?"}
    asked = {**known, **more} if reply == "<absent>" else {**known, **more, "Some": reply}
    entry = {"video_path": "v.mp4", "questions": [asked]}
    file = tmp_path / "out.json"
    file.write_text(json.dumps([[entry]] if task.startswith("Sequential") else [entry]))
    return file


@pytest.mark.parametrize(
    ("task", "kind", "rule"),
    [
        ("Counting", "real", "real_or_omni"),
        ("Scene Understanding", "omni", "real_or_omni"),
        ("Sequential Question Answering", "sqa", "sqa"),
    ],
)
def test_single_replies_count_as_with_the_official_rules(task, kind, rule, folder, score, tmp_path):
    for case in json.loads((folder / "cases.json").read_text())["answers"]:
        file = one(tmp_path, task, case["response"], answer=case["answer"])
        expected = case[rule]
        if expected.get("official") == "raises":
            found, _, said = score("streaming-bench", file, "--model", "Some")
            assert (found[kind]["official"], found[kind]["type"]) == ("raises", expected["type"]), case
            assert f"{kind} 0 v.mp4: its reply is " in said
            assert found["counts"]["left_out"] == 1
        elif expected["counted"]:
            found, *_ = score("streaming-bench", file, "--model", "Some")
            assert found[kind]["stats"][task]["total"] == expected["counted"], case
            assert found[kind]["stats"][task]["correct"] == expected["correct"], case
        else:
            _, _, said = score("streaming-bench", file, "--model", "Some", code=2)
            assert "No question has a reply of 'Some'" in said


def test_proactive_output_is_judged_by_time_and_then_by_content(folder, score, tmp_path, agree):
    truth = {"ground_truth_time_stamp": "00:01:40", "ground_truth_output": "Break point"}
    for case in json.loads((folder / "cases.json").read_text())["proactive_scoring"]:
        if "official" in case:
            last = {"time": 100 + case["time_minus_truth"], "content": case["content"]}
            reply = {"answered": False, "dialog_history": [{"time": 1, "content": "Break point"}, last]}
            found, *_ = score("streaming-bench", one(tmp_path, "PO", reply, **truth))
            ours = {key: found["proactive"][key] for key in ("items", "stats")}
            agree(ours, case["official"], 1e-12, str(case))
        else:
            history = [{"time": 100, "content": case["content"]}] if "content" in case else []
            reply = case.get("value") if "value" in case else {"answered": False, "dialog_history": history}
            found, _, said = score("streaming-bench", one(tmp_path, "PO", reply, **truth))
            assert found["proactive"]["type"] == case["result"]["type"]
            assert found["proactive"]["message"] in said


@pytest.mark.parametrize(
    ("reply", "kind", "problem"),
    [
        (None, "TypeError", "has no dialog_history"),
        ({"dialog_history": []}, "IndexError", "its dialog_history is empty"),
        ({}, "KeyError", "has no dialog_history"),
        ({"dialog_history": [{"time": 5}]}, "KeyError", "no time and content"),
        ({"dialog_history": [{"time": "5", "content": ""}]}, "TypeError", "no time and content"),
    ],
)
def test_a_dialogue_that_cannot_be_judged_is_left_out(reply, kind, problem, score, tmp_path):
    truth = {"ground_truth_time_stamp": "00:01:40", "ground_truth_output": "Break point"}
    found, _, said = score("streaming-bench", one(tmp_path, "Proactive Output", reply, **truth))
    assert found["proactive"]["type"] == kind
    assert found["proactive"]["items"] == 0
    assert problem in said


def test_time_stamps_are_read_as_by_the_official_code(folder):
    for stamp, seconds in json.loads((folder / "cases.json").read_text())["time_stamps"].items():
        if isinstance(seconds, dict):
            with pytest.raises(OfficialStops) as stops:
                seconds_of_stamp(stamp)
            assert stops.value.kind == seconds["type"]
        else:
            assert seconds_of_stamp(stamp) == seconds


def test_what_is_missing_unknown_or_half_written_is_told_and_the_rest_scored(folder, score, tmp_path):
    real, omni, *_ = outputs(folder, "scripted")
    entries = json.loads(real.read_text())
    lost = len(entries.pop()["questions"])
    entries[0]["questions"][0]["task_type"] = "Juggling"
    entries.append("no entry")
    (tmp_path / "real.json").write_text(json.dumps(entries))
    (tmp_path / "half.json").write_text(omni.read_text()[:3000])
    (tmp_path / "other.json").write_text('{"backward": []}')
    found, _, said = score("streaming-bench", tmp_path, "--annotations", folder / "questions_real.json")
    assert "half.json is not JSON at line" in said
    assert "other.json has no list of StreamingBench's videos with questions; the file is left out" in said
    assert "has 1 entry that is not a question" in said
    assert "the unknown task 'Juggling', and counts anyway" in said
    assert f"{lost} annotated question" in said
    assert found["counts"]["missing"] == lost
    assert found["real"]["stats"]["Juggling"]["total"] == 1


def test_what_cannot_be_used_is_one_sentence(folder, score, tmp_path):
    real = outputs(folder, "scripted")[0]
    two = json.loads(real.read_text())
    two[0]["questions"][0]["Other"] = "A"
    (tmp_path / "two.json").write_text(json.dumps(two))
    (tmp_path / "tvg.json").write_text('[{"task": "tvg", "source": "s", "video": "v"}]')
    for arguments, problem in (
        ([tmp_path / "two.json"], "replies of several models (Other, Scripted); choose one with --model"),
        ([folder / "questions_real.json"], "No question has a reply; give the outputs of a run"),
        ([tmp_path / "tvg.json"], "has no list of StreamingBench's videos with questions"),
        ([tmp_path / "nowhere.json"], "cannot be read"),
        ([real, "--annotations", tmp_path / "tvg.json"], "has no questions of StreamingBench"),
    ):
        _, _, said = score("streaming-bench", *arguments, code=2)
        assert problem in said
        assert said.count("\n") == 1
    found, *_ = score("streaming-bench", tmp_path / "two.json", "--model", "Other")
    assert found["counts"]["counted"] == 1


def test_a_task_that_is_no_text_is_left_out(folder, score, tmp_path):
    entries = json.loads(outputs(folder, "scripted")[0].read_text())
    entries[0]["questions"][0]["task_type"] = {"a": 1}
    (tmp_path / "real.json").write_text(json.dumps(entries))
    found, _, said = score("streaming-bench", tmp_path / "real.json")
    assert found["real"]["type"] == "TypeError"
    assert "its task_type is a mapping and not text" in said
    assert found["counts"]["left_out"] == 1
