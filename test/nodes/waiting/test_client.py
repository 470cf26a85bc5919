"""`stride_ros.client` against a node over DDS: awaiting and blocking, watches that come and go, failures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import rclpy
from builtin_interfaces.msg import Duration
from stride_ros.msg import ActivationSpan, Watches
from stride_ros.srv import RemoveWatch

from stride_ros.activation.identity import span_number
from stride_ros.client import Canceled, ClientError, NodeLost, Refused, Robot, TimedOut, tools
from stride_ros.client.goals import GoalRun
from stride_ros.nodes.qos import WATCHES_QOS

from ..conftest import TIMEOUT
from .conftest import CHECKPOINT

THAT = "Tell me when they come."


@pytest.fixture
def robot(mission: Any) -> Iterator[Robot]:
    with Robot("", context=mission.graph.context, patience=60.0) as robot:
        yield robot


def test_an_event_is_waited_for(mission: Any, robot: Robot) -> None:
    feedback: list[Any] = []
    pending = robot.wait_for(watch="query", on_feedback=feedback.append)
    mission.play_until(lambda: pending.done())
    event = pending.result()
    assert (event.span.watch, event.text) == ("query", "")
    assert event.commentary is None
    assert feedback
    again = robot.wait_for(watch="query", until="offset", look_back=60.0)
    mission.play_until(lambda: again.done())
    assert again.result().span.state == ActivationSpan.OFFSET


def test_the_end_of_this_event_is_awaited_and_not_that_of_an_earlier_one(mission: Any, robot: Robot) -> None:
    mission.graph.wait(lambda: mission.node.count_subscribers("activation/span") == 2, "its subscription")
    mission.play(8)
    event = robot.wait_for(watch="query").result()
    assert span_number(event.span.span_id) == 2, "1 has just ended"
    ended, noticed = robot.wait_until_over(event), robot.wait_until_over(event.span)
    with pytest.raises(TimedOut, match="still going on"):
        robot.wait_until_over(event, timeout=0.1).result()
    mission.play(2)
    over = ended.result()
    assert (over.span.span_id, over.span.state, over.retracted) == (
        event.span.span_id,
        ActivationSpan.OFFSET,
        False,
    )
    assert noticed.result() == over
    assert robot.wait_until_over(event).result() == over, "it was over before it was asked for"
    assert robot.wait_until_over(over).result() == over


def test_a_false_alarm_is_over_when_it_is_retracted(mission: Any, robot: Robot) -> None:
    mission.play(10)
    event = robot.wait_for(watch="query").result()
    assert span_number(event.span.span_id) == 3
    over = robot.wait_until_over(event)
    mission.play(1)
    assert over.result().retracted
    assert not event.retracted, "what was known then"


def test_the_end_of_an_event_that_was_missed_counts(mission: Any, robot: Robot) -> None:
    mission.graph.wait(lambda: mission.node.count_subscribers("activation/span") == 2, "its subscription")
    mission.play(8)
    event = robot.wait_for(watch="query").result()
    mission.play(2)
    robot._ended.clear()  # as if the client had been too slow for the message
    assert robot.wait_until_over(event).result().span == event.span
    canceled = robot.wait_until_over(event)
    canceled.cancel()
    with pytest.raises(Canceled):
        canceled.result()


def test_an_event_of_a_node_that_has_gone_is_not_awaited_forever(
    mission: Any, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stride_ros.client.over._SILENCE", 3.0)
    mission.play(8)
    event = robot.wait_for(watch="query").result()
    over = robot.wait_until_over(event)
    mission.graph.remove(mission.node)
    with contextlib.suppress(NodeLost):
        assert over.result().span.state == ActivationSpan.OFFSET, "unless it says so when it goes"


def test_an_event_is_awaited_in_asyncio(mission: Any, robot: Robot) -> None:
    mission.play(9)

    async def act() -> tuple[Any, ...]:
        first, second = robot.wait_for(watch="query"), robot.wait_for(watch="query")
        events = await asyncio.gather(first, second)
        with pytest.raises(TimedOut):
            await robot.wait_for(THAT, timeout=0.1)
        task = asyncio.ensure_future(waited(robot.wait_for(THAT)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return tuple(events)

    async def waited(pending: Any) -> Any:
        return await pending

    assert {span_number(event.span.span_id) for event in asyncio.run(act())} == {2}
    mission.only_query()


def test_an_event_is_awaited_in_a_coroutine_of_rclpy(mission: Any, robot: Robot) -> None:
    mission.play(9)

    async def act() -> int:
        return span_number((await robot.wait_for(watch="query")).span.span_id)

    task = mission.graph.observer.executor.create_task(act())
    mission.graph.wait(task.done, "the coroutine")
    assert task.result() == 2


def test_a_goal_is_canceled(mission: Any, robot: Robot) -> None:
    pending = robot.wait_for(THAT, watch="door")
    mission.seen(lambda watches: "door" in watches, "the watch")
    pending.cancel()
    with pytest.raises(Canceled):
        pending.result()
    mission.only_query()


def test_each_failure_has_its_error(mission: Any, robot: Robot) -> None:
    with pytest.raises(TimedOut, match="longer timeout"):
        robot.wait_for(THAT, timeout=0.1).result()
    with pytest.raises(Refused, match="no watch 'nobody'"):
        robot.wait_for(watch="nobody").result()
    with pytest.raises(ValueError, match="'onset' or 'offset'"):
        robot.wait_for(THAT, until="later")
    with pytest.raises(Refused, match="empty"), robot.watch(" "):
        pass
    pending = robot.wait_for(THAT, watch="door")
    mission.seen(lambda watches: "door" in watches, "the watch")
    assert mission.graph.call(RemoveWatch, "/activation/remove_watch", id="door").success
    with pytest.raises(ClientError) as removed:
        pending.result()
    assert removed.value.code == mission.action.Result.WATCH_REMOVED


def test_a_watch_is_there_while_it_is_wanted_and_tells_its_spans(mission: Any, robot: Robot) -> None:
    seen: list[Any] = []
    with robot.watch("Say when it happens.", id="door", on_event=seen.append) as door:
        assert door.id == "door"
        mission.seen(lambda watches: "door" in watches, "the watch")
        mission.graph.wait(lambda: mission.node.count_subscribers("activation/span") == 2, "its subscription")
        mission.play_until(lambda: seen)
        assert robot.wait_for(watch=door.id, look_back=60.0).result().span.watch == "door"
    mission.only_query()
    assert {span.watch for span in seen} == {"door"}
    assert seen[0].state == ActivationSpan.ONSET


def test_a_callback_that_would_wait_for_itself_is_told_and_the_client_goes_on(
    mission: Any, robot: Robot, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []

    def on_event(span: Any) -> None:
        seen.append(span)
        robot.describe("What is there?", timeout=1.0).result()

    with robot.watch("Say when it happens.", id="door", on_event=on_event):
        mission.seen(lambda watches: "door" in watches, "the watch")
        mission.graph.wait(lambda: mission.node.count_subscribers("activation/span") == 2, "its subscription")
        mission.play_until(lambda: len(seen) > 1)
        assert robot.wait_for(watch="query", look_back=60.0).result().span.query == "Say when it happens."
    mission.only_query()
    assert "use add_done_callback, or move the work to another thread" in capfd.readouterr().err


def test_a_watch_is_renewed_while_its_client_lives_and_goes_after_it(mission: Any, robot: Robot) -> None:
    watch = robot.watch(THAT, id="door", lifetime=1.0)
    first = mission.seen(lambda watches: "door" in watches, "the watch")["door"].expires
    later = mission.seen(
        lambda watches: "door" in watches and watches["door"].expires.sec >= first.sec + 2, "the renewal"
    )["door"]
    assert later.since.sec <= first.sec
    robot._watches.clear()  # as if the process had ended
    mission.only_query()
    watch.remove().result()


def test_a_client_that_closes_leaves_nothing(mission: Any) -> None:
    with Robot("", context=mission.graph.context, patience=60.0) as robot:
        robot.watch(THAT, id="door")
        pending = robot.wait_for("Tell me when it rains.")
        mission.seen(lambda watches: len(watches) == 3, "two more watches")
    with pytest.raises(Canceled):
        pending.result(0)
    mission.only_query()
    with pytest.raises(ClientError, match="closed"):
        robot.wait_for(THAT).result()


def test_a_client_that_closes_leaves_no_watch_that_was_just_asked_for(mission: Any) -> None:
    def ids() -> list[str]:
        return [entry.spec.id for entry in mission.node._watches.entries()]

    for number in range(5):
        with Robot("", context=mission.graph.context, patience=60.0) as robot:
            with robot.watch(THAT, id="first"):  # so that all know each other
                pass
            robot.watch(THAT, id="door", lifetime=0.0)
            if number % 2:
                mission.graph.wait(lambda: "door" in ids(), "the watch, whose answer is on its way")
        assert ids() == ["query"]


def hold(robot: Robot, graph: Any) -> Callable[[], None]:
    """Hold the client's thread; what lets it go on."""
    held, release = threading.Event(), threading.Event()

    def wait() -> None:
        held.set()
        release.wait()

    robot._thread.post(wait)
    graph.wait(held.is_set, "the client's thread")
    return release.set


