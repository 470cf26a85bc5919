"""Whatever goes wrong, every onset gets exactly one final commentary and the node lives on."""

from __future__ import annotations

import os
import signal

import pytest

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")

ONSET, OFFSET = 0, 2
OK, ERROR, SKIPPED = range(3)


@pytest.fixture
def connect(stage, chat_server):
    """Starts a responder on the chat server, with short waits, and gives it frames."""

    def start(**parameters):
        values = {"max_retries": 0, "read_timeout": 20.0, "connect_timeout": 5.0, **parameters}
        node = stage.start(backend="openai", base_url=chat_server.url, model="tiny", **values)
        stage.frames(0, 1, 2, 3)
        return node

    return start


def ask(stage, *ids: int) -> list:
    """One onset after the other, each once the one before is answered; their finals."""
    for span_id in ids:
        stage.span(span_id, ONSET, 2.0, 3.0)
        stage.finals(span_id)
    return [stage.finals(*ids)[span_id] for span_id in ids]


@pytest.mark.parametrize(
    ("behaviours", "parameters", "statuses", "reason"),
    [
        pytest.param(["hang"], {"read_timeout": 0.3}, [ERROR, OK], "did not answer in time", id="hang"),
        pytest.param(["stall The"], {"read_timeout": 0.3}, [ERROR, OK], "did not answer in time", id="stall"),
        pytest.param(["hang"], {"deadline": 0.3}, [SKIPPED, OK], "deadline of 0.3 s", id="deadline"),
        pytest.param(["busy 0.1"], {"max_retries": 1}, [OK, OK], "", id="429 with Retry-After"),
        pytest.param(["busy 0.1"] * 2, {"max_retries": 1}, [ERROR, OK], "is busy (429", id="lasting 429"),
        pytest.param(["500"], {"max_retries": 1}, [OK, OK], "", id="500 once"),
        pytest.param(["500"] * 2, {"max_retries": 1}, [ERROR, OK], "failed (500", id="lasting 500"),
        pytest.param(["401"], {}, [ERROR, OK], "refused the key", id="401"),
        pytest.param(["cut The cup"], {"max_retries": 3}, [ERROR, OK], "was lost", id="cut stream"),
        pytest.param(["rubbish"], {}, [ERROR, OK], "a chat completion", id="invalid JSON"),
        pytest.param(["empty"], {}, [ERROR, OK], "empty answer", id="empty answer"),
    ],
)
def test_a_server_fault_is_published_and_survived(
    stage, connect, chat_server, behaviours, parameters, statuses, reason
):
    chat_server.then(*behaviours)
    connect(**parameters)
    first, second = ask(stage, 1, 2)
    assert [first.status, second.status] == statuses
    assert reason in first.error
    assert second.text == "A cup falls."


def test_what_was_said_before_a_cut_stays_said(stage, connect, chat_server):
    chat_server.then("cut The cup")
    connect()
    (final,) = ask(stage, 1)
    assert (final.status, final.text) == (ERROR, "The cup")
    assert stage.spoken == []


def test_a_server_that_is_down_at_start_is_used_once_it_is_up(stage, connect, chat_server):
    chat_server.stop()
    connect()
    (down,) = ask(stage, 1)
    assert down.status == ERROR
    assert "cannot be reached; start it" in down.error
    chat_server.start()
    assert ask(stage, 2)[0].status == OK


def test_a_server_that_goes_and_comes_back_is_used_again(stage, connect, chat_server):
    connect()
    assert ask(stage, 1)[0].status == OK
    chat_server.stop()
    assert ask(stage, 2)[0].status == ERROR
    chat_server.start()
    assert ask(stage, 3)[0].status == OK


