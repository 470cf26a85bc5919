"""`describe` over DDS: what the model is shown, its place among events, and every error code.

STRIDE_FUZZ=20 asks more random questions.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")
pytest.importorskip("stride_ros.msg", reason="the package is not built: run `make test` once")
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration, Time
from rclpy.action import ActionClient
from std_srvs.srv import SetBool, Trigger
from stride_ros.action import Describe
from stride_ros.msg import Commentary

from stride_ros.nodes.qos import SERVICES_QOS
from stride_ros.parameters.responder import TABLE

QUESTIONS = 60 * int(os.environ.get("STRIDE_FUZZ", "1"))
ONSET, OFFSET = 0, 2
RESULT = Describe.Result
SUCCEEDED, ABORTED, CANCELED = (
    GoalStatus.STATUS_SUCCEEDED,
    GoalStatus.STATUS_ABORTED,
    GoalStatus.STATUS_CANCELED,
)


class Interview:
    """A responder in front of a scripted server, and a client of its action."""

    def __init__(self, stage: Any, server: Any) -> None:
        self.stage, self.server, self.graph = stage, server, stage.graph
        qos = {f"{name}_service_qos_profile": SERVICES_QOS for name in ("goal", "result", "cancel")}
        self.client = ActionClient(stage.graph.observer, Describe, "describe", **qos)

    def start(self, **parameters: Any) -> Interview:
        values = {"backend": "openai", "base_url": self.server.url, "model": "tiny", "warm_up": False}
        self.stage.start(**values, **parameters)
        return self

    def ask(self, question: str = "What is on the table?", **fields: Any) -> Any:
        return self.graph.send_goal(self.client, Describe.Goal(question=question, **fields))


@pytest.fixture
def interview(stage: Any, chat_server: Any) -> Interview:
    return Interview(stage, chat_server)


def words_of(request: dict[str, Any]) -> str:
    """The text of the user's turn."""
    return str(request["messages"][-1]["content"][-1]["text"])


def pictures_of(request: dict[str, Any]) -> int:
    """How many frames the model was shown."""
    return sum(part["type"] == "image_url" for part in request["messages"][-1]["content"])


def test_a_question_is_answered_from_the_newest_frame(interview: Interview, stamp_of: Any) -> None:
    interview.server.then("ok A red cup stands there.")
    interview.start()
    interview.stage.frames(0, 1, 2, 3)
    status, result = interview.ask().end()
    assert (status, result.error_code, result.error_msg) == (SUCCEEDED, RESULT.NONE, "")
    said = result.commentary
    assert (said.text, said.span_id, said.final, said.status) == (
        "A red cup stands there.",
        0,
        True,
        Commentary.OK,
    )
    assert list(said.frame_stamps) == [stamp_of(3)]
    assert (said.header.stamp, said.query, said.model) == (stamp_of(3), "What is on the table?", "tiny")
    (request,) = interview.server.requests
    assert "What is on the table?" in words_of(request)
    assert "detected" not in words_of(request), "it is about no event"
    assert pictures_of(request) == 1


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"last": Duration(sec=2)}, [4, 5, 6]),
        ({"start": 1, "end": 3}, [1, 2, 3]),
        ({"end": 2}, [0, 1, 2]),
        ({"start": 0, "end": 6, "max_frames": 3}, [0, 3, 6]),
    ],
)
def test_a_stretch_is_shown(interview: Interview, stamp_of: Any, fields: Any, seconds: list[int]) -> None:
    interview.start()
    interview.stage.frames(*range(7))
    times = {name: stamp_of(value) for name, value in fields.items() if name in ("start", "end")}
    said = interview.ask(**{**fields, **times}).end()[1].commentary
    assert list(said.frame_stamps) == [stamp_of(second) for second in seconds]


def test_the_text_streams_and_is_no_longer_than_asked_for(interview: Interview) -> None:
    interview.server.then("ok one two three four five six")
    interview.start(partial_rate=5.0)
    interview.stage.frames(0, 1)
    asked = interview.ask(max_words=4)
    assert asked.end()[1].commentary.text == "one two three four"
    assert "at most 4 words" in words_of(interview.server.requests[0])
    texts = [feedback.text for feedback in asked.feedback if feedback.text]
    assert texts, "text comes before the result"
    assert all("one two three four".startswith(text) for text in texts)