def test_a_watch_tells_its_spans_from_the_first_on(mission: Any) -> None:
    mission.play(13)
    seen: list[Any] = []
    context = rclpy.Context()
    rclpy.init(context=context)  # as in another process
    with Robot("", context=context, patience=60.0) as robot:
        with robot.watch(THAT, id="first"):  # so that all know each other
            mission.graph.wait(lambda: mission.node.count_subscribers("activation/span") == 2, "the client")
        fields = {"id": "door", "respond": False, "look_back": Duration(sec=60)}
        resume = hold(robot, mission.graph)
        door = robot.watch("Say when it happens.", on_event=seen.append, **fields)
        answer_waits = threading.Event()
        robot._thread.post(answer_waits.wait)
        resume()  # the request is sent now
        mission.play_until(lambda: any(span.watch == "door" for span in mission.spans))
        answer_waits.set()
        mission.graph.wait(lambda: seen, "a span")
        door.remove().result()
    first = next(span for span in mission.spans if span.watch == "door")
    assert (seen[0].span_id, seen[0].state) == (first.span_id, ActivationSpan.ONSET)
    context.try_shutdown()


# A node that is destroyed answers its goals, but the middleware may drop an answer with its writer.
ENDS = r"deactivated|wait_for_event has gone"


def test_a_node_that_is_not_there_or_goes_is_noticed(mission: Any, make_mission: Callable[..., Any]) -> None:
    graph = mission.graph
    with Robot("/elsewhere", context=graph.context, patience=0.2) as lost:
        with pytest.raises(NodeLost, match="namespace"):
            lost.wait_for(THAT).result()
        with (
            pytest.raises(NodeLost, match="No node serves /elsewhere/activation/add_watch; start it"),
            lost.watch(THAT),
        ):
            pass
    with Robot("", context=graph.context, patience=60.0) as robot:
        pending = robot.wait_for(THAT)
        mission.seen(lambda watches: len(watches) == 2, "its watch")
        graph.remove(mission.node)
        with pytest.raises(ClientError, match=ENDS):
            pending.result()


