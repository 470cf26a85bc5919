"""`wait_for_event` over DDS: which events end a goal, which watches goals share, and every error code."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from stride_ros.action import WaitForEvent
from stride_ros.msg import ActivationSpan, Commentary, Watch, WatchSpec
from stride_ros.srv import AddWatch, RemoveWatch

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.identity import span_number
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.session import ActivationSession
from stride_ros.nodes.messages import to_nanoseconds, to_time
from stride_ros.nodes.qos import COMMENTARY_KEPT_QOS

THAT, RAIN = "Tell me when they come.", "Tell me when it rains."
ORIGIN, SECOND = 1_700_000_000 * 10**9, 10**9
OFFSET = WaitForEvent.Goal.OFFSET
RESULT, FEEDBACK = WaitForEvent.Result, WaitForEvent.Feedback
SUCCEEDED, ABORTED, CANCELED = (
    GoalStatus.STATUS_SUCCEEDED,
    GoalStatus.STATUS_ABORTED,
    GoalStatus.STATUS_CANCELED,
)
GOALS = 40 * int(os.environ.get("STRIDE_FUZZ", "1"))


def test_a_goal_succeeds_at_the_onset_and_leaves_the_watches_as_they_are(mission: Any) -> None:
    mission.play(11)
    goal = mission.goal("query")
    mission.play(1)
    assert not goal.is_over
    mission.play(1)
    status, result = goal.end()
    assert (status, result.error_code, result.error_msg) == (SUCCEEDED, RESULT.NONE, "")
    assert (span_number(result.span.span_id), result.span.state) == (5, ActivationSpan.ONSET)
    mission.graph.wait(lambda: result.span in mission.spans, "the same message on the topic")
    assert not result.commentary.final
    mission.only_query()


def test_what_is_going_on_counts_unless_told_otherwise(mission: Any) -> None:
    mission.play(9)
    status, result = mission.goal("query").end()
    assert (status, span_number(result.span.span_id)) == (SUCCEEDED, 2)
    new = mission.goal("query", accept_open=False)
    mission.play(1)
    assert span_number(new.end()[1].span.span_id) == 3


def test_the_end_of_an_event_is_awaited_and_a_retracted_one_has_none(mission: Any) -> None:
    mission.play(10)
    goal = mission.goal("query", until=OFFSET)
    mission.play(2)
    mission.graph.wait(lambda: mission.spans[-1].state == ActivationSpan.RETRACTED, "the retraction")
    assert not goal.is_over
    mission.play(1)
    status, result = goal.end()
    assert (status, result.span.state) == (SUCCEEDED, ActivationSpan.OFFSET)
    assert span_number(result.span.span_id) == 4


def test_a_watch_that_is_there_is_looked_back_at_once(mission: Any) -> None:
    mission.play(12)
    began = mission.goal({"id": "query", "look_back": Duration(sec=10)}, accept_open=False)
    assert span_number(began.end()[1].span.span_id) == 2
    ended = mission.goal({"id": "query", "look_back": Duration(sec=5)}, until=OFFSET)
    assert span_number(ended.end()[1].span.span_id) == 2
    later = mission.goal({"id": "query", "look_back": Duration(sec=3)}, until=OFFSET)
    mission.play(1)
    assert span_number(later.end()[1].span.span_id) == 4, "2 ended before that"


def test_a_new_watch_looks_back_when_it_has_caught_up(mission: Any) -> None:
    mission.play(14)
    goal = mission.goal({"query": THAT, "look_back": Duration(sec=60)})
    mission.play_until(lambda: goal.is_over)
    status, result = goal.end()
    assert (status, result.span.query) == (SUCCEEDED, THAT)
    assert to_nanoseconds(result.span.start) <= ORIGIN + 13 * SECOND, "it began before it was asked for"
    mission.only_query()


def test_a_goal_is_canceled_while_its_watch_catches_up(make_mission: Callable[..., Any]) -> None:
    mission = make_mission(max_frames=256).start()
    mission.play(200)
    stages = []
    for frames in range(5):
        never = {"min_active_seconds": 12.0, "min_confidence": 1.0}
        watch = {"query": f"Tell me when {frames} of them come.", "look_back": Duration(sec=60), **never}
        goals = [mission.goal(watch) for _ in range(2)]
        (id,) = mission.seen(lambda w: len(w) == 2, "one watch for both").keys() - {"query"}
        mission.play(frames)
        for goal in goals:
            mission.graph.wait(lambda g=goal, n=frames: len(g.feedback) >= n, "its feedback")
        stages += [feedback.state for feedback in goals[0].feedback]
        goals[0].cancel()
        assert goals[0].end()[0] == CANCELED
        mission.play(1)
        assert id in mission.seen(lambda w: len(w) == 2, "the watch of the other goal")
        assert not goals[1].is_over
        goals[1].cancel()
        assert goals[1].end()[0] == CANCELED
        mission.only_query()
        mission.play(1)
        assert mission.windows[-1].watch == "query"
    assert FEEDBACK.CATCHING_UP in stages, "some were canceled before the watch had caught up"
    session = ActivationSession(
        ActivationModel.load(mission.node.parameters["model"]),
        mission.node.parameters["query"],
        ActivationConfig(max_frames=256, unmasking_steps=4),
    )
    frames = (np.full((48, 64, 3), 37 * number % 256, np.uint8) for number in range(mission.sent))
    labels = [list(session.push(frame, float(number)).labels) for number, frame in enumerate(frames)]
    decided = [list(window.labels) for window in mission.windows if window.watch == "query"]
    assert decided == labels, "the other watch was not disturbed"


def test_goals_share_a_watch_that_goes_with_the_last_of_them(mission: Any) -> None:
    mission.play(2)
    goals = [mission.goal({"query": THAT}) for _ in range(3)]
    (watch,) = mission.seen(lambda w: len(w) == 2, "one more watch").keys() - {"query"}
    assert mission.seen(lambda w: watch in w, "the watch")[watch].source == Watch.ACTION
    named = mission.goal(watch)
    other = mission.goal({"query": THAT, "min_active_seconds": 3.0})
    mission.seen(lambda w: len(w) == 3, "a watch of its own for another trigger")
    for goal in (*goals, other):
        assert goal.cancel().goals_canceling
        status, result = goal.end()
        assert (status, result.error_code) == (CANCELED, RESULT.CANCELED)
    mission.seen(lambda w: set(w) == {"query", watch}, "the watch of the goal that is left")
    named.cancel()
    named.end()
    mission.only_query()
    mission.play(2)
    assert {window.watch for window in mission.windows[-2:]} == {"query"}


def test_a_goal_for_what_is_watched_for_adds_nothing(mission: Any) -> None:
    goal = mission.goal({"query": "Say when it happens."})
    mission.play_until(lambda: goal.is_over)
    assert goal.end()[1].span.watch == "query"
    assert all(len(message.watches) == 1 for message in mission.watches)


def test_a_service_may_take_over_the_watch_of_a_goal_or_remove_it(mission: Any) -> None:
    spec = WatchSpec(id="door", query=THAT)
    goal = mission.goal({"id": "door", "query": THAT})
    assert mission.graph.call(AddWatch, "/activation/add_watch", spec=spec).success
    goal.cancel()
    goal.end()
    mission.seen(lambda w: "door" in w and w["door"].source == Watch.SERVICE, "the watch, kept")
    waiting = mission.goal("door")
    assert mission.graph.call(RemoveWatch, "/activation/remove_watch", id="door").success
    status, result = waiting.end()
    assert (status, result.error_code) == (ABORTED, RESULT.WATCH_REMOVED)
    assert "door" in result.error_msg
    mission.only_query()


def test_goals_on_a_watch_that_becomes_another_one_end(mission: Any) -> None:
    goal, short = mission.goal("query"), mission.goal({"query": THAT, "lifetime": Duration(nanosec=10**8)})
    assert short.end()[1].error_code == RESULT.WATCH_REMOVED
    assert mission.node.set_parameters([Parameter("query", value=RAIN)])[0].successful
    assert goal.end()[1].error_code == RESULT.WATCH_REMOVED


@pytest.mark.parametrize(
    ("watch", "fields", "reason"),
    [
        ({}, {}, "neither a query nor the id"),
        ("nobody\x1b[31m", {}, "no watch"),
        ({"id": "query", "query": THAT}, {}, "something else"),
        ({"id": "query_7", "query": THAT}, {}, "reserved for the parameters"),
        ({"id": "a/b", "query": THAT}, {}, "1 to 64 letters"),
        ({"query": " "}, {}, "empty"),
        ({"query": "x" * 2000}, {}, "2000 characters"),
        ({"query": THAT, "cameras": ["front"]}, {}, "unnamed camera"),
        ({"id": "query", "cameras": ["front"]}, {}, "leave the list of cameras empty"),
        ({"id": "query", "min_confidence": 0.5}, {}, "at their defaults"),
        ({"query": THAT, "min_confidence": float("nan")}, {}, "min_confidence"),
        ({"query": THAT, "look_back": Duration(sec=-1)}, {}, "negative"),
        ({"id": "query", "look_back": Duration(sec=-1)}, {}, "negative"),
        ("query", {"until": 2}, "ONSET"),
    ],
)
def test_a_goal_that_cannot_be_is_refused_with_a_reason(
    mission: Any, watch: Any, fields: Any, reason: str
) -> None:
    status, result = mission.goal(watch, **fields).end()
    assert (status, result.error_code) == (ABORTED, RESULT.REFUSED)
    assert reason in result.error_msg
    assert result.error_msg.isprintable()
    mission.only_query()


def test_goals_are_refused_where_the_node_does_not_watch(make_mission: Callable[..., Any]) -> None:
    mission = make_mission()
    for label, reason in (("", "configure"), ("configure", "activate it"), ("activate", "")):
        if label:
            mission.transit(label)
        if reason:
            status, result = mission.goal("query").end()
            assert (status, result.error_code) == (ABORTED, RESULT.REFUSED)
            assert reason in result.error_msg
    goal = mission.goal({"query": THAT})
    mission.transit("deactivate")
    status, result = goal.end()
    assert (status, result.error_code) == (ABORTED, RESULT.DEACTIVATED)
    assert "activate it" in mission.goal("query").end()[1].error_msg
    mission.only_query()


def test_goals_are_bounded(make_mission: Callable[..., Any]) -> None:
    mission = make_mission(max_goals=2, max_watches=1).start()
    mission.goal({"query": THAT})
    refused = mission.goal({"query": RAIN}).end()[1]
    assert (refused.error_code, "max_watches" in refused.error_msg) == (RESULT.REFUSED, True)
    second = mission.goal("query")
    refused = mission.goal("query").end()[1]
    assert (refused.error_code, "max_goals" in refused.error_msg) == (RESULT.REFUSED, True)
    second.cancel()
    second.end()
    mission.play(7)
    assert mission.goal("query", accept_open=True).end()[0] == SUCCEEDED, "there is room again"


def test_time_runs_out(make_mission: Callable[..., Any]) -> None:
    mission = make_mission(max_wait=0.2).start()
    for timeout in (Duration(), Duration(nanosec=10**8)):
        status, result = mission.goal({"query": THAT}, timeout=timeout).end()
        assert (status, result.error_code) == (ABORTED, RESULT.TIMEOUT)
        assert "No image was processed" in result.error_msg, "a camera that is silent is another matter"
    mission.only_query()
    seen = mission.goal("query", accept_open=False, timeout=Duration(sec=3))
    mission.play(1)
    status, result = seen.end()
    assert (status, result.error_code) == (ABORTED, RESULT.TIMEOUT)
    assert "The event did not happen in time" in result.error_msg


def test_a_clock_that_goes_back_ends_goals(mission: Any) -> None:
    mission.play(3)
    goal = mission.goal("query")
    mission.show(ORIGIN - 20 * SECOND)
    status, result = goal.end()
    assert (status, result.error_code) == (ABORTED, RESULT.CLOCK_JUMP)
    assert "went back" in result.error_msg


class SimulatedTime:
    """Publishes /clock for a mission's node."""

    def __init__(self, mission: Any) -> None:
        self._mission = mission
        self._publisher = mission.graph.publisher(Clock, "/clock")

    def show(self, seconds: int) -> None:
        message = Clock(clock=to_time(seconds * SECOND))
        read = self._mission.node.get_clock().now
        arrived = lambda: abs(read().nanoseconds - seconds * SECOND) < SECOND  # noqa: E731
        self._mission.graph.send(self._publisher, message, arrived, "the time")


