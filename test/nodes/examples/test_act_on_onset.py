"""examples/act_on_onset.py drives on a new ONSET only, and stops whenever it could be left driving."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("stride_ros.msg", reason="the built messages of stride_ros are missing")
from geometry_msgs.msg import Twist
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from stride_ros.msg import ActivationSpan, ActivationWindow

from stride_ros.nodes.qos import SPAN_QOS, WINDOW_QOS

COMMANDS = QoSProfile(depth=10_000)
# A busy machine may take long from a message to the node: by default neither age nor silence stops it.
PATIENT = {"max_age": 200.0, "timeout": 200.0, "speed": 0.25}


class Robot:
    """The node under test, what it is told and what it commands."""

    def __init__(self, graph: Any, node: Callable[..., Any], span: Callable[..., Any]) -> None:
        self.graph, self._node, self._span = graph, node, span
        self.commands = graph.collect(Twist, "cmd_vel", COMMANDS)
        self.spans = graph.observer.create_publisher(ActivationSpan, "activation/span", SPAN_QOS)

    def start(self, **parameters: Any) -> Any:
        """Start the node; from now on it hears what is published."""
        node = self.graph.host(self._node, {**PATIENT, **parameters})
        self.graph.wait(lambda: self.spans.get_subscription_count() == 1, "the subscriber of spans")
        return node

    def tell(self, state: str, number: int, **options: Any) -> None:
        self.spans.publish(self._span(state, number, **options))

    def drives(self, number: int, **options: Any) -> None:
        """Assert that the ONSET of a span makes it drive."""
        before = len(self.commands)
        self.tell("ONSET", number, **options)
        self.graph.wait(lambda: speed(self.commands[before:]) == 0.25, f"driving on span {number}")

    def stops(self) -> None:
        """Assert that it commands to stand still; what comes after starts from here."""
        self.graph.wait(lambda: speed(self.commands) == 0.0, "standing still")
        self.commands.clear()


def speed(commands: list[Twist]) -> float | None:
    return commands[-1].linear.x if commands else None


@pytest.fixture
def robot(graph: Any, example: Callable[..., Any], span: Callable[..., Any]) -> Robot:
    return Robot(graph, example("act_on_onset").ActOnOnset, span)


@pytest.mark.parametrize("end", ["OFFSET", "RETRACTED"])
def test_drives_from_onset_until_the_end(robot: Robot, end: str) -> None:
    robot.start()
    robot.drives(1)
    robot.tell("UPDATE", 1)
    robot.tell(end, 1)
    robot.stops()


def test_onset_in_the_history_does_not_move_a_late_subscriber(robot: Robot) -> None:
    robot.tell("ONSET", 1)
    history = robot.graph.collect(ActivationSpan, "activation/span", SPAN_QOS)
    robot.graph.wait(lambda: history, "the history, which a transient-local subscriber gets")
    robot.graph.wait(lambda: robot.spans.get_subscription_count() == 1, "the subscriber of the history")
    robot.graph.host(robot._node, PATIENT)
    robot.graph.wait(lambda: robot.spans.get_subscription_count() == 2, "the subscriber of spans")
    assert not robot.commands
    robot.drives(2)
    robot.tell("OFFSET", 2)
    robot.stops()  # if span 1 had been taken up, it would go on driving


@pytest.mark.parametrize("age", [60.0, 1e9, -60.0])
def test_onset_of_old_frames_or_another_clock_does_not_move_it(robot: Robot, age: float) -> None:
    robot.start(max_age=20.0)
    robot.tell("ONSET", 1, age=age)
    robot.drives(2)
    robot.tell("OFFSET", 2)
    robot.stops()


def test_update_of_a_span_that_began_unseen_does_not_move_it(robot: Robot) -> None:
    robot.start()
    robot.tell("UPDATE", 1)
    robot.drives(2)
    robot.tell("OFFSET", 2)
    robot.stops()


def test_drives_until_the_last_of_several_spans_ends(robot: Robot) -> None:
    robot.start()
    robot.drives(1)
    robot.drives(2)
    robot.tell("OFFSET", 1)
    before = len(robot.commands)
    robot.graph.wait(lambda: len(robot.commands) > before + 2, "further commands")
    assert {command.linear.x for command in robot.commands} == {0.25}
    robot.tell("RETRACTED", 2)
    robot.stops()


def test_span_of_an_earlier_life_of_the_node_is_over(robot: Robot) -> None:
    robot.start()
    robot.drives(1, life=7)
    robot.drives(1, life=8)
    robot.tell("OFFSET", 1, life=8)
    robot.stops()


def test_stops_when_the_node_falls_silent_and_waits_for_a_new_onset(robot: Robot) -> None:
    robot.start(timeout=0.5)
    robot.tell("ONSET", 1)
    robot.graph.wait(
        lambda: [c.linear.x for c in robot.commands][-1:] == [0.0], "driving, then standing still"
    )
    assert robot.commands[0].linear.x == 0.25
    robot.commands.clear()
    windows = robot.graph.publisher(ActivationWindow, "activation/window", WINDOW_QOS)
    windows.publish(ActivationWindow())  # the node is back, without its spans
    robot.tell("UPDATE", 1)
    robot.tell("ONSET", 2)
    robot.tell("OFFSET", 2)
    robot.stops()  # had span 1 been taken up again, it would still drive


def test_goes_on_while_decisions_come(robot: Robot) -> None:
    robot.start(timeout=5.0)
    windows = robot.graph.publisher(ActivationWindow, "activation/window", WINDOW_QOS)
    robot.drives(1)
    over = threading.Event()

    def decide() -> None:
        while not over.wait(0.2):
            windows.publish(ActivationWindow())

    thread = threading.Thread(target=decide)
    thread.start()
    try:
        robot.graph.wait(lambda: len(robot.commands) > 80, "commands for longer than the timeout")
    finally:
        over.set()
        thread.join()
    assert {command.linear.x for command in robot.commands[:80]} == {0.25}


def test_simulated_time_decides_what_is_old(robot: Robot) -> None:
    node = robot.start(max_age=2.0, use_sim_time=True)
    robot.tell("ONSET", 1, at=90.0)  # before or after the first clock: it is not new
    clock = robot.graph.publisher(Clock, "/clock")
    time = Clock()
    time.clock.sec = 100
    robot.graph.send(
        clock, time, lambda: node.get_clock().now().nanoseconds == 100 * 10**9, "simulated time in the node"
    )
    assert not robot.commands
    robot.tell("ONSET", 2, at=97.0)
    robot.drives(3, at=99.5)
    robot.tell("OFFSET", 3)
    robot.stops()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_leaves_the_robot_standing(robot: Robot, processes: Any, number: int) -> None:
    options = [word for name in PATIENT for word in ("-p", f"{name}:={PATIENT[name]}")]
    process = processes.start("../examples/act_on_onset.py", "--ros-args", *options)
    robot.graph.wait(lambda: robot.spans.get_subscription_count() == 1, "the subscriber of spans")
    robot.graph.send(
        robot.spans, robot._span("ONSET", 1), lambda: speed(robot.commands) == 0.25, "driving on span 1"
    )
    process.send_signal(number)
    robot.stops()
    assert process.wait(60) == 0
    assert "Traceback" not in process.log.read_text()