def test_the_error_of_a_mission_is_not_replaced_by_that_of_its_watch(mission: Any, robot: Robot) -> None:
    def act() -> None:
        with robot.watch(THAT) as watch:
            pending = robot.wait_for(watch=watch.id)
            mission.seen(lambda watches: watch.id in watches, "the watch")
            mission.graph.remove(mission.node)
            pending.result()

    with pytest.raises(ClientError, match=ENDS):
        act()


MISSION = """
import rclpy
from stride_ros.client import Robot

if {own}:
    rclpy.init()
with Robot("") as robot, robot.watch("Tell me when they come.", id="door") as door:
    pending = robot.wait_for(watch=door.id, timeout=3600.0)
    pending.result()
"""


IN_ASYNCIO = """
import asyncio
from stride_ros.client import Robot

async def act():
    async with Robot("") as robot, robot.watch("Tell me when they come.", id="door") as door:
        await robot.wait_for(watch="door", timeout=3600.0)

asyncio.run(act())
"""


@pytest.mark.parametrize(
    ("text", "own"),
    [(MISSION.format(own=False), False), (MISSION.format(own=True), True), (IN_ASYNCIO, False)],
    ids=["the client's context", "rclpy.init", "asyncio"],
)
def test_ctrl_c_ends_a_mission(
    mission: Any, processes: Any, tmp_path: Path, hears_ctrl_c: Any, text: str, own: bool
) -> None:
    program = tmp_path / "mission.py"
    program.write_text(text)
    process = processes.start(str(program))
    mission.seen(lambda watches: "door" in watches, f"the watch: {process.log.read_text()}")
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT) not in (0, None)
    assert "KeyboardInterrupt" in process.log.read_text()
    if not own:  # rclpy's signal handler cuts the client off
        mission.only_query()


