"""Bad input of benchmarks' runs: one sentence each, the rest goes on, and the counts are told at the end."""

import json
import shutil
import threading

import pytest


@pytest.fixture
def broken(miniature, tmp_path):
    """A copy of a set, to be broken."""

    def copy(benchmark):
        shutil.copytree(miniature(benchmark), tmp_path / "set")
        return tmp_path / "set"

    return copy


def server_of(chat_server):
    return ("--responder", "tiny", "--base-url", chat_server.url)


def test_missing_and_damaged_videos_are_errors_of_their_items(broken, evaluate, tmp_path, items_of):
    root = broken("et-bench")
    (root / "world" / "clip_000.mp4").unlink()
    found, out, said = evaluate("et-bench", root, "--model", "stride-tiny")
    missing = [entry for entry in items_of(tmp_path / "run") if "error" in entry]
    assert found["counts"]["errors"] == len(missing) > 0
    assert found["counts"]["missing"] == len(missing)
    assert all("clip_000.mp4 does not exist; check --root." in entry["error"] for entry in missing)
    assert all(entry.get("result") is None for entry in missing)
    assert f"{len(missing)} items failed; the same command tries them again" in said
    assert f"errors {len(missing)}" in out
    shutil.copy(root / "world" / "clip_001.mp4", root / "world" / "clip_000.mp4")
    found, *_ = evaluate("et-bench", root, "--model", "stride-tiny")
    assert found["counts"]["errors"] == found["counts"]["missing"] == 0


def test_a_damaged_video_is_an_error_of_its_questions(broken, evaluate, chat_server):
    root = broken("ovo-bench")
    (root / "src_videos" / "world" / "clip_000.mp4").write_bytes(b"no video")
    found, _, said = evaluate("ovo-bench", root, *server_of(chat_server))
    assert found["counts"]["errors"] > 0
    assert found["counts"]["missing"] > 0
    assert "is not a readable video" in said
    assert found["counts"]["probes"] + found["counts"]["errors"] == found["counts"]["items"]


def test_a_question_after_the_end_of_its_video_is_an_error(broken, evaluate, chat_server):
    root = broken("streaming-bench")
    file = root / "questions_proactive.json"
    entries = json.loads(file.read_text())
    question = entries[0]["questions"][0]
    question["time_stamp"] = question["ground_truth_time_stamp"] = "00:10:00"
    file.write_text(json.dumps(entries))
    found, _, said = evaluate("streaming-bench", root, *server_of(chat_server), "--tasks", "proactive")
    assert found["counts"]["errors"] == 1
    assert "has no picture from 600 to 601 s; it ends at 30.0 s" in said


def test_what_the_server_refuses_is_kept_as_no_reply_and_tried_again(
    miniature, evaluate, chat_server, tmp_path, items_of
):
    chat_server.then("400 no", "ok A")
    found, _, said = evaluate("ovo-bench", miniature("ovo-bench"), *server_of(chat_server))
    first = items_of(tmp_path / "run")[0]
    assert first["result"] == {"response": None}
    assert "no" in first["error"]
    assert found["counts"]["errors"] == 1
    assert "1 item failed" in said
    before = len(chat_server.requests)
    found, *_ = evaluate("ovo-bench", miniature("ovo-bench"), *server_of(chat_server))
    assert found["counts"]["errors"] == 0
    assert len(chat_server.requests) == before + 1


def test_a_server_that_goes_away_ends_the_run_which_can_go_on(
    miniature, evaluate, chat_server, tmp_path, items_of
):
    def behaviour():
        if len(chat_server.requests) == 4:
            threading.Thread(target=chat_server.stop).start()
            return "hang"
        return "ok A"

    chat_server.next_behaviour = behaviour
    run = (miniature("ovo-bench"), *server_of(chat_server), "--set", "responder.max_retries=0")
    _, _, said = evaluate("ovo-bench", *run, code=2)
    assert "The responder failed 5 times in a row, and is no longer available" in said
    assert said.count("\n") == 1
    entries = items_of(tmp_path / "run")
    assert ["error" in entry for entry in entries] == [False] * 3 + [True] * 5
    chat_server.next_behaviour = lambda: "ok A"
    chat_server.start()
    found, *_ = evaluate("ovo-bench", *run)
    assert found["counts"]["errors"] == 0


