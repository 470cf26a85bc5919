"""The activation node over DDS with a real, tiny checkpoint: contracts, lifecycle, time, bad input."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rcl_interfaces.msg import Log  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSProfile, QoSReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header, String  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402
from stride_ros.msg import ActivationSpan, ActivationWindow  # noqa: E402

from stride_ros.activation.identity import span_number  # noqa: E402
from stride_ros.imaging.images import image_to_rgb, rgb_to_compressed, rgb_to_image  # noqa: E402
from stride_ros.nodes.activation_node import ActivationNode  # noqa: E402
from stride_ros.nodes.messages import to_nanoseconds, to_time  # noqa: E402
from stride_ros.nodes.qos import FRAMES_QOS, SPAN_QOS, WINDOW_QOS  # noqa: E402

CHECKPOINT = str(Path(__file__).parents[1] / "golden" / "checkpoint_single")
ORIGIN = 1_700_000_000 * 10**9  # ns, a stamp of today's magnitude
SECOND = 10**9
PARAMETERS = {
    "model": CHECKPOINT,
    "device": "cpu",
    "query": "Tell me when it happens.",
    "unmasking_steps": 4,
    "trigger.min_confidence": 0.0,
}
ONSET, UPDATE, OFFSET, RETRACTED = 0, 1, 2, 3
DEEP = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)


def picture(index: int) -> np.ndarray:
    """A grey level for each index; with the golden checkpoint they make spans begin, move and end."""
    return np.full((48, 64, 3), (37 * index) % 256, np.uint8)


def image(index: int, stamp: int, rgb: np.ndarray | None = None) -> Image:
    header = Header(stamp=to_time(stamp), frame_id="camera")
    return rgb_to_image(picture(index) if rgb is None else rgb, header)


class Watched:
    """The node under test, what it publishes, and a camera."""

    def __init__(self, graph: Any, parameters: dict[str, Any] | None = None, **options: Any) -> None:
        self.graph = graph
        self.spans = graph.collect(ActivationSpan, "activation/span", SPAN_QOS)
        self.windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
        self.frames = graph.collect(Image, "frames", FRAMES_QOS)
        self.node = graph.host(ActivationNode, {**PARAMETERS, **(parameters or {})}, **options)

    def start(self, camera: bool = True) -> Watched:
        assert self.graph.transition("activation", "configure")
        assert self.graph.transition("activation", "activate")
        if camera:
            self.camera = self.graph.publisher(Image, "image", DEEP)
        return self

    def feed(self, message: Any) -> ActivationWindow:
        """Publish an image that is due and return the decision on it."""
        seen = len(self.windows)
        self.graph.send(self.camera, message, lambda: len(self.windows) > seen, "a decision")
        return self.windows[-1]

    def play(self, count: int, start: int = ORIGIN, first: int = 0) -> None:
        """Feed pictures at 1 FPS."""
        for i in range(count):
            self.feed(image(first + i, start + i * SECOND))

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        return self.graph.wait(condition, what)


@pytest.fixture
def watched(graph: Any) -> Watched:
    return Watched(graph).start()


def assert_contract(spans: list[ActivationSpan], *, closed: bool) -> None:
    """Per id: exactly one ONSET first, then UPDATEs, then exactly one OFFSET or RETRACTED (if closed)."""
    by_id: dict[int, list[ActivationSpan]] = {}
    for span in spans:
        by_id.setdefault(span.span_id, []).append(span)
        assert to_nanoseconds(span.start) <= to_nanoseconds(span.end)
        assert 0.0 <= span.confidence <= 1.0
        assert span.latency > 0
    for span_id, messages in by_id.items():
        states = [span.state for span in messages]
        assert states[0] == ONSET, span_id
        assert ONSET not in states[1:], span_id
        assert not {OFFSET, RETRACTED} & set(states[:-1]), span_id
        if closed:
            assert states[-1] in (OFFSET, RETRACTED), span_id
        assert len({(span.onset.sec, span.onset.nanosec) for span in messages}) == 1, span_id
        assert messages[0].onset == messages[0].header.stamp
    assert all(0 < span_id < 2**53 for span_id in by_id)
    assert len({span_id >> 21 for span_id in by_id}) <= 1, "one life of the node, one prefix"
    assert sorted(map(span_number, by_id)) == list(range(1, len(by_id) + 1)), "ids count from 1 without a gap"


def test_spans_windows_and_frames_keep_their_contracts(watched: Watched) -> None:
    watched.play(30)
    assert watched.graph.transition("activation", "deactivate")
    watched.wait(lambda: len(watched.frames) == 30, "all frames")
    states = {span.state for span in watched.spans}
    assert states == {ONSET, UPDATE, OFFSET, RETRACTED}, "the stream must exercise every state"
    assert_contract(watched.spans, closed=True)
    for i, (window, frame) in enumerate(zip(watched.windows, watched.frames, strict=True)):
        assert to_nanoseconds(window.header.stamp) == ORIGIN + i * SECOND
        assert window.header.frame_id == "camera"
        assert window.query == PARAMETERS["query"]
        assert len(window.labels) == len(window.probabilities) == 12
        unseen = [label == ActivationWindow.UNSEEN for label in window.labels]
        assert unseen == [slot < 11 - i for slot in range(12)]
        assert window.resolution == 1.0
        assert window.steps >= 1
        assert window.inference_time > 0
        assert np.array_equal(image_to_rgb(frame), picture(i))
        assert (window.watch, window.camera) == ("query", "")
    for span in watched.spans:
        assert (span.watch, span.camera, span.respond) == ("query", "", True)
        assert span.model == Path(str(PARAMETERS["model"])).name
        assert span.header.frame_id == "camera"
        assert to_nanoseconds(span.start) >= ORIGIN  # also where the model's first slot begins before it
        assert to_nanoseconds(span.end) <= to_nanoseconds(span.header.stamp)


def test_decisions_equal_those_of_a_session_on_the_same_frames(watched: Watched) -> None:
    from stride_ros.activation.config import ActivationConfig, TriggerConfig
    from stride_ros.activation.model import ActivationModel
    from stride_ros.activation.session import ActivationSession

    watched.play(12)
    config = ActivationConfig(unmasking_steps=4, trigger=TriggerConfig(min_confidence=0.0))
    session = ActivationSession(ActivationModel.load(CHECKPOINT), str(PARAMETERS["query"]), config)
    expected = [session.push(picture(i), float(i)) for i in range(12)]
    assert [list(window.labels) for window in watched.windows] == [list(update.labels) for update in expected]
    events = [(event.span_id, int(event.state)) for update in expected for event in update.events]
    watched.wait(lambda: len(watched.spans) == len(events), "all spans")
    assert [(span_number(span.span_id), span.state) for span in watched.spans] == events


def test_fast_camera_is_sampled_at_one_frame_a_second(watched: Watched) -> None:
    for i in range(61):
        if i % 10 == 0:
            watched.feed(image(i // 10, ORIGIN + i * SECOND // 10))
        else:
            watched.camera.publish(image(99, ORIGIN + i * SECOND // 10))
    stamps = [to_nanoseconds(window.header.stamp) - ORIGIN for window in watched.windows]
    assert stamps == [i * SECOND for i in range(7)]


def test_late_listener_sees_the_last_span(watched: Watched) -> None:
    watched.play(8)
    late = watched.graph.collect(ActivationSpan, "activation/span", SPAN_QOS)
    watched.wait(lambda: len(late) >= len(watched.spans) > 0, "the spans of before")


def test_frames_pass_unchanged_and_compressed_ones_decoded(graph: Any) -> None:
    watched = Watched(graph, {"image_transport": "compressed"}).start(camera=False)
    watched.camera = graph.publisher(CompressedImage, "image/compressed", DEEP)
    header = Header(stamp=to_time(ORIGIN), frame_id="front")
    watched.feed(rgb_to_compressed(picture(3), header))
    frame = watched.wait(lambda: watched.frames, "the frame")[0]
    assert frame.encoding == "rgb8"
    assert frame.header == header
    assert np.abs(image_to_rgb(frame).astype(int) - picture(3)).max() <= 3


def test_raw_frames_keep_their_encoding_and_padding(watched: Watched) -> None:
    message = image(1, ORIGIN)
    message.encoding = "bgr8"
    watched.feed(message)
    frame = watched.wait(lambda: watched.frames, "the frame")[0]
    assert frame == message


@pytest.mark.parametrize(
    "change",
    [
        {"encoding": "hal9000"},
        {"encoding": "16UC1"},
        {"encoding": ""},
        {"width": 0, "height": 0},
        {"height": 49},
        {"step": 3},
    ],
    ids=str,
)
def test_bad_image_is_skipped_and_the_next_good_one_used(watched: Watched, change: dict[str, Any]) -> None:
    watched.feed(image(0, ORIGIN))
    bad = image(1, ORIGIN + SECOND)
    for field, value in change.items():
        setattr(bad, field, value)
    watched.camera.publish(bad)
    watched.wait(lambda: watched.node.last_error, "the error")
    watched.feed(image(2, ORIGIN + 2 * SECOND))
    assert len(watched.windows) == 2


def test_too_small_image_is_skipped(watched: Watched) -> None:
    watched.camera.publish(image(0, ORIGIN, np.zeros((48, 16, 3), np.uint8)))
    watched.wait(lambda: "32" in watched.node.last_error, "the error about 32 px")
    watched.feed(image(0, ORIGIN + SECOND))


@pytest.mark.parametrize("stamp", [0, -5 * SECOND], ids=["zero", "before 1970"])
def test_images_without_a_stamp_use_the_receive_time_with_one_warning(watched: Watched, stamp: int) -> None:
    logs = watched.graph.collect(Log, "/rosout", QoSProfile(depth=1000))
    watched.wait(lambda: watched.node.count_subscribers("/rosout"), "the log")
    assert watched.node.set_parameters([Parameter("rate", value=10.0)])[0].successful
    for i in range(3):
        before = watched.node.get_clock().now().nanoseconds
        window = watched.feed(image(i, stamp))
        assert before < to_nanoseconds(window.header.stamp) <= watched.node.get_clock().now().nanoseconds

        def matching(stamp: Any = window.header.stamp) -> bool:
            return any(frame.header.stamp == stamp for frame in watched.frames)

        watched.wait(matching, "the frame: the responder matches frames and spans by stamp")
    assert watched.graph.call(Trigger, "/activation/reset").success
    watched.wait(lambda: any("a reset was requested" in log.msg for log in logs), "a later line of the log")
    assert sum("was used" in log.msg for log in logs) == 1


def test_time_that_goes_back_starts_anew(watched: Watched) -> None:
    watched.play(8)
    onsets = {span.span_id for span in watched.spans}
    assert onsets
    window = watched.feed(image(0, ORIGIN - 100 * SECOND))
    assert list(window.labels).count(ActivationWindow.UNSEEN) == 11, "nothing of before is in view"
    watched.play(7, ORIGIN - 99 * SECOND, first=1)
    assert_contract(watched.spans, closed=False)
    assert max(span.span_id for span in watched.spans) > max(onsets), "ids go on"


def test_duplicate_and_late_images_change_nothing(watched: Watched) -> None:
    watched.feed(image(0, ORIGIN))
    watched.camera.publish(image(1, ORIGIN))
    watched.camera.publish(image(1, ORIGIN - SECOND // 10))
    watched.feed(image(1, ORIGIN + SECOND))
    stamps = [to_nanoseconds(window.header.stamp) - ORIGIN for window in watched.windows]
    assert stamps == [0, SECOND]


def test_hour_long_gap_starts_anew(watched: Watched) -> None:
    watched.play(7)
    window = watched.feed(image(0, ORIGIN + 3600 * SECOND))
    assert list(window.labels).count(ActivationWindow.UNSEEN) == 11
    assert_contract(watched.spans, closed=True)


def test_walk_through_the_lifecycle_twice(graph: Any) -> None:
    watched = Watched(graph)
    camera = None
    for round_ in range(2):
        assert graph.transition("activation", "configure")
        for _ in range(2):
            assert graph.transition("activation", "activate")
            watched.camera = camera = camera or graph.publisher(Image, "image", DEEP)
            graph.wait(lambda c=camera: c.get_subscription_count() == 1, "one subscription")
            seen = len(watched.windows)
            watched.play(8)
            assert len(watched.windows) == seen + 8, "one decision a frame, none twice"
            assert graph.transition("activation", "deactivate")
            graph.wait(lambda c=camera: c.get_subscription_count() == 0, "no subscription")
        assert graph.transition("activation", "cleanup")
        assert watched.node._configured is None
        assert graph.state("activation") == "unconfigured", round_
    assert_contract(watched.spans, closed=True)
    assert graph.transition("activation", "shutdown")


def test_failed_configure_says_why_and_can_be_repeated(graph: Any, tmp_path: Path) -> None:
    watched = Watched(graph, {"model": str(tmp_path / "missing")})
    assert not graph.transition("activation", "configure")
    assert graph.state("activation") == "unconfigured"
    assert "missing" in watched.node.last_error
    assert watched.node.set_parameters([Parameter("model", value=CHECKPOINT)])[0].successful
    watched.start().feed(image(0, ORIGIN))


def test_model_cannot_change_while_configured(watched: Watched) -> None:
    result = watched.node.set_parameters([Parameter("model", value="other")])[0]
    assert not result.successful
    assert "configure" in result.reason


def test_query_by_parameter_and_topic(watched: Watched) -> None:
    watched.play(7)
    assert {span.span_id for span in watched.spans}
    assert watched.node.set_parameters([Parameter("query", value="Tell me when a dog runs.")])[0].successful
    window = watched.feed(image(7, ORIGIN + 7 * SECOND))
    assert window.query == "Tell me when a dog runs."
    assert list(window.labels).count(ActivationWindow.UNSEEN) == 11, "another question is a new stream"
    assert_contract(watched.spans, closed=True)
    topic = watched.graph.publisher(String, "query")
    topic.publish(String(data="Tell me when the cup falls."))
    watched.wait(lambda: watched.node.parameters["query"] == "Tell me when the cup falls.", "the new query")
    assert watched.feed(image(8, ORIGIN + 8 * SECOND)).query == "Tell me when the cup falls."
    topic.publish(String(data="   "))
    topic.publish(String(data="Tell me when it rains."))
    watched.wait(
        lambda: watched.node.parameters["query"] == "Tell me when it rains.", "the query after the empty one"
    )


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("query", "", "query is empty"),
        ("query", "x" * 2000, "at most"),
        ("query", "What is <active> here", "special tokens"),
        ("trigger.min_active_seconds", 30.0, "window covers"),
        ("unmasking_steps", 0, "range"),
        ("span_mode", "blob", "one of hull, runs"),
    ],
)
def test_live_changes_are_refused_with_a_reason(watched: Watched, name: str, value: Any, reason: str) -> None:
    result = watched.node.set_parameters([Parameter(name, value=value)])[0]
    assert not result.successful
    assert reason in result.reason


def test_thresholds_and_steps_apply_at_the_next_decision(watched: Watched) -> None:
    watched.feed(image(0, ORIGIN))
    watched.node.set_parameters([Parameter("retention", value=False), Parameter("unmasking_steps", value=2)])
    assert watched.feed(image(1, ORIGIN + SECOND)).steps == 2
    watched.node.set_parameters([Parameter("unmasking_steps", value=1)])
    assert watched.feed(image(2, ORIGIN + 2 * SECOND)).steps == 1


def test_enable_and_reset(watched: Watched) -> None:
    watched.play(7)
    assert watched.graph.call(SetBool, "/activation/enable", data=False).success
    watched.wait(lambda: watched.spans[-1].state in (OFFSET, RETRACTED), "the end of the open span")
    watched.camera.publish(image(8, ORIGIN + 8 * SECOND))
    assert watched.graph.call(SetBool, "/activation/enable", data=True).success
    window = watched.feed(image(9, ORIGIN + 9 * SECOND))
    assert to_nanoseconds(window.header.stamp) == ORIGIN + 9 * SECOND, "nothing was decided while disabled"
    assert list(window.labels).count(ActivationWindow.UNSEEN) == 11
    watched.feed(image(10, ORIGIN + 10 * SECOND))
    assert watched.graph.call(Trigger, "/activation/reset").success
    window = watched.feed(image(11, ORIGIN + 10 * SECOND + SECOND // 2))
    assert list(window.labels).count(ActivationWindow.UNSEEN) == 11


def test_debug_image_is_drawn_only_for_subscribers(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    from stride_ros.nodes import debug_view

    drawn: list[Any] = []
    real = debug_view.draw
    monkeypatch.setattr(debug_view, "draw", lambda *args: drawn.append(args) or real(*args))
    watched.feed(image(0, ORIGIN))
    assert not drawn
    pictures = watched.graph.collect(Image, "activation/image", DEEP)
    watched.wait(lambda: watched.node.count_subscribers("activation/image") == 1, "the subscription")
    watched.feed(image(1, ORIGIN + SECOND))
    debug = watched.wait(lambda: pictures, "the debug image")[0]
    assert len(drawn) == 1
    assert to_nanoseconds(debug.header.stamp) == ORIGIN + SECOND
    assert debug.width >= 480


def test_compressed_frames_are_converted_only_for_subscribers(
    graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stride_ros.nodes import activation_output

    built: list[Any] = []
    real = activation_output.rgb_to_image
    monkeypatch.setattr(activation_output, "rgb_to_image", lambda *args: built.append(args) or real(*args))
    windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
    graph.host(ActivationNode, {**PARAMETERS, "image_transport": "compressed"})
    assert graph.transition("activation", "configure")
    assert graph.transition("activation", "activate")
    camera = graph.publisher(CompressedImage, "image/compressed", DEEP)

    def feed(index: int) -> None:
        header = Header(stamp=to_time(ORIGIN + index * SECOND), frame_id="camera")
        message = rgb_to_compressed(picture(index), header)
        graph.send(camera, message, lambda: len(windows) > index, "a decision")

    feed(0)
    assert not built
    frames = graph.collect(Image, "frames", FRAMES_QOS)
    graph.wait(lambda: graph.observer.count_subscribers("frames") == 1, "the subscription")
    feed(1)
    frame = graph.wait(lambda: frames, "the frame")[0]
    assert len(built) == 1
    assert to_nanoseconds(frame.header.stamp) == ORIGIN + SECOND
    assert frame.encoding == "rgb8"


def test_decode_that_takes_long_is_told_while_it_does(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stride_ros.nodes import image_input

    arrays = watched.graph.collect(DiagnosticArray, "/diagnostics")
    go_on, real = threading.Event(), image_input.image_to_rgb
    monkeypatch.setattr(image_input, "image_to_rgb", lambda message: go_on.wait(60) and real(message))
    watched.camera.publish(image(0, ORIGIN))

    def told() -> bool:
        return any("decoding an image takes" in array.status[0].message for array in arrays)

    watched.wait(told, "the reason")
    assert not watched.windows
    go_on.set()
    watched.wait(lambda: watched.windows, "the decision")


def test_silence_warning_names_the_topic_and_the_mismatch(graph: Any, caplog: Any) -> None:
    logs = graph.collect(Log, "/rosout", QoSProfile(depth=1000))
    graph.observer.create_publisher(
        Image, "image", QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
    )
    reliable = {"qos_overrides./image.subscription.reliability": "reliable"}
    Watched(graph, {"image_timeout": 0.1, **reliable}).start(camera=False)

    def warning() -> Any:
        return next((log.msg for log in logs if "No images on /image" in log.msg), None)

    message = graph.wait(warning, "the warning")
    assert "/observer offers an incompatible QoS" in message
    assert "qos_overrides./image.subscription" in message


def test_silence_warning_when_nobody_publishes(graph: Any) -> None:
    logs = graph.collect(Log, "/rosout", QoSProfile(depth=1000))
    Watched(graph, {"image_timeout": 0.1}).start(camera=False)
    graph.wait(lambda: any("it has no publishers" in log.msg for log in logs), "the warning")


def test_a_rate_that_does_not_fit_the_slots_is_reported_at_once_and_when_it_changes(graph: Any) -> None:
    logs = graph.collect(Log, "/rosout", QoSProfile(depth=1000))
    graph.collect(DiagnosticArray, "/diagnostics")
    watched = Watched(graph, {"rate": 0.5}).start(camera=False)
    graph.wait(lambda: any("only 50% of them have one; use rate: 1" in log.msg for log in logs), "a warning")
    (result,) = graph.in_executor(lambda: watched.node.set_parameters([Parameter("rate", value=4.0)]))
    assert result.successful
    graph.wait(lambda: any("each has 4; use rate: 1" in log.msg for log in logs), "another warning")


def test_failing_model_is_told_and_the_node_recovers(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full GPU raises in the middle of a decision: the stream restarts, no span stays open."""
    from stride_ros.activation.engine import ActivationEngine

    watched.play(7)
    real = ActivationEngine.push

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("out of memory (simulated)")

    monkeypatch.setattr(ActivationEngine, "push", full)
    watched.camera.publish(image(7, ORIGIN + 7 * SECOND))
    watched.wait(lambda: "simulated" in watched.node.last_error, "the error")
    monkeypatch.setattr(ActivationEngine, "push", real)
    window = watched.feed(image(8, ORIGIN + 8 * SECOND))
    assert list(window.labels).count(ActivationWindow.UNSEEN) == 11
    assert_contract(watched.spans, closed=True)


