"""Several queries on one stream over DDS: spans, windows, live changes, refusals, and the memory used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Log
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from stride_ros.msg import ActivationSpan, ActivationWindow

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.identity import span_number
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.session import ActivationSession
from stride_ros.imaging.images import rgb_to_image
from stride_ros.nodes.activation_node import ActivationNode
from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import SPAN_QOS, WINDOW_QOS

ROOT = Path(__file__).parents[2]
CHECKPOINT = str(ROOT / "test" / "golden" / "checkpoint_single")
ORIGIN = 1_700_000_000 * 10**9  # ns
SECOND = 10**9
THIS, THAT, RAIN = "Say when it happens.", "Tell me when they come.", "Tell me when it rains."
ONE = {"model": CHECKPOINT, "device": "cpu", "unmasking_steps": 4, "trigger.min_confidence": 0.0}
TWO = {**ONE, "queries": [THIS, THAT]}
CONFIG = ActivationConfig(unmasking_steps=4, trigger=TriggerConfig(min_confidence=0.0))
RELIABLE = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
ENDS = (ActivationSpan.OFFSET, ActivationSpan.RETRACTED)


def grey(index: int) -> np.ndarray:
    """With the golden checkpoint these make spans begin, move and end."""
    return np.full((48, 64, 3), (37 * index) % 256, np.uint8)


class Watcher:
    """An active node, what it publishes, and a camera at 1 FPS."""

    def __init__(self, graph: Any, parameters: dict[str, Any]) -> None:
        self.graph = graph
        self.spans = graph.collect(ActivationSpan, "activation/span", SPAN_QOS)
        self.windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
        self.node = graph.host(ActivationNode, parameters)
        assert graph.transition("activation", "configure")
        assert graph.transition("activation", "activate")
        self.camera = graph.publisher(Image, "image", RELIABLE)
        self.sent = 0

    def play(self, count: int, queries: int = 2) -> list[ActivationWindow]:
        """Feed this many frames; return the windows decided on them."""
        begin = len(self.windows)
        for _ in range(count):
            wanted = len(self.windows) + queries
            message = rgb_to_image(grey(self.sent), Header(stamp=to_time(ORIGIN + self.sent * SECOND)))
            self.graph.send(self.camera, message, lambda n=wanted: len(self.windows) >= n, "all windows")
            self.sent += 1
        return self.windows[begin:]

    def spans_of(self, query: str, count: int) -> list[ActivationSpan]:
        """This many span messages of the query, as soon as they are there."""

        def found() -> list[ActivationSpan]:
            return [span for span in self.spans if span.query == query]

        self.graph.wait(lambda: len(found()) == count, f"{count} spans of {query}")
        return found()

    def set(self, name: str, value: Any) -> Any:
        return self.node.set_parameters([Parameter(name, value=value)])[0]

    def open_ids(self) -> set[int]:
        """Ids of the spans that have begun and not ended."""
        return {span.span_id for span in self.spans} - {
            span.span_id for span in self.spans if span.state in ENDS
        }


@pytest.fixture
def watcher(graph: Any) -> Watcher:
    return Watcher(graph, TWO)


def test_each_query_decides_as_it_would_alone(watcher: Watcher) -> None:
    watcher.play(12)
    model = ActivationModel.load(CHECKPOINT)
    for query in (THIS, THAT):
        session = ActivationSession(model, query, CONFIG)
        expected = [session.push(grey(i), float(i)) for i in range(12)]
        events = [(event.state, event.start) for update in expected for event in update.events]
        assert events, "the stream must have spans"
        spans = watcher.spans_of(query, len(events))
        windows = [window for window in watcher.windows if window.query == query]
        assert [list(window.labels) for window in windows] == [list(update.labels) for update in expected]
        for window, update in zip(windows, expected, strict=True):
            assert np.allclose(window.probabilities, update.probabilities, atol=1e-4)
        starts = [span.start.sec + span.start.nanosec / 1e9 - ORIGIN / 1e9 for span in spans]
        assert [span.state for span in spans] == [state for state, _ in events]
        assert starts == pytest.approx([start for _, start in events], abs=1e-3)
    owners: dict[int, set[str]] = {}
    for span in watcher.spans:
        owners.setdefault(span.span_id, set()).add(span.query)
    assert all(len(queries) == 1 for queries in owners.values()), "an id belongs to one query"
    assert sorted(map(span_number, owners)) == list(range(1, len(owners) + 1)), "ids count from 1"
    watches = {(span.query, span.watch) for span in watcher.spans} | {
        (window.query, window.watch) for window in watcher.windows
    }
    assert watches == {(THIS, "query_1"), (THAT, "query_2")}


def test_frames_are_encoded_once_for_all_queries(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded, real = [], ActivationModel.encode
    monkeypatch.setattr(ActivationModel, "encode", lambda *args: encoded.append(args) or real(*args))
    watcher.play(4)
    assert len(encoded) == 4


def test_queries_change_live_and_end_what_is_open(watcher: Watcher) -> None:
    watcher.play(7)
    known = {span.span_id for span in watcher.spans}
    assert known
    assert watcher.set("queries", [THAT, RAIN, THIS]).successful
    windows = watcher.play(1, queries=3)
    assert [window.query for window in windows] == [THAT, RAIN, THIS]
    for window in windows:
        assert list(window.labels).count(ActivationWindow.UNSEEN) == 11, "other queries are a new stream"
    fresh = {span.span_id for span in watcher.spans} - known
    watcher.graph.wait(lambda: watcher.open_ids() <= fresh, "the end of what was open")
    watcher.play(7, queries=3)
    assert max(span.span_id for span in watcher.spans) > max(known), "ids go on"


def test_no_queries_and_the_query_topic_mean_one_query(watcher: Watcher) -> None:
    assert watcher.set("query", RAIN).successful
    assert {window.query for window in watcher.play(1)} == {THIS, THAT}, "queries count while there are any"
    assert watcher.set("queries", [""]).successful
    assert [window.query for window in watcher.play(2, queries=1)] == [RAIN, RAIN]
    assert watcher.set("queries", [THIS, THAT]).successful
    topic = watcher.graph.publisher(String, "query")
    topic.publish(String(data=" "))  # refused: changes nothing
    topic.publish(String(data=THIS))
    watcher.graph.wait(lambda: watcher.node.parameters["query"] == THIS, "the query of the topic")
    assert watcher.node.parameters["queries"] == ()
    assert [window.query for window in watcher.play(2, queries=1)] == [THIS, THIS]


@pytest.mark.parametrize(
    ("queries", "reason"),
    [
        ([THIS, ""], "Query 2 in queries is empty"),
        (["  ", THIS], "Query 1 in queries is empty"),
        (["", ""], "Query 1 in queries is empty"),
        ([THIS, THAT, THIS], "listed twice"),
        ([THIS, "x" * 2000], "Query 2 in queries has 2000 characters; use at most"),
        ([THIS, "What is <active> here"], "special tokens"),
        ([1, 2], "type"),
        (THIS, "type"),
    ],
)
def test_bad_queries_are_refused_with_a_reason(watcher: Watcher, queries: Any, reason: str) -> None:
    result = watcher.set("queries", queries)
    assert not result.successful
    assert reason in result.reason
    assert watcher.node.parameters["queries"] == (THIS, THAT)


def test_bad_queries_at_the_start_are_a_config_error(graph: Any) -> None:
    from stride_ros.errors import QueryError

    with pytest.raises(QueryError, match="listed twice"):
        graph.host(ActivationNode, {**ONE, "queries": [THIS, THIS]})


def test_debug_image_shows_all_queries(watcher: Watcher) -> None:
    pictures = watcher.graph.collect(Image, "activation/image", RELIABLE)
    watcher.graph.wait(lambda: watcher.node.count_subscribers("activation/image") == 1, "the subscription")
    watcher.play(1)
    both = watcher.graph.wait(lambda: pictures, "the picture")[0]
    assert watcher.set("queries", [THIS]).successful
    watcher.play(1, queries=1)
    alone = watcher.graph.wait(lambda: pictures[1:], "the next picture")[0]
    assert both.height == 2 * alone.height
    assert both.width == alone.width


def test_memory_is_bounded_and_the_bound_is_told(graph: Any) -> None:
    logs = graph.collect(Log, "/rosout", QoSProfile(depth=1000))
    arrays = graph.collect(DiagnosticArray, "/diagnostics")
    watcher = Watcher(graph, TWO)
    watcher.play(3)
    limits = {
        count: ActivationEngine(ActivationModel.load(CHECKPOINT), CONFIG).memory_for((48, 64), queries) / 1e6
        for count, queries in ((1, [THIS]), (2, [THIS, THAT]))
    }
    assert limits[1] < limits[2]

    def values(limit: float) -> dict[str, str] | None:
        for array in arrays:
            for status in array.status:
                found = {value.key: value.value for value in status.values}
                if found.get("stream memory limit (MB)") == f"{limit:.3f}":
                    return found
        return None

    both = graph.wait(lambda: values(limits[2]), "the bound for two queries")
    assert 0 < float(both["stream memory (MB)"]) <= limits[2]
    assert both["query"] == f"{THIS}; {THAT}"
    assert watcher.set("queries", [THIS]).successful
    watcher.play(1, queries=1)
    graph.wait(lambda: values(limits[1]), "the bound for one query")

    def sentences() -> list[str]:
        return [log.msg for log in logs if "takes at most" in log.msg]

    told = graph.wait(lambda: len(sentences()) == 2 and sentences(), "both bounds in the log")
    assert f"{limits[2]:.1f} MB" in told[0]
    assert f"{limits[1]:.1f} MB" in told[1]
    assert "images of 64x48, 2 queries and 128 frames" in told[0]


def test_the_shipped_parameter_file_starts_a_process(graph: Any, processes: Any) -> None:
    """As a user starts it: the file, and the checkpoint on the command line; one query is watched."""
    windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
    file = str(ROOT / "config" / "stride.yaml")
    given = ("-p", f"model:={CHECKPOINT}", "-p", "device:=cpu")
    processes.start("activation_node", "--ros-args", "--params-file", file, *given)
    camera = graph.publisher(Image, "image", RELIABLE)
    message = rgb_to_image(grey(0), Header(stamp=to_time(ORIGIN)))
    graph.send(camera, message, lambda: windows, "a decision")
    assert windows[0].query == "Tell me when a person is in view."