def test_an_agent_is_told_what_happens_and_what_it_got_wrong(mission: Any, robot: Robot) -> None:
    mission.play(9)
    happened = tools.call(robot, "wait_for_event", {"query": "Say when it happens."})
    json.dumps(happened)
    assert (happened["happened"], happened["is_over"]) == (True, False)
    assert happened["start"] == pytest.approx(1_700_000_005.0)
    assert tools.call(robot, "wait_for_event", {"query": THAT, "timeout": 0.1}) == {"happened": False}
    added = tools.call(robot, "add_watch", {"query": THAT})
    assert mission.seen(lambda watches: added["id"] in watches, "the watch")[added["id"]].spec.query == THAT
    assert tools.call(robot, "remove_watch", added) == {"removed": True}
    mission.only_query()


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("fly", {}, "no tool 'fly'"),
        ("describe", {}, "question is missing"),
        ("describe", {"question": 7}, "use a string"),
        ("describe", {"question": "What?", "last": "long"}, "use a number"),
        ("describe", {"question": "What?", "last": -1}, "0 to 600"),
        ("describe", {"question": "What?", "lens": "wide"}, "no argument lens"),
        ("describe", {"question": "What?", "camera": ["front"]}, "use a string"),
        ("wait_for_event", {"query": "Say so.", "cameras": "front"}, "use a list of strings"),
        ("wait_for_event", {"query": "Say so.", "cameras": ["front"] * 65}, "at most 64"),
        ("wait_for_event", {"query": THAT, "until": "later"}, "onset or offset"),
        ("wait_for_event", {"query": " "}, "empty"),
    ],
)
def test_a_wrong_call_of_an_agent_gets_a_sentence(
    robot: Robot, name: str, arguments: Any, reason: str
) -> None:
    assert reason in tools.call(robot, name, arguments)["error"]


def test_a_node_that_was_killed_and_started_again_has_forgotten_the_goal(
    graph: Any, processes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stride_ros.client.goals._SILENCE", 1.0)
    accepted, on_accepted = threading.Event(), GoalRun._on_accepted

    def accept(run: GoalRun[Any], future: Any) -> None:
        on_accepted(run, future)
        accepted.set()

    monkeypatch.setattr(GoalRun, "_on_accepted", accept)
    watches = graph.collect(Watches, "watches", WATCHES_QOS)
    values = {"model": CHECKPOINT, "device": "cpu", "autostart": "true"}
    arguments = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    node = processes.start("activation_node", "--ros-args", *arguments)
    with Robot("", context=graph.context, patience=TIMEOUT) as robot:
        pending = robot.wait_for(THAT)
        graph.wait(lambda: watches and len(watches[-1].watches) == 2, "its watch")
        graph.wait(accepted.is_set, "the acceptance")  # otherwise the goal is sent again, to the new node
        node.kill()
        node.wait()
        processes.start("activation_node", "--ros-args", *arguments)
        with pytest.raises(NodeLost, match="forgotten"):
            pending.result(TIMEOUT)