def test_many_refusals_do_not_end_a_run(miniature, evaluate, chat_server):
    chat_server.then(*["400 too long"] * 12)
    found, *_ = evaluate("ovo-bench", miniature("ovo-bench"), *server_of(chat_server))
    assert found["counts"]["errors"] == 12
    assert found["counts"]["items"] == len(chat_server.requests)


def test_a_server_that_is_not_there_is_told_before_the_first_item(miniature, evaluate, tmp_path, items_of):
    server = ("--responder", "tiny", "--base-url", "http://127.0.0.1:9/v1")
    _, _, said = evaluate("ovo-bench", miniature("ovo-bench"), *server, code=2)
    assert "127.0.0.1:9" in said
    assert said.count("\n") == 1
    assert not items_of(tmp_path / "run")


def test_annotations_of_another_benchmark_are_refused(miniature, evaluate):
    et, ovo, streaming = (miniature(name) for name in ("et-bench", "ovo-bench", "streaming-bench"))
    for benchmark, root, file, problem in (
        ("et-bench", et, ovo / "ovo_bench_new.json", "has no samples of ET-Bench's tasks"),
        ("ovo-bench", ovo, et / "etbench_txt_v1.0.json", "has no items of OVO-Bench's tasks"),
        ("streaming-bench", streaming, ovo / "ovo_bench_new.json", "has no questions of StreamingBench"),
        ("ovo-bench", et, None, "has no ovo_bench_new.json"),
        ("et-bench", et, et / "nowhere.json", "does not exist"),
        ("et-bench", et / "nowhere", None, "is not a folder"),
    ):
        given = () if file is None else ("--annotations", file)
        _, _, said = evaluate(benchmark, root, *given, "--model", "stride-tiny", code=2)
        assert problem in said
        assert said.count("\n") == 1


def test_odd_items_are_told_and_the_rest_is_done(broken, evaluate, chat_server):
    root = broken("ovo-bench")
    file = root / "ovo_bench_new.json"
    items = json.loads(file.read_text())
    number = len(items)
    odd = [
        {**items[0], "task": "XYZ"},
        "nothing",
        {"task": "REC", "id": 77},
        {**items[0], "realtime": "soon"},
    ]
    file.write_text(json.dumps([*items, *odd]))
    found, _, said = evaluate("ovo-bench", root, *server_of(chat_server))
    assert "1 item of the unknown task 'XYZ' left out" in said
    assert f"Item {number + 1} of the annotations is not an object with a task" in said
    assert f"Item {number + 2} of the annotations (REC) has no video" in said
    assert f"Item {number + 3} of the annotations has options, gt or realtime of another kind" in said
    assert found["counts"]["items"] == len(chat_server.requests)


def test_questions_that_cannot_be_asked_are_told_and_the_rest_is_done(broken, evaluate, chat_server):
    root = broken("streaming-bench")
    file = root / "questions_real.json"
    entries = json.loads(file.read_text())
    entries[0]["questions"][0]["options"] = ["A. one", "B. two"]
    entries[1]["questions"][0]["time_stamp"] = "later"
    file.write_text(json.dumps([*entries, {"questions": [{"question": "?", "time_stamp": "00:10"}]}]))
    found, _, said = evaluate("streaming-bench", root, *server_of(chat_server), "--tasks", "real")
    assert "It has fewer than four options" in said
    assert "Its time_stamp is not a time like 00:03:10" in said
    assert "Its entry has no video_path" in said
    assert found["counts"]["items"] == len(entries) - 2 == len(chat_server.requests)