def test_diagnostics_report_state_and_errors(watched: Watched, documented_values: Any) -> None:
    arrays = watched.graph.collect(DiagnosticArray, "/diagnostics")
    watched.feed(image(0, ORIGIN))
    bad = image(1, ORIGIN + SECOND)
    bad.encoding = "hal9000"
    watched.camera.publish(bad)

    def status() -> Any:
        for array in arrays:
            for status in array.status:
                values = {value.key: value.value for value in status.values}
                if values["rejected"] == "1":
                    return status, values
        return None

    found, values = watched.wait(status, "the rejection")
    assert found.name == "activation: status"
    assert found.level == b"\x01"
    assert "hal9000" in found.message
    assert values["decisions"] == "1"
    assert values["model"] == CHECKPOINT
    assert values["device"] == "cpu"
    assert float(values["tick (ms)"]) > 0
    assert values["context (frames)"] == "1 of 128"
    assert float(values["process memory (MB)"]) > 10
    assert set(values) == documented_values("activation")


def test_the_threads_parameter_reaches_the_worker_and_the_status(
    graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from stride_ros.activation.engine import ActivationEngine

    found = []
    real = ActivationEngine.push

    def push(self: Any, *frame: Any) -> Any:
        updates = real(self, *frame)
        found.append(torch.get_num_threads())
        return updates

    monkeypatch.setattr(ActivationEngine, "push", push)
    watched = Watched(graph, {"threads": 2}).start()
    arrays = graph.collect(DiagnosticArray, "/diagnostics")
    watched.feed(image(0, ORIGIN))
    assert found == [2]
    values = {value.key: value.value for value in graph.wait(lambda: arrays, "a status")[-1].status[0].values}
    assert values["threads"] == "2"
