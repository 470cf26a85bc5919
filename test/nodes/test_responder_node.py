"""The responder node over DDS: every onset is answered once, with the model's own words."""

from __future__ import annotations

import array
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="rclpy is not installed: run `make test` once")
pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("stride_ros.msg", reason="the package is not built: run `make test` once")

from builtin_interfaces.msg import Time  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402
from stride_ros.msg import ActivationSpan, Commentary  # noqa: E402

from stride_ros.nodes.qos import COMMENTARY_QOS, FRAMES_QOS, SPAN_QOS  # noqa: E402
from stride_ros.nodes.responder_node import ResponderNode  # noqa: E402

CHECKPOINT = Path(__file__).parent.parent / "golden" / "checkpoint_dup"
PATIENCE = 30.0  # s that a test waits for an event before it fails
ONSET, UPDATE, OFFSET, RETRACTED = range(4)
OK, ERROR, SKIPPED = range(3)
START = 1_700_000_000  # s since the epoch, the stamp of frame 0


def stamp(seconds: float) -> Time:
    nanoseconds = round(seconds * 1e9)
    return Time(sec=START + nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


class Graph:
    """A responder and the nodes around it, spun by the test itself."""

    def __init__(self, context) -> None:
        self.context = context
        self.executor = SingleThreadedExecutor(context=context)
        self.node: ResponderNode | None = None
        self.peer = self.add(Node("peer", context=context))
        self.frames = self.peer.create_publisher(Image, "frames", FRAMES_QOS)
        self.spans = self.peer.create_publisher(ActivationSpan, "activation/span", SPAN_QOS)
        self.said: list[Commentary] = []
        self.spoken: list[str] = []
        self.status: list = []
        self.peer.create_subscription(Commentary, "commentary", self.said.append, COMMENTARY_QOS)
        self.peer.create_subscription(String, "commentary/text", lambda m: self.spoken.append(m.data), 10)
        self.peer.create_subscription(DiagnosticArray, "/diagnostics", self.status.append, 10)

    def add(self, node):
        self.executor.add_node(node)
        return node

    def start(self, **parameters) -> ResponderNode:
        values = {"model": str(CHECKPOINT), "max_new_tokens": 12, **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = self.add(ResponderNode(context=self.context, parameter_overrides=overrides))
        assert self.node.autostart(), self.node.last_error
        self.wait_until_connected()
        return self.node

    def wait_until_connected(self) -> None:
        self.until(lambda: self.frames.get_subscription_count() and self.spans.get_subscription_count())

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited {PATIENCE} s; commentary so far: {self.said}"
            self.executor.spin_once(timeout_sec=0.05)

    def frame(self, seconds: float, height: int = 96, width: int = 128) -> None:
        pixels = np.random.default_rng(int(seconds * 10)).integers(0, 256, (height, width, 3), np.uint8)
        message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        message.header.stamp, message.header.frame_id = stamp(seconds), "camera"
        message.data = array.array("B", pixels.tobytes())
        self.frames.publish(message)

    def stream(self, *times: float) -> None:
        """Publish frames, each once the one before has arrived."""
        for seconds in times:
            count = self.node._frames.count
            self.frame(seconds)
            self.until(lambda before=count: self.node._frames.count > before)

    def span(self, span_id: int, state: int, start: float, end: float, query: str = "the cup") -> None:
        message = ActivationSpan(span_id=span_id, state=state, query=query, confidence=0.9)
        message.header.stamp, message.header.frame_id = stamp(end), "camera"
        message.start, message.end = stamp(start), stamp(end)
        self.spans.publish(message)

    def finals(self, *ids: int) -> list[Commentary]:
        """The final commentaries once there is one for each of ``ids``."""
        self.until(lambda: {m.span_id for m in self.said if m.final} >= set(ids))
        return [message for message in self.said if message.final]

    def call(self, service_type, name: str, request):
        client = self.peer.create_client(service_type, name)
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        self.peer.destroy_client(client)
        return future.result()

    def close(self) -> None:
        for node in (self.node, self.peer):
            if node is not None:
                node.destroy_node()
        self.executor.shutdown(timeout_sec=1.0)


@pytest.fixture
def graph() -> Iterator[Graph]:
    import torch

    torch.set_num_threads(2)
    context = rclpy.Context()
    rclpy.init(context=context)
    made = Graph(context)
    yield made
    made.close()
    context.try_shutdown()


def test_an_onset_is_answered_with_the_words_of_the_model(graph):
    graph.start(partial_rate=5.0)
    graph.stream(0, 1, 2, 3)
    graph.span(7, ONSET, 2.0, 3.0, query="Tell me when the cup falls.")
    (final,) = graph.finals(7)
    assert (final.status, final.error) == (OK, "")
    assert final.text
    assert final.query == "Tell me when the cup falls."
    assert final.model == CHECKPOINT.name
    assert (final.header.stamp, final.header.frame_id) == (stamp(3.0), "camera")
    assert final.latency > 0
    graph.until(lambda: graph.spoken)
    assert graph.spoken == [final.text]


def test_partial_texts_come_before_the_final_one_and_grow(graph):
    graph.start(max_new_tokens=60)
    graph.stream(0, 1, 2)
    graph.span(1, ONSET, 1.0, 2.0)
    graph.finals(1)
    *partial, final = graph.said
    assert final.final
    assert all(not message.final and final.text.startswith(message.text) for message in partial)


def test_the_model_sees_the_frames_of_the_event_and_a_little_before(graph):
    """The words depend on the frames, so equal words for equal choices show what was chosen."""
    graph.start(pre_seconds=1.0, max_frames=3, history=0)
    graph.stream(0, 1, 2, 3, 4, 5)
    graph.span(1, ONSET, 3.0, 5.0)  # 2 3 4 5, thinned to 2 and 5 and one between
    graph.finals(1)
    graph.span(2, ONSET, 4.5, 5.0)  # 4 5
    first, second = graph.finals(1, 2)
    assert first.text != second.text


def test_a_retracted_span_that_waits_is_skipped(graph):
    graph.start(max_new_tokens=400)
    graph.stream(0, 1, 2)
    graph.span(1, ONSET, 1.0, 2.0)
    graph.span(2, ONSET, 1.0, 2.0, query="the ball")
    graph.span(2, RETRACTED, 1.0, 2.0, query="the ball")
    skipped = next(message for message in graph.finals(1, 2) if message.span_id == 2)
    assert skipped.status == SKIPPED
    assert "retracted" in skipped.error
    assert skipped.text == ""


def test_an_event_without_frames_is_skipped_with_the_reason(graph):
    graph.start()
    graph.stream(0)
    graph.span(1, ONSET, 50.0, 60.0)
    (final,) = graph.finals(1)
    assert final.status == SKIPPED
    assert "No frame" in final.error
    assert graph.spoken == []


def test_a_model_that_fails_is_an_error_and_the_next_onset_works(graph):
    graph.start()
    for seconds in (0, 1):
        graph.frame(seconds, height=20, width=20)
    graph.until(lambda: graph.node._frames.count == 2)
    graph.span(1, ONSET, 0.0, 1.0)
    (failed,) = graph.finals(1)
    assert failed.status == ERROR
    assert "32" in failed.error
    graph.stream(10, 11)
    graph.span(2, ONSET, 10.5, 11.0)
    _, good = graph.finals(1, 2)
    assert good.status == OK


def test_frames_of_an_unknown_encoding_do_not_stop_the_node(graph):
    graph.start()
    message = Image(height=2, width=2, encoding="telepathy", step=2, data=array.array("B", bytes(4)))
    message.header.stamp = stamp(0)
    graph.frames.publish(message)
    graph.until(lambda: graph.node._frames.count == 1)
    graph.stream(1, 2)
    graph.span(1, ONSET, 1.0, 2.0)
    (final,) = graph.finals(1)
    assert final.status == OK


def test_a_bag_that_loops_starts_a_new_history(graph):
    graph.start()
    graph.stream(100, 101, 102)
    graph.stream(0, 1)
    graph.span(1, ONSET, 0.5, 1.0)
    (final,) = graph.finals(1)
    assert final.status == OK


def test_deactivation_answers_what_is_owed_and_a_second_round_works(graph):
    node = graph.start(max_new_tokens=4096)
    graph.stream(0, 1, 2)
    for span_id in (1, 2, 3):
        graph.span(span_id, ONSET, 1.0, 2.0, query=f"query {span_id}")
    graph.until(lambda: node._onsets == 3)
    node.trigger_deactivate()
    finals = graph.finals(1, 2, 3)
    assert [message.status for message in finals] == [SKIPPED] * 3
    assert all("deactivated" in message.error for message in finals)

    node.trigger_activate()
    graph.wait_until_connected()
    graph.stream(10, 11)
    # The spans are kept for late subscribers and come again: they must not be answered again.
    graph.span(4, ONSET, 10.5, 11.0)
    graph.until(lambda: node._onsets == 4)
    node.trigger_deactivate()
    finals = graph.finals(1, 2, 3, 4)
    assert sorted(message.span_id for message in finals) == [1, 2, 3, 4]


def test_cleanup_and_configure_again_works(graph):
    node = graph.start()
    for round_ in (1, 2):
        graph.stream(10 * round_, 10 * round_ + 1)
        graph.span(round_, ONSET, 10 * round_, 10 * round_ + 1)
        assert {m.span_id: m.status for m in graph.finals(round_)}[round_] == OK
        node.trigger_deactivate()
        node.trigger_cleanup()
        assert node.autostart()
        graph.wait_until_connected()


def test_a_model_that_is_missing_fails_configure_with_the_reason(graph):
    overrides = [Parameter("model", value="/nowhere/model")]
    graph.node = graph.add(ResponderNode(context=graph.context, parameter_overrides=overrides))
    assert not graph.node.autostart()
    assert "There is no model directory" in graph.node.last_error
    graph.node.set_parameters([Parameter("model", value=str(CHECKPOINT))])
    assert graph.node.autostart()


def test_while_disabled_onsets_are_skipped(graph):
    graph.start()
    assert graph.call(SetBool, "responder/enable", SetBool.Request(data=False)).success
    graph.span(1, ONSET, 0.0, 1.0)
    (final,) = graph.finals(1)
    assert (final.status, final.error) == (SKIPPED, "The responder is disabled.")
    assert graph.call(SetBool, "responder/enable", SetBool.Request(data=True)).success
    graph.stream(5, 6)
    graph.span(2, ONSET, 5.5, 6.0)
    assert graph.finals(1, 2)[-1].status == OK


def test_reset_forgets_frames_and_what_is_owed(graph):
    graph.start(max_new_tokens=4096)
    graph.stream(0, 1)
    graph.span(1, ONSET, 0.5, 1.0)
    graph.until(lambda: graph.node._onsets == 1)
    assert graph.call(Trigger, "responder/reset", Trigger.Request()).success
    (final,) = graph.finals(1)
    assert (final.status, "reset" in final.error) == (SKIPPED, True)
    assert len(graph.node._cache) == 0


@pytest.mark.parametrize("respond_on", ["onset", "offset", "both"])
def test_each_moment_gives_one_final_commentary(graph, respond_on):
    graph.start(respond_on=respond_on)
    graph.stream(0, 1, 2, 3)
    graph.span(1, ONSET, 1.0, 2.0)
    graph.span(1, UPDATE, 1.0, 3.0)
    graph.span(1, OFFSET, 1.0, 3.0)
    graph.finals(1)
    assert graph.node._scheduler.wait_idle(PATIENCE)
    graph.span(2, ONSET, 2.0, 3.0)
    graph.span(2, OFFSET, 2.0, 3.0)
    finals = graph.finals(1, 2)
    assert [(message.span_id, message.status) for message in finals] == [(1, OK), (2, OK)]
    graph.until(lambda: len(graph.spoken) == (4 if respond_on == "both" else 2))


def test_diagnostics_tell_the_figures(graph):
    graph.start()
    graph.stream(0, 1)
    graph.span(1, ONSET, 0.5, 1.0)
    graph.finals(1)

    def latest() -> dict[str, str]:
        statuses = [s for m in graph.status for s in m.status if "responder" in s.name]
        return {pair.key: pair.value for pair in statuses[-1].values} if statuses else {}

    graph.until(lambda: latest().get("answered") == "1")
    values = latest()
    assert values["model"] == CHECKPOINT.name
    assert float(values["first text (s)"]) > 0
    assert float(values["speed (tokens/s)"]) > 0
    assert values["queue"] == "0"
