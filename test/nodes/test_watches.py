"""Watches by service over DDS: added, renewed, refused, removed, expired, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from std_srvs.srv import SetBool
from stride_ros.msg import ActivationSpan, ActivationWindow, Watch, Watches, WatchSpec
from stride_ros.srv import AddWatch, RemoveWatch

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.session import ActivationSession
from stride_ros.imaging.images import rgb_to_image
from stride_ros.nodes.activation_node import ActivationNode
from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import DIAGNOSTICS_QOS, SPAN_QOS, WATCHES_QOS, WINDOW_QOS

CHECKPOINT = str(Path(__file__).parents[1] / "golden" / "checkpoint_single")
ORIGIN = 1_700_000_000 * 10**9  # ns
SECOND = 10**9
THIS, THAT, RAIN = "Say when it happens.", "Tell me when they come.", "Tell me when it rains."
ONE = {
    "model": CHECKPOINT,
    "device": "cpu",
    "unmasking_steps": 4,
    "trigger.min_confidence": 0.0,
    "query": THIS,
}
CONFIG = ActivationConfig(unmasking_steps=4, trigger=TriggerConfig(min_confidence=0.0))
RELIABLE = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
RESPONSE = AddWatch.Response


def grey(index: int) -> np.ndarray:
    """With the golden checkpoint these make spans begin, move and end."""
    return np.full((48, 64, 3), (37 * index) % 256, np.uint8)


class Robot:
    """A node, a camera at 1 FPS, and a client of its services."""

    def __init__(self, graph: Any, **parameters: Any) -> None:
        self.graph = graph
        self.spans = graph.collect(ActivationSpan, "activation/span", SPAN_QOS)
        self.windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
        self.watches = graph.collect(Watches, "watches", WATCHES_QOS)
        self.node = graph.host(ActivationNode, {**ONE, **parameters})
        self.camera: Any = None
        self.sent = 0

    def start(self) -> Robot:
        assert self.graph.transition("activation", "configure")
        assert self.graph.transition("activation", "activate")
        self.camera = self.graph.publisher(Image, "image", RELIABLE)
        return self

    def add(self, query: str, id: str = "", replace: bool = False, **fields: Any) -> Any:
        spec = WatchSpec(query=query, id=id, **fields)
        return self.graph.call(AddWatch, "/activation/add_watch", spec=spec, replace=replace)

    def remove(self, id: str) -> Any:
        return self.graph.call(RemoveWatch, "/activation/remove_watch", id=id)

    def play(self, count: int, watches: int) -> list[ActivationWindow]:
        """Feed this many frames; return the windows of so many watches decided on them."""
        begin = len(self.windows)
        for _ in range(count):
            wanted = len(self.windows) + watches
            message = rgb_to_image(grey(self.sent), Header(stamp=to_time(ORIGIN + self.sent * SECOND)))
            self.graph.send(self.camera, message, lambda n=wanted: len(self.windows) >= n, "all windows")
            self.sent += 1
        return self.windows[begin:]

    def seen(self, condition: Any, what: str) -> dict[str, Watch]:
        """The watches by id, as soon as they are as wanted."""

        def found() -> dict[str, Watch] | None:
            if not self.watches:
                return None
            newest = {watch.spec.id: watch for watch in self.watches[-1].watches}
            return newest if condition(newest) else None

        return self.graph.wait(found, what)


@pytest.fixture
def robot(graph: Any) -> Robot:
    return Robot(graph).start()


def test_a_watch_that_comes_and_goes_leaves_the_others_alone(robot: Robot) -> None:
    robot.play(5, 1)
    added = robot.add(THAT, "door", respond=False, min_active_seconds=0.0, owner="mission")
    assert (added.success, added.error_code, added.error_msg, added.id) == (True, RESPONSE.NONE, "", "door")
    robot.play(1, 1)  # the second frame of a pair: the watch begins with the next pair
    robot.play(14, 2)
    assert robot.remove("door").success
    robot.play(2, 1)
    session = ActivationSession(ActivationModel.load(CHECKPOINT), THIS, CONFIG)
    expected = [session.push(grey(i), float(i)) for i in range(robot.sent)]
    windows = [window for window in robot.windows if window.watch == "query"]
    assert [list(window.labels) for window in windows] == [list(update.labels) for update in expected]
    late = ActivationSession(ActivationModel.load(CHECKPOINT), THAT, CONFIG)
    wanted = [late.push(grey(i), float(i)) for i in range(6, 20)]
    of_door = [window for window in robot.windows if window.watch == "door"]
    assert [list(window.labels) for window in of_door] == [list(update.labels) for update in wanted]
    spoken = {span.watch: span.respond for span in robot.spans}
    assert spoken == {"query": True, "door": False}


def test_removing_ends_what_is_open_without_a_further_frame(robot: Robot) -> None:
    robot.add(THAT, "door", min_active_seconds=0.0)
    robot.play(1, 2)

    def open_spans() -> set[int]:
        spans = [span for span in robot.spans if span.watch == "door"]
        over = {s.span_id for s in spans if s.state in (ActivationSpan.OFFSET, ActivationSpan.RETRACTED)}
        return {span.span_id for span in spans} - over

    for _ in range(12):
        robot.play(1, 2)
        if open_spans():
            break
    assert open_spans(), "the stream must have spans"
    ids = {
        span.span_id for span in robot.seen(lambda w: w["door"].open_spans, "open spans")["door"].open_spans
    }
    assert ids == open_spans()
    assert robot.remove("door").success
    robot.graph.wait(lambda: not open_spans(), "the end of what was open")
    robot.seen(lambda watches: "door" not in watches, "the list without it")


def test_the_list_says_what_is_watched_for_and_how_it_stands(graph: Any) -> None:
    robot = Robot(graph)
    listed = robot.seen(len, "the watch of the parameter")
    assert (listed["query"].spec.query, listed["query"].source) == (THIS, Watch.PARAMETER)
    assert listed["query"].state == Watch.PENDING
    refused = robot.add(THAT)
    assert refused.error_code == RESPONSE.NOT_CONFIGURED
    robot.start()
    added = robot.add(THAT, lifetime=Duration(sec=600), min_confidence=0.25)
    assert added.success
    assert added.id.startswith("watch_")
    watch = robot.seen(lambda w: added.id in w, "the new watch")[added.id]
    assert watch.state == Watch.PENDING
    assert watch.spec.min_active_seconds == 1.0, "as the parameter says"
    assert watch.spec.min_confidence == 0.25
    assert watch.source == Watch.SERVICE
    assert watch.expires.sec - watch.since.sec == 600
    robot.play(2, 2)
    watch = robot.seen(lambda w: w[added.id].state == Watch.WATCHING, "the watch at work")[added.id]
    newest = [window for window in robot.windows if window.watch == added.id][-1]
    probability = newest.probabilities[ActivationModel.load(CHECKPOINT).past - 1]
    robot.seen(lambda w: abs(w[added.id].probability - probability) < 1e-6, "its probability")
    graph.call(SetBool, "/activation/enable", data=False)
    paused = robot.seen(lambda w: w[added.id].state == Watch.PAUSED, "the pause")[added.id]
    assert "~/enable" in paused.message
    graph.publisher(String, "query").publish(String(data=RAIN))
    topic = robot.seen(lambda w: w["query"].spec.query == RAIN, "the query of the topic")
    assert topic["query"].source == Watch.TOPIC
    assert added.id in topic, "a query changes its own watch only"


def test_a_watch_that_looks_back_catches_up_between_frames(robot: Robot) -> None:
    robot.play(41, 1)
    assert robot.add(THAT, "late", look_back=Duration(sec=600)).success
    robot.seen(lambda w: w.get("late") and w["late"].state == Watch.WATCHING, "that it has caught up")
    robot.play(7, 2)
    always = ActivationSession(ActivationModel.load(CHECKPOINT), THAT, replace(CONFIG, decide_every=1000))
    for index in range(41):
        always.push(grey(index), float(index))
    always.update_config(CONFIG)
    expected = [always.push(grey(index), float(index)) for index in range(41, 48)]
    windows = [window for window in robot.windows if window.watch == "late"]
    assert [list(window.labels) for window in windows] == [list(update.labels) for update in expected]


def test_what_does_not_fit_into_memory_is_refused_with_figures_and_what_would_fit(graph: Any) -> None:
    engine = ActivationEngine(ActivationModel.load(CHECKPOINT), CONFIG)
    two, three = (engine.memory_for((48, 64), queries) for queries in ([THIS, THAT], [THIS, THAT, RAIN]))
    robot = Robot(graph, memory_limit=(three - 1) / 1e6).start()
    robot.play(2, 1)
    assert robot.add(THAT, "fits").success
    refused = robot.add(RAIN, "more")
    assert (refused.success, refused.error_code) == (False, RESPONSE.NO_MEMORY)
    assert refused.required_bytes == three - two
    assert refused.available_bytes == three - 1 - two
    assert "MB" in refused.error_msg
    assert list(refused.would_fit) == ["max_frames: 96"]
    assert robot.add(THAT, "fits").success, "who is there may renew"
    assert len(robot.play(4, 2)) == 8, "the others go on"
    assert robot.remove("fits").success
    assert robot.add(RAIN, "more").success


def test_frames_that_do_not_fit_are_left_out_with_the_reason(graph: Any) -> None:
    engine = ActivationEngine(ActivationModel.load(CHECKPOINT), CONFIG)
    small, wanted = (engine.memory_for(size, [THIS]) for size in ((32, 32), (48, 64)))
    robot = Robot(graph, memory_limit=(small + wanted) / 2e6).start()
    statuses = graph.collect(DiagnosticArray, "/diagnostics", DIAGNOSTICS_QOS)
    message = rgb_to_image(grey(0), Header(stamp=to_time(ORIGIN)))

    def told() -> bool:
        return any(f"needs {wanted / 1e6:.1f} MB, but" in s.message for a in statuses for s in a.status)

    graph.send(robot.camera, message, told, "the reason")
    assert not robot.windows


def test_a_limit_that_allows_no_frame_at_all_is_told_at_once(graph: Any) -> None:
    robot = Robot(graph, memory_limit=0.01)
    assert graph.transition("activation", "configure")
    assert not graph.transition("activation", "activate")
    assert "MB are free; lower max_frames or frame_max_tokens" in robot.node.last_error


def test_watches_survive_cleanup_and_expire_unless_renewed(robot: Robot) -> None:
    assert robot.add(THAT, "kept").success
    assert robot.add(RAIN, "short", lifetime=Duration(sec=600)).success
    short = robot.seen(lambda w: "short" in w, "the short one")["short"]
    assert robot.add(RAIN, "short", lifetime=Duration(sec=700)).success
    again = robot.seen(lambda w: w["short"].expires != short.expires, "the renewal")["short"]
    assert again.since == short.since
    assert again.expires.sec - short.expires.sec >= 100
    assert robot.add(RAIN, "short", lifetime=Duration(sec=1)).success
    for label in ("deactivate", "cleanup", "configure", "activate"):
        assert robot.graph.transition("activation", label)
    robot.seen(lambda w: "kept" in w and "short" not in w, "the end of the short one")
    robot.play(1, 2)
    assert {window.watch for window in robot.windows[-2:]} == {"query", "kept"}


def test_a_watch_that_looks_back_decides_on_what_is_in_context(robot: Robot) -> None:
    robot.play(9, 1)
    assert robot.add(THAT, "back", look_back=Duration(sec=60)).success
    begin = len(robot.windows)
    for _ in range(20):
        robot.play(1, 1)
        if any(window.watch == "back" for window in robot.windows[begin:]):
            break
    robot.graph.wait(lambda: any(w.watch == "back" for w in robot.windows), "its first decision")
    first = next(window for window in robot.windows if window.watch == "back")
    seen = sum(label != ActivationWindow.UNSEEN for label in first.labels)
    own = next(window for window in robot.windows if window.header.stamp == first.header.stamp)
    assert seen == sum(label != ActivationWindow.UNSEEN for label in own.labels) > 8


def test_without_look_back_nothing_is_kept_and_asking_for_it_is_refused(graph: Any) -> None:
    robot = Robot(graph, look_back=False).start()
    refused = robot.add(THAT, look_back=Duration(sec=5))
    assert refused.error_code == RESPONSE.INVALID
    assert "set its parameter look_back" in refused.error_msg
    assert robot.add(THAT).success


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"query": " "}, RESPONSE.INVALID, "empty"),
        ({"query": "x" * 2000}, RESPONSE.INVALID, "2000 characters"),
        ({"query": "What is <active> here"}, RESPONSE.INVALID, "special tokens"),
        ({"id": "no spaces"}, RESPONSE.INVALID, "1 to 64 letters"),
        ({"id": "x" * 65}, RESPONSE.INVALID, "1 to 64 letters"),
        ({"id": "query_7"}, RESPONSE.ID_TAKEN, "parameters"),
        ({"cameras": ["front"]}, RESPONSE.NO_CAMERA, "unnamed camera"),
        ({"min_confidence": 1.5}, RESPONSE.INVALID, "min_confidence"),
        ({"min_confidence": float("nan")}, RESPONSE.INVALID, "min_confidence"),
        ({"min_active_seconds": 1e6}, RESPONSE.INVALID, "covers"),
        ({"min_active_seconds": float("inf")}, RESPONSE.INVALID, "min_active_seconds"),
        ({"lifetime": Duration(sec=-1)}, RESPONSE.INVALID, "negative"),
        ({"lifetime": Duration(sec=2**31 - 1)}, RESPONSE.INVALID, "2038"),
        ({"look_back": Duration(sec=-1)}, RESPONSE.INVALID, "negative"),
        ({"owner": "x" * 5000}, RESPONSE.INVALID, "owner"),
    ],
)
def test_what_cannot_be_watched_for_is_refused(robot: Robot, fields: Any, code: int, reason: str) -> None:
    refused = robot.add(**{"query": THAT, **fields})
    assert not refused.success
    assert refused.error_code == code
    assert reason in refused.error_msg
    assert not refused.id
    robot.seen(lambda watches: list(watches) == ["query"], "the list as before")


def test_ids_limits_and_owners_are_respected(graph: Any) -> None:
    robot = Robot(graph, max_watches=2).start()
    assert robot.add(THAT, "a").success
    taken = robot.add(RAIN, "a")
    assert taken.error_code == RESPONSE.ID_TAKEN
    assert "set replace" in taken.error_msg
    assert robot.add(RAIN, "a", replace=True).success
    assert robot.seen(lambda w: "a" in w and w["a"].spec.query == RAIN, "the replacement")
    assert robot.add(THAT).success
    full = robot.add(THAT, "c")
    assert full.error_code == RESPONSE.LIMIT
    assert "max_watches" in full.error_msg
    assert robot.add(RAIN, "a").success, "one that is there is renewed"
    owned = robot.remove("query")
    assert owned.error_code == RemoveWatch.Response.PARAMETER_OWNED
    unknown = robot.remove("nobody\x1b[31m")
    assert unknown.error_code == RemoveWatch.Response.NOT_FOUND
    assert "\x1b" not in unknown.error_msg
    assert robot.node.set_parameters([Parameter("max_watches", value=0)])[0].successful
    assert robot.remove("a").success