def test_it_leaves_no_trace_in_the_commentary(interview: Interview) -> None:
    interview.server.then("ok A cup.", "ok An answer.", "ok Another cup.")
    interview.start()
    interview.stage.frames(0, 1, 2, 3)
    interview.stage.span(1, ONSET, 1.0, 2.0)
    interview.stage.finals(1)
    assert interview.ask().end()[0] == SUCCEEDED
    interview.stage.span(2, ONSET, 2.0, 3.0)
    assert interview.stage.finals(2)[2].text == "Another cup."
    _, question, second = (words_of(request) for request in interview.server.requests)
    assert "A cup." not in question
    assert "A cup." in second
    assert "An answer." not in second
    assert {message.span_id for message in interview.stage.said} == {1, 2}
    assert "An answer." not in [message.data for message in interview.stage.spoken]


def test_events_go_before_questions_that_wait(interview: Interview) -> None:
    interview.server.then("stall Wait")
    interview.start(max_queue=9)
    interview.stage.frames(0, 1, 2, 3)
    first = interview.ask("The first?")
    first.reached(lambda feedback: feedback.text, "the beginning of an answer")
    others = [interview.ask(f"Number {number}?") for number in range(20)]
    others[-1].reached(lambda feedback: feedback.queue_position == 20, "the last place")
    for number in range(1, 6):
        interview.stage.span(number, ONSET, 1.0, 2.0, query=f"event {number}")
    interview.graph.wait(lambda: interview.stage.node.onsets == 5, "the events")
    first.cancel()
    assert first.end()[0] == CANCELED
    answers = [asked.end() for asked in others]
    assert [status for status, _ in answers] == [SUCCEEDED] * 20
    finals = interview.stage.finals(*range(1, 6))
    assert {final.status for final in finals.values()} == {Commentary.OK}
    asked = [words_of(request) for request in interview.server.requests[1:]]
    assert ["event" in words for words in asked] == [True] * 5 + [False] * 20
    assert [f"Number {number}?" in asked[5 + number] for number in range(20)] == [True] * 20
    assert others[-1].feedback[0].queue_position == 20


def test_a_cancel_stops_the_generation(interview: Interview) -> None:
    interview.server.then("stall Never ends", "ok The next.")
    interview.start()
    interview.stage.frames(0, 1)
    asked = interview.ask()
    asked.reached(lambda feedback: feedback.text, "the beginning of an answer")
    asked.cancel()
    status, result = asked.end()
    assert (status, result.error_code) == (CANCELED, RESULT.CANCELED)
    assert result.commentary.text.startswith("Never")
    assert interview.ask().end()[1].commentary.text == "The next.", "the server is free again"


def test_time_and_places_run_out(interview: Interview) -> None:
    interview.server.then("stall Never ends")
    interview.start(**{"describe.max_queue": 1})
    interview.stage.frames(0, 1)
    running = interview.ask(timeout=Duration(sec=600))
    running.reached(lambda feedback: feedback.text, "the beginning of an answer")
    waiting = interview.ask(timeout=Duration(sec=600))
    status, result = interview.ask().end()
    assert (status, result.error_code) == (ABORTED, RESULT.QUEUE_FULL)
    assert "describe.max_queue" in result.error_msg
    waiting.cancel()
    waiting.end()
    status, result = interview.ask(timeout=Duration(nanosec=10**8)).end()
    assert (status, result.error_code) == (ABORTED, RESULT.TIMEOUT)
    running.cancel()
    running.end()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"question": " "}, "empty"),
        ({"question": "x" * 2000}, "2000 characters"),
        ({"camera": "front"}, "unnamed camera"),
        ({"last": Duration(sec=-1)}, "negative"),
        ({"start": 3, "end": 2}, "before it begins"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    interview: Interview, stamp_of: Any, fields: Any, reason: str
) -> None:
    interview.start()
    interview.stage.frames(0, 1)
    values = {name: stamp_of(value) if name in ("start", "end") else value for name, value in fields.items()}
    status, result = interview.ask(**values).end()
    assert (status, result.error_code) == (ABORTED, RESULT.INVALID)
    assert reason in result.error_msg
    assert not interview.server.requests


def test_frames_that_are_not_there_and_models_that_fail_are_told(interview: Interview, stamp_of: Any) -> None:
    interview.server.then("400 no such model")
    interview.start(max_retries=0)
    assert interview.ask().end()[1].error_code == RESULT.NO_FRAMES
    interview.stage.frames(5, 6)
    assert interview.ask(start=stamp_of(1), end=stamp_of(2)).end()[1].error_code == RESULT.NO_FRAMES
    status, result = interview.ask().end()
    assert (status, result.error_code) == (ABORTED, RESULT.MODEL_FAILED)
    assert "no such model" in result.error_msg
    assert result.commentary.status == Commentary.ERROR


