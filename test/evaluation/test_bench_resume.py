"""A run that is killed goes on where it was, and ends as one that was not disturbed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from stride_ros.evaluation.runners.store import NAME, Entry, Store

PATIENCE = 120.0  # s that a test waits for an event before it fails


def wait_for(condition, process):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def start():
    """Starts `stride-ros evaluate` as a process of its own; what is left of it is killed."""
    processes = []

    def run(*arguments):
        command = [sys.executable, "-m", "stride_ros", "evaluate", *map(str, arguments)]
        processes.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
            )
        )
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def kill(process):
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def without_times(value):
    """A result without what no two runs share: times, costs, and the folder."""
    if isinstance(value, dict):
        shared = {
            k: v for k, v in value.items() if k not in ("seconds", "cost", "predictions", "annotations")
        }
        return {key: without_times(part) for key, part in shared.items()}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def results_of(folder, items):
    """Everything that a run leaves, but for times: items, score, and predictions."""
    files = [folder / "score.json", *sorted(folder.glob("predictions*.json")), *folder.glob("predictions/*")]
    entries = {entry["item"]: without_times(entry) for entry in items}
    predictions = {file.name: without_times(json.loads(file.read_text())) for file in files}
    lines = [line for file in folder.glob("predictions.jsonl") for line in file.read_text().splitlines()]
    return entries, predictions, sorted(lines)


def test_killed_at_three_places_while_a_server_is_asked(
    miniature, chat_server, start, tmp_path, items_of, choose
):
    choose(chat_server)
    reply = chat_server.next_behaviour
    asked = ("--data", "streaming-bench", "--root", miniature("streaming-bench"), "--responder", "tiny")
    asked += ("--base-url", chat_server.url)

    whole = start(*asked, "--out", tmp_path / "whole")
    assert whole.wait(PATIENCE) == 0, whole.communicate()
    total = len(chat_server.requests)

    done = 0
    for share in (0.15, 0.5, 0.9):
        place, before = int(share * total), len(chat_server.requests)

        def hang_there(before=before, place=place - done):
            return "hang" if len(chat_server.requests) - before > place else reply()

        chat_server.next_behaviour = hang_there
        process = start(*asked, "--out", tmp_path / "killed")
        wait_for(
            lambda before=before, place=place - done: len(chat_server.requests) - before > place, process
        )
        kill(process)
        done = sum(len(entry["asked"]) for entry in items_of(tmp_path / "killed"))
    chat_server.next_behaviour = reply
    before = len(chat_server.requests)
    last = start(*asked, "--out", tmp_path / "killed")
    out, said = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0, said
    assert f"{len(items_of(tmp_path / 'whole'))}" in out
    assert "done before" in said
    assert len(chat_server.requests) - before == total - done < total / 2
    assert results_of(tmp_path / "killed", items_of(tmp_path / "killed")) == results_of(
        tmp_path / "whole", items_of(tmp_path / "whole")
    )


def test_ctrl_c_stops_at_once_and_loses_what_is_under_way_alone(
    miniature, chat_server, start, tmp_path, items_of, hears_ctrl_c
):
    chat_server.next_behaviour = lambda: "hang" if len(chat_server.requests) > 3 else "ok A"
    run = ("--data", "ovo-bench", "--root", miniature("ovo-bench"), "--responder", "tiny")
    process = start(*run, "--base-url", chat_server.url, "--out", tmp_path / "run")
    wait_for(lambda: len(chat_server.requests) > 3, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (130, "stride-ros evaluate: stopped.\n")
    assert len(items_of(tmp_path / "run")) == 3


def test_killed_while_videos_are_watched(miniature, evaluate, start, tmp_path, items_of):
    root = miniature("et-bench")
    evaluate("et-bench", root, "--model", "stride-tiny", out="whole")
    run = ("--data", "et-bench", "--root", root, "--model", "stride-tiny", "--out", tmp_path / "killed")
    file = tmp_path / "killed" / NAME
    for items in (1, 6):
        process = start(*run)
        wait_for(lambda items=items: file.is_file() and file.read_text().count('{"item"') >= items, process)
        kill(process)
    evaluate("et-bench", root, "--model", "stride-tiny", out="killed")
    assert results_of(tmp_path / "killed", items_of(tmp_path / "killed")) == results_of(
        tmp_path / "whole", items_of(tmp_path / "whole")
    )


def test_a_torn_last_line_loses_itself_alone(tmp_path):
    with Store(tmp_path, {"a": 1}) as store:
        for item in "xyz":
            store.add(Entry(item, result=item))
    data = (tmp_path / NAME).read_bytes()
    for length in range(data.rindex(b"\n", 0, -1) + 2, len(data)):
        (tmp_path / NAME).write_bytes(data[:length])
        with Store(tmp_path, {"a": 1}) as store:
            assert store.done == {"x", "y"}
            assert "was incomplete" in store.notes[0]
            store.add(Entry("z", result="again"))
            assert [entry.result for entry in store.entries()] == ["x", "y", "again"]


def test_a_torn_first_line_is_a_new_run(tmp_path):
    (tmp_path / NAME).write_text('{"settings": {"a')
    with Store(tmp_path, {"a": 1}) as store:
        store.add(Entry("x", result=1))
    with Store(tmp_path, {"a": 1}) as store:
        assert store.done == {"x"}


def test_an_item_that_failed_is_done_again_and_its_newest_result_counts(tmp_path):
    with Store(tmp_path, {}) as store:
        store.add(Entry("x", error="It failed."))
        store.add(Entry("y", result=2))
        assert store.done == {"y"}
    with Store(tmp_path, {}) as store:
        assert store.done == {"y"}
        store.add(Entry("x", result=1))
        assert [(entry.item, entry.result, entry.error) for entry in store.entries()] == [
            ("y", 2, ""),
            ("x", 1, ""),
        ]


def test_other_settings_are_refused_or_start_over(miniature, evaluate, chat_server, tmp_path, items_of):
    root = miniature("streaming-bench")
    server = ("--responder", "tiny", "--base-url", chat_server.url, "--tasks", "sqa")
    evaluate("streaming-bench", root, *server)
    first = len(chat_server.requests)
    evaluate("streaming-bench", root, *server)
    assert len(chat_server.requests) == first
    other = (*server, "--set", "responder.max_frames=2")
    _, _, said = evaluate("streaming-bench", root, *other, code=2)
    assert "has other settings (shown" in said
    assert "--no-resume" in said
    assert said.count("\n") == 1
    found, *_ = evaluate("streaming-bench", root, *other, "--no-resume")
    assert found["run"]["shown"]["frames"] == 2
    assert len(chat_server.requests) == 2 * first
    assert len(items_of(tmp_path / "run")) == first


def test_two_processes_do_not_write_one_run(tmp_path):
    from stride_ros.errors import SourceError

    with Store(tmp_path, {}), pytest.raises(SourceError, match="Another process is using the run"):
        Store(tmp_path, {})


def test_thousands_of_items_take_no_more_memory_than_some(tmp_path):
    import tracemalloc

    asked = [{"clip": "c.mp4", "prompt": "p" * 2000, "reply": "A"}]

    def fill(count):
        folder = tmp_path / str(count)
        with Store(folder, {}) as store:
            for number in range(count):
                store.add(Entry(f"{number}", result="A", asked=asked))
            tracemalloc.start()
            assert sum(1 for _ in store.entries()) == count
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak

    assert fill(2000) - fill(200) < 1800 * 500  # bytes; the keys, and not what was asked