def test_a_video_outside_of_the_root_is_not_read(broken, evaluate, chat_server):
    root = broken("ovo-bench")
    file = root / "ovo_bench_new.json"
    items = json.loads(file.read_text())
    items[0]["video"] = "../../secret.mp4"
    file.write_text(json.dumps(items))
    _, _, said = evaluate("ovo-bench", root, *server_of(chat_server), code=2)
    assert "is not below --root" in said


def templates_of(choice):
    """Source code with all templates of OVO-Bench."""
    names = {"BR": choice, "REC": "R {}", "SSR": "S {}", "CRR": "C {}"}
    return "\n".join(f"{name}_PROMPT_TEMPLATE = {text!r}" for name, text in names.items())


def test_a_checkout_that_is_none_is_one_sentence(miniature, evaluate, tmp_path):
    root = miniature("ovo-bench")
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for content, problem in (
        (None, "constant.py does not exist; set --official to the checkout"),
        ("a = (", "is not Python"),
        ("BR_PROMPT_TEMPLATE = open('x')", "has no text BR_PROMPT_TEMPLATE"),
        (templates_of("one {}"), "The template for choice in the checkout has 1 place, not 2 plain ones"),
        (templates_of("{} {"), "The template for choice in the checkout is not valid"),
        (
            templates_of("{} {0.__class__}"),
            "The template for choice in the checkout has 2 places, not 2 plain ones",
        ),
    ):
        if content is not None:
            (checkout / "constant.py").write_text(content)
        _, _, said = evaluate("ovo-bench", root, "--official", checkout, code=2)
        assert problem in said
        assert said.count("\n") == 1


def test_a_checkout_with_templates_alone_is_told(miniature, evaluate, chat_server, tmp_path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    runs = f"open({str(tmp_path / 'made')!r}, 'w')"
    (checkout / "constant.py").write_text(f"{templates_of('Q {} O {}')}\n{runs}\n")
    found, _, said = evaluate(
        "ovo-bench", miniature("ovo-bench"), *server_of(chat_server), "--official", checkout
    )
    assert "not all texts around them; our own are used for count" in said
    assert found["run"]["prompts"] == "official, with our texts around the templates"
    asked = [request["messages"][-1]["content"][-1]["text"][0] for request in chat_server.requests]
    assert set(asked) == {"Q", "R", "S", "C"}
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--tasks", "tvg,xyz"), "There is no xyz in et-bench"),
        (("--part", "3/2"), "--part 3/2 is not K/N"),
        (("--concurrency", "0"), "--concurrency 0 is out of range"),
        (("--set", "nothing=1"), "names no parameter"),
        (("--context", "0"), "--context 0 is out of range"),
        (("--report", "x.md"), "apply only with --data world"),
    ],
)
def test_impossible_options_are_one_sentence(options, problem, miniature, evaluate):
    _, _, said = evaluate("et-bench", miniature("et-bench"), *options, code=2)
    assert problem in said
    assert said.count("\n") == 1


def test_what_et_bench_does_not_use_is_told(miniature, evaluate, tmp_path):
    options = ("--model", "stride-tiny", "--official", tmp_path, "--gated", "--tasks", "tvg")
    _, _, said = evaluate("et-bench", miniature("et-bench"), *options)
    assert "ET-Bench does not use a responder, so --official and --gated had no effect." in said


def test_options_of_benchmarks_mean_nothing_for_the_world(evaluate, tmp_path):
    _, _, said = evaluate("world", tmp_path, code=2)
    assert "--root applies only with --data et-bench or" in said


def test_an_impossible_set_is_one_sentence(capsys, tmp_path):
    from stride_ros.cli import main

    make = ["evaluate", "--data", "et-bench", "--make", str(tmp_path / "set")]
    for options in (["--clips", "0"], ["--seconds", "5"], ["--seed", "-1"]):
        assert main([*make, *options]) == 2
        assert "is not possible; use 1 to 1000 clips" in capsys.readouterr().err
