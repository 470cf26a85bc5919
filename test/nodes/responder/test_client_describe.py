"""`Robot.describe` against a responder over DDS."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")
pytest.importorskip("stride_ros.msg", reason="the package is not built: run `make test` once")
from stride_ros.client import Canceled, ClientError, Refused, Robot


def test_a_question_is_answered_and_streams(stage: Any, chat_server: Any, stamp_of: Any) -> None:
    chat_server.then("ok A red cup stands there.", "400 no such model", "stall Never ends")
    stage.start(backend="openai", base_url=chat_server.url, model="tiny", warm_up=False, max_retries=0)
    with Robot("", context=stage.graph.context, patience=60.0) as robot:
        with pytest.raises(Refused, match="No frame"):
            robot.describe("What is there?").result()
        stage.frames(0, 1, 2, 3)
        texts: list[str] = []
        answer = robot.describe("What is there?", last=2.0, on_text=texts.append).result()
        assert answer.text == "A red cup stands there."
        assert list(answer.frame_stamps) == [stamp_of(second) for second in (1, 2, 3)]
        assert texts
        with pytest.raises(ClientError, match="no such model"):
            robot.describe("What is there?").result()
        pending = robot.describe("What is there?", on_text=texts.append)
        stage.graph.wait(lambda: texts[-1].startswith("Never"), "the beginning of an answer")
        pending.cancel()
        with pytest.raises(Canceled):
            pending.result()
