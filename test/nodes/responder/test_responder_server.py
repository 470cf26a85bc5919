"""A server that sends what no message can hold, and somebody who would turn the robot's key against it."""

from __future__ import annotations

import pytest

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")

ONSET = 0
OK, ERROR = range(2)


@pytest.mark.parametrize("bad", [chr(0xD83D), chr(0xDE00), chr(0)], ids=["first half", "second half", "NUL"])
def test_what_no_message_can_hold_is_mended_and_later_answers_go_on(stage, chat_server, bad):
    chat_server.then(f"ok A hand {bad} waves.", "ok Fine.")
    stage.start(backend="openai", base_url=chat_server.url, model="tiny")
    stage.frames(0, 1, 2, 3)
    stage.span(1, ONSET, 1.0, 2.0)
    assert (stage.finals(1)[1].status, stage.finals(1)[1].text) == (OK, "A hand \ufffd waves.")
    stage.span(2, ONSET, 2.0, 3.0)
    assert (stage.finals(2)[2].status, stage.finals(2)[2].text) == (OK, "Fine.")
    question = chat_server.requests[1]["messages"][-1]["content"][-1]["text"]
    assert "A hand \ufffd waves." in question


def test_who_may_set_parameters_cannot_choose_a_key_or_where_it_goes(stage, chat_server, monkeypatch):
    from rclpy.parameter import Parameter

    monkeypatch.setenv("OPENAI_API_KEY", "the-key")
    monkeypatch.setenv("UNRELATED_SECRET", "not-for-servers")
    node = stage.start(backend="openai", base_url=chat_server.url, model="tiny")
    stage.transit("deactivate", "cleanup")
    for name, value in (("api_key_env", "UNRELATED_SECRET"), ("base_url", "http://localhost:9/v1")):
        assert not node.set_parameters([Parameter(name, value=value)])[0].successful
        assert not node.set_parameters_atomically([Parameter(name, value=value)]).successful
    stage.transit("configure", "activate")
    stage.frames(0, 1, 2)
    stage.span(1, ONSET, 1.0, 2.0)
    assert stage.finals(1)[1].status == OK
    assert chat_server.headers[0]["authorization"] == "Bearer the-key"