def test_running_out_of_memory_is_published_and_survived(stage, monkeypatch):
    import torch

    def full(**_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    node = stage.start()
    stage.frames(0, 1, 2, 3)
    with monkeypatch.context() as patch:
        patch.setattr(node.backend._model, "generate", full)
        (failed,) = ask(stage, 1)
    assert failed.status == ERROR
    assert "ran out of memory" in failed.error
    assert ask(stage, 2)[0].status == OK


@pytest.mark.parametrize("policy", ["queue", "latest", "interrupt"])
def test_a_flood_of_onsets_gets_as_many_finals_and_memory_stays_flat(stage, connect, policy):
    from stride_ros.nodes.diagnostics import process_memory

    node = connect(busy_policy=policy)
    count = 1000 if policy == "queue" else 200
    ask(stage, 1)
    before = process_memory()
    for span_id in range(2, count + 1):
        stage.span(span_id, ONSET, 0.0, 3.0)
        # Topics keep 10 messages: onsets and finals that nobody takes up in time are lost on the way.
        stage.graph.wait(lambda sent=span_id: node.onsets >= sent - 5, "the onsets to arrive")
        stage.graph.wait(
            lambda sent=span_id: sum(m.final for m in list(stage.said)) >= sent - 9, "the finals to arrive"
        )
    finals = stage.finals(*range(1, count + 1))
    assert len(finals) == count
    assert {final.status for final in finals.values()} <= {OK, SKIPPED}
    assert finals[count].status == OK
    assert process_memory() - before < 64e6


def test_a_node_that_is_killed_and_started_again_repeats_none_and_loses_none(
    stage, chat_server, processes, tmp_path
):
    arguments = {"backend": "openai", "base_url": chat_server.url, "model": "tiny"}
    arguments = [part for pair in arguments.items() for part in ("-p", "{}:={}".format(*pair))]

    def start():
        return processes.start("responder_node", "--ros-args", *arguments, ROS_HOME=str(tmp_path))

    def until_answered(span_id: int) -> None:
        """Publish frames until there is the final: the process cannot be asked what has arrived."""
        second = 10.0 * span_id
        for step in range(5):
            stage.frame(second + step)
        stage.span(span_id, ONSET, second, second + 4)
        stage.finals(span_id)

    def listeners() -> set[bytes]:
        return {
            bytes(info.endpoint_gid)
            for info in stage.graph.observer.get_subscriptions_info_by_topic("/frames")
        }

    process = start()
    stage.connect()
    until_answered(1)
    before = listeners()
    chat_server.then("hang")
    stage.span(2, ONSET, 13.0, 14.0)
    stage.graph.wait(lambda: len(chat_server.requests) == 2, "the second question")
    process.send_signal(signal.SIGKILL)
    process.wait()
    stage.span(2, OFFSET, 13.0, 15.0)
    stage.span(3, ONSET, 13.0, 14.0)
    stage.span(5, ONSET, 13.0, 14.0)
    stage.span(5, OFFSET, 13.0, 15.0)

    start()
    # It waits 5 s for a frame; a service of the killed node, still known, would not answer for longer.
    stage.graph.wait(lambda: listeners() - before, "the new node", 60.0)
    until_answered(4)
    finals = stage.finals(1, 2, 3, 4, 5)
    assert {span_id: final.status for span_id, final in finals.items()} == {
        1: OK,
        2: SKIPPED,
        3: OK,  # it goes on, so the frames that come now show it
        4: OK,
        5: SKIPPED,
    }
    assert len([message for message in stage.said if message.final]) == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_that_is_stopped_answers_what_is_owed_and_exits_in_order(
    stage, chat_server, processes, tmp_path, number
):
    arguments = ["-p", "backend:=openai", "-p", f"base_url:={chat_server.url}", "-p", "model:=tiny"]
    process = processes.start("responder_node", "--ros-args", *arguments, ROS_HOME=str(tmp_path))
    stage.connect()
    for second in range(4):
        stage.frame(second)
    chat_server.then("hang")
    stage.span(1, ONSET, 2.0, 3.0)
    stage.graph.wait(lambda: chat_server.requests, "the question")
    process.send_signal(number)
    assert process.wait(30) == 0
    assert "Traceback" not in process.log.read_text()
    assert stage.finals(1)[1].status == SKIPPED
    assert os.listdir(tmp_path / "stride_ros")