def test_the_clock_of_the_node_goes_back(make_mission: Callable[..., Any]) -> None:
    mission = make_mission(use_sim_time=True).start()
    clock = SimulatedTime(mission)
    clock.show(100)
    late = mission.goal("query", timeout=Duration(sec=50))
    clock.show(155)
    assert late.end()[1].error_code == RESULT.TIMEOUT, "on the node's clock"
    goal = mission.goal("query")
    clock.show(20)
    assert goal.end()[1].error_code == RESULT.CLOCK_JUMP


def test_time_that_was_not_waited_does_not_count(make_mission: Callable[..., Any]) -> None:
    mission = make_mission(use_sim_time=True).start()
    goal = mission.goal(
        {"id": "first", "query": THAT, "lifetime": Duration(sec=50)}, timeout=Duration(sec=90)
    )
    clock = SimulatedTime(mission)
    clock.show(ORIGIN // SECOND)  # the first message of a recording's time; the clock stood at 0 before
    expires = mission.seen(lambda w: "first" in w and w["first"].expires.sec > 50, "the watch")[
        "first"
    ].expires
    assert ORIGIN // SECOND + 40 < expires.sec <= ORIGIN // SECOND + 50
    clock.show(ORIGIN // SECOND + 40)
    assert not goal.is_over
    clock.show(ORIGIN // SECOND + 51)
    assert goal.end()[1].error_code == RESULT.WATCH_REMOVED, "its lifetime is over"


def test_a_lifetime_ends_also_where_a_recording_begins_again_and_again(
    make_mission: Callable[..., Any],
) -> None:
    mission = make_mission(use_sim_time=True).start()
    clock = SimulatedTime(mission)
    clock.show(1000)
    spec = WatchSpec(id="gone", query=THAT, lifetime=Duration(sec=50))
    assert mission.graph.call(AddWatch, "/activation/add_watch", spec=spec).success
    mission.seen(lambda w: "gone" in w, "the watch")
    for start in (1000, 1000):  # 30 s of a bag that loops: the time of the end never comes
        clock.show(start + 30)
        clock.show(start)
    mission.only_query()


def test_a_watch_that_is_asked_for_again_at_once_is_another_one(mission: Any) -> None:
    """Also where the worker has no time in between to see that there was none."""
    call, spec = mission.graph.call, WatchSpec(id="again", query="Say when it happens.", respond=False)
    assert call(AddWatch, "/activation/add_watch", spec=spec).success
    mission.play(1, watches=2)

    def open_now() -> ActivationSpan | None:
        """The span that is open at the newest frame, which is told of in each decision."""
        newest = (ORIGIN + (mission.sent - 1) * SECOND) // SECOND
        told = [span for span in mission.spans if span.watch == "again" and span.header.stamp.sec == newest]
        is_open = told and told[-1].state in (ActivationSpan.ONSET, ActivationSpan.UPDATE)
        return told[-1] if is_open else None

    mission.play_until(open_now)
    going_on = open_now()
    assert going_on is not None
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        release.wait()

    mission.node._worker._thread.post(hold)
    mission.graph.wait(held.is_set, "the worker")
    assert call(RemoveWatch, "/activation/remove_watch", id="again").success
    assert call(AddWatch, "/activation/add_watch", spec=spec).success
    release.set()
    ended = lambda s: (s.span_id, s.state) == (going_on.span_id, ActivationSpan.OFFSET)  # noqa: E731
    mission.graph.wait(lambda: any(ended(span) for span in mission.spans), "its end")
    goal = mission.goal("again")
    mission.play_until(lambda: goal.is_over)
    status, result = goal.end()
    assert (status, result.span.watch) == (SUCCEEDED, "again")
    assert result.span.span_id != going_on.span_id


def test_the_order_of_cameras_does_not_matter(make_mission: Callable[..., Any]) -> None:
    mission = make_mission(cameras=["front", "left", "rear"])
    mission.transit("configure", "activate")
    goals = [
        mission.goal({"id": "two", "query": THAT, "cameras": cameras})
        for cameras in (["front", "left"], ["left", "front"], ["left", "front", "left"])
    ]
    goals.append(mission.goal({"query": THAT, "cameras": ["left", "front"]}))
    goals.append(mission.goal({"query": "Say when it happens.", "cameras": ["rear", "left", "front"]}))
    watches = mission.seen(lambda w: "two" in w, "the watch")
    assert set(watches) == {"query", "two"}
    for goal in goals:
        goal.cancel()
        assert goal.end()[0] == CANCELED
    mission.only_query()


def test_a_node_that_goes_ends_its_goals_and_leaves_the_graph(mission: Any) -> None:
    goals = [mission.goal({"query": THAT}), mission.goal("query")]
    assert mission.node.count_publishers("wait_for_event/_action/status") == 1
    mission.graph.remove(mission.node)
    for goal in goals:
        status, result = goal.end()
        assert (status, result.error_code) == (ABORTED, RESULT.DEACTIVATED)
    observer = mission.graph.observer
    mission.graph.wait(lambda: "activation" not in observer.get_node_names(), "the node's end")
    mission.graph.wait(lambda: not mission.client.server_is_ready(), "the end of the action")


def test_feedback_comes_with_every_tick(mission: Any) -> None:
    mission.play(6)
    goal = mission.goal("query", until=OFFSET, timeout=Duration(sec=600))
    mission.play(1)
    mission.graph.wait(lambda: len(goal.feedback) == 1, "feedback")
    feedback = goal.feedback[0]
    window = mission.windows[-1]
    assert (feedback.state, feedback.camera, feedback.header) == (FEEDBACK.OPEN, "", window.header)
    assert 0.0 < feedback.probability <= 1.0
    watch = mission.seen(lambda w: w["query"].open_spans, "the span")["query"]
    assert feedback.probability == pytest.approx(watch.probability)


def test_the_commentary_of_the_event_is_awaited_where_it_is_wanted(mission: Any) -> None:
    graph, node = mission.graph, mission.node

    def listeners() -> int:
        return int(node.count_subscribers("commentary"))

    mission.play(11)
    publisher = graph.observer.create_publisher(Commentary, "commentary", COMMENTARY_KEPT_QOS)
    graph.wait(lambda: node.count_publishers("commentary") == 1, "the responder to be known")
    goal = mission.goal("query", want_commentary=True)
    graph.wait(lambda: listeners() == 1, "a subscription")
    mission.play(2)
    spans = mission.ids(5)
    publisher.publish(Commentary(span_id=spans[4], final=True, text="Another one."))
    publisher.publish(Commentary(span_id=spans[5], final=False, text="A"))
    assert not goal.is_over
    publisher.publish(Commentary(span_id=spans[5], final=True, text="A person waves."))
    status, result = goal.end()
    assert (status, result.span.span_id, result.commentary.text) == (SUCCEEDED, spans[5], "A person waves.")
    graph.wait(lambda: listeners() == 0, "the end of the subscription")
    again = mission.goal("query", want_commentary=True).end()[1]
    assert again.commentary.text == "A person waves.", "it was said before, and is kept"
    never = mission.goal({"id": "query"}, until=OFFSET, want_commentary=True)
    mission.play(7)
    assert span_number(never.end()[1].span.span_id) == 5
    graph.destroy_publisher(publisher)
    graph.wait(lambda: node.count_publishers("commentary") == 0, "the responder's end")
    result = mission.goal("query", want_commentary=True).end()[1]
    assert (result.error_code, result.commentary.final) == (RESULT.NONE, False), "nobody is there to say it"


def test_what_no_responder_would_say_is_not_taken(mission: Any) -> None:
    graph, node = mission.graph, mission.node
    publisher = graph.observer.create_publisher(Commentary, "commentary", COMMENTARY_KEPT_QOS)
    graph.wait(lambda: node.count_publishers("commentary") == 1, "the publisher to be known")
    mission.play(11)
    goal = mission.goal("query", want_commentary=True, timeout=Duration(sec=600))
    graph.wait(lambda: node.count_subscribers("commentary") == 1, "a subscription")
    mission.play(2)
    span = mission.ids(5)[5]
    publisher.publish(Commentary(span_id=span, final=True, text="x" * 1_000_000))
    publisher.publish(Commentary(span_id=span, final=True, error="x" * 1_000_000))
    for number in range(1000, 1300):
        publisher.publish(Commentary(span_id=number, final=True, text="Another one."))
    publisher.publish(Commentary(span_id=span, final=True, text="A person waves."))
    assert goal.end()[1].commentary.text == "A person waves."


def test_random_goals_each_end_once_and_leave_the_watches(mission: Any) -> None:
    rng = random.Random(3)
    goals: list[tuple[Any, bool]] = []
    for number in range(GOALS):
        query = rng.choice(["Say when it happens.", THAT, RAIN, "Tell me when a dog barks."])
        watch = rng.choice(
            ["query", {"query": query}, {"query": query, "look_back": Duration(sec=rng.randrange(20))}]
        )
        timeout = rng.choice([Duration(sec=600), Duration(nanosec=10**8)])
        goal = mission.goal(watch, until=rng.randrange(2), accept_open=rng.random() < 0.5, timeout=timeout)
        canceled = rng.random() < 0.3 and bool(goal.cancel().goals_canceling)
        goals.append((goal, canceled))
        if number % 3 == 0:
            mission.play(1)
    for goal, _ in goals:
        if not goal.is_over:
            goal.cancel()
    for goal, canceled in goals:
        status, result = goal.end()
        assert canceled <= (status == CANCELED)
        assert (status == SUCCEEDED) == (result.error_code == RESULT.NONE) == (result.error_msg == "")
        assert (status == CANCELED) == (result.error_code == RESULT.CANCELED)
        assert result.error_code in (RESULT.NONE, RESULT.TIMEOUT, RESULT.CANCELED)
        assert (status == SUCCEEDED) <= bool(result.span.span_id)
    mission.only_query()
    assert not mission.node._waits._goals