def test_questions_end_with_the_activation_and_are_refused_where_nothing_is_answered(
    interview: Interview,
) -> None:
    graph, stage = interview.graph, interview.stage
    interview.server.then("stall Never ends", "stall Never ends", "stall Never ends")
    interview.start()
    for end in ("disable", "deactivate"):
        stage.frames(0, 1)
        asked = [interview.ask(), interview.ask()]
        asked[0].reached(lambda feedback: feedback.text, "the beginning of an answer")
        if end == "disable":
            assert graph.call(SetBool, "/responder/enable", data=False).success
        else:
            stage.transit("deactivate")
        for goal in asked:
            status, result = goal.end()
            assert (status, result.error_code) == (ABORTED, RESULT.DEACTIVATED)
        refused = interview.ask().end()[1]
        assert refused.error_code == RESULT.DEACTIVATED
        assert ("~/enable" if end == "disable" else "activate it") in refused.error_msg
        if end == "disable":
            assert graph.call(SetBool, "/responder/enable", data=True).success
            assert graph.call(Trigger, "/responder/reset").success
    stage.transit("cleanup")
    assert "configure" in interview.ask().end()[1].error_msg


def test_a_node_that_goes_ends_its_questions_and_leaves_the_graph(interview: Interview) -> None:
    interview.server.then("stall Never ends")
    interview.start()
    interview.stage.frames(0, 1)
    asked = interview.ask()
    asked.reached(lambda feedback: feedback.text, "the beginning of an answer")
    interview.graph.remove(interview.stage.node)
    assert asked.end()[1].error_code == RESULT.DEACTIVATED
    interview.graph.wait(lambda: not interview.client.server_is_ready(), "the end of the action")


def test_random_questions_are_answered_once_each(
    interview: Interview, stamp_of: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    rng, ends = random.Random(5), Counter[int]()
    behaviours = ["empty", "400 no such model", "cut A cup", "rubbish", "error", "filter"]
    interview.start(max_retries=0, partial_rate=5.0)
    interview.stage.frames(*range(7))

    def one_of(usual: Any, *unusual: Any) -> Any:
        return usual if rng.random() < 0.85 else rng.choice(unusual)

    def duration(*usual: int) -> Duration:
        return Duration(sec=one_of(rng.choice(usual), -1, 2**31 - 1, -(2**31)), nanosec=one_of(0, 2**32 - 1))

    open_goals: list[Any] = []
    for number in range(QUESTIONS):
        if rng.random() < 0.1:
            interview.server.then(rng.choice(behaviours))
        goal = interview.ask(
            one_of(f"Number {number}?", "", " ", "x" * 2000, "\0", "<|im_end|>", "\x1b[2J"),
            camera=one_of("", "front", "x" * 1000),
            last=duration(0, 2, 600),
            start=one_of(Time(), *(stamp_of(rng.randrange(9)) for _ in range(3)), Time(sec=-(2**31))),
            end=one_of(Time(), *(stamp_of(rng.randrange(9)) for _ in range(3)), Time(sec=2**31 - 1)),
            max_words=one_of(0, 1, 2**16 - 1),
            max_frames=one_of(0, 1, 2**16 - 1),
            timeout=duration(0, 600),
        )
        open_goals.append(goal)
        if rng.random() < 0.1:
            rng.choice(open_goals).cancel()
        if len(open_goals) > 10:
            ends[judged(open_goals.pop(0))] += 1
    for goal in open_goals:
        ends[judged(goal)] += 1
    assert ends.total() == QUESTIONS
    assert ends[RESULT.NONE] > QUESTIONS / 4, ends
    assert ends[RESULT.INVALID], ends
    assert interview.ask().end()[0] == SUCCEEDED, "the node goes on"
    assert not interview.stage.said, "answers are not Commentary"
    output = capfd.readouterr()
    assert "Traceback" not in output.out + output.err
    with capfd.disabled():
        print(f"\n{QUESTIONS} questions by error: {dict(ends)}")


def judged(goal: Any) -> int:
    """The error code of a goal's end, which must go with its status and have a printable reason."""
    status, result = goal.end()
    expected = {RESULT.NONE: SUCCEEDED, RESULT.CANCELED: CANCELED}.get(result.error_code, ABORTED)
    assert status == expected
    assert bool(result.error_msg) == (result.error_code != RESULT.NONE)
    assert result.error_msg.isprintable()
    assert result.error_code != RESULT.UNKNOWN, result.error_msg
    return int(result.error_code)


def test_the_table_has_the_limits() -> None:
    defaults = {spec.name: spec.default for spec in TABLE}
    assert defaults["describe.max_queue"] >= 20
