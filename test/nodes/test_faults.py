"""The fault table: what breaks around the activation node, and what the graph sees of it."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSProfile, QoSReliabilityPolicy  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from stride_ros.msg import ActivationSpan, ActivationWindow  # noqa: E402

from stride_ros.activation.identity import span_number  # noqa: E402
from stride_ros.imaging.images import rgb_to_image  # noqa: E402
from stride_ros.nodes.activation_node import ActivationNode  # noqa: E402
from stride_ros.nodes.messages import to_nanoseconds, to_time  # noqa: E402
from stride_ros.nodes.qos import SPAN_QOS, WINDOW_QOS  # noqa: E402

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint_single"
ORIGIN = 1_700_000_000 * 10**9  # ns
SECOND = 10**9
UNSEEN = ActivationWindow.UNSEEN
PARAMETERS = {
    "model": str(CHECKPOINT),
    "device": "cpu",
    "query": "Tell me when it happens.",
    "unmasking_steps": 4,
    "trigger.min_confidence": 0.0,
}
DEEP = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)


def picture(index: int, stamp: int) -> Image:
    """A grey level for each index; with the golden checkpoint they make spans begin, move and end."""
    rgb = np.full((48, 64, 3), (37 * index) % 256, np.uint8)
    return rgb_to_image(rgb, Header(stamp=to_time(stamp), frame_id="camera"))


class Bench:
    """An observer with a camera and the activation topics of one namespace."""

    def __init__(self, graph: Any, namespace: str = "") -> None:
        self.graph, self.namespace = graph, namespace
        self.windows = graph.collect(ActivationWindow, f"{namespace}/activation/window", WINDOW_QOS)
        self.spans = graph.collect(ActivationSpan, f"{namespace}/activation/span", SPAN_QOS)
        self.camera: Any = None

    def host(self, **parameters: Any) -> ActivationNode:
        node = self.graph.host(ActivationNode, {**PARAMETERS, **parameters}, namespace=self.namespace or None)
        assert self.graph.transition(f"{self.namespace}/activation".lstrip("/"), "configure")
        assert self.graph.transition(f"{self.namespace}/activation".lstrip("/"), "activate")
        return node

    def connect(self) -> None:
        self.camera = self.graph.publisher(Image, f"{self.namespace}/image", DEEP)

    def feed(self, index: int, stamp: int) -> ActivationWindow:
        seen = len(self.windows)
        message = picture(index, stamp)
        self.graph.send(self.camera, message, lambda: len(self.windows) > seen, "a decision")
        return self.windows[-1]

    def play(self, count: int, start: int = ORIGIN) -> None:
        for i in range(count):
            self.feed(i, start + i * SECOND)

    def open_ids(self) -> set[int]:
        """Spans that were published and have not ended."""
        latest = {span.span_id: span.state for span in self.spans}
        return {i for i, state in latest.items() if state in (ActivationSpan.ONSET, ActivationSpan.UPDATE)}


@pytest.fixture
def bench(graph: Any) -> Bench:
    return Bench(graph)


def test_camera_dies_and_returns(bench: Bench) -> None:
    bench.host()
    bench.connect()
    bench.play(7)
    bench.graph.destroy_publisher(bench.camera)
    bench.connect()
    window = bench.feed(7, ORIGIN + 7 * SECOND)
    assert list(window.labels).count(UNSEEN) == 12 - 8, "a short absence loses nothing"


def test_camera_that_hangs_is_told_and_its_return_too(graph: Any, processes: Any, bench: Bench) -> None:
    """A stopped process is still known to DDS, but silent."""
    arrays = graph.collect(DiagnosticArray, "/diagnostics")
    bench.host(image_timeout=0.3, rate=10.0)
    camera = processes.start(
        "camera_node",
        *("--ros-args", "-p", "rate:=10.0", "-p", "width:=64", "-p", "height:=48", "-p", "loop:=true"),
    )
    graph.wait(lambda: len(bench.windows) > 3, "decisions")
    camera.send_signal(signal.SIGSTOP)
    arrays.clear()
    graph.wait(lambda: any("no images" in a.status[0].message for a in arrays), "the silence to be told")
    seen = len(bench.windows)
    camera.send_signal(signal.SIGCONT)
    arrays.clear()
    graph.wait(lambda: len(bench.windows) > seen + 3, "decisions to go on")
    graph.wait(lambda: any("no images" not in a.status[0].message for a in arrays), "the recovery to be told")


def test_killed_node_does_not_continue_its_span(graph: Any, processes: Any, bench: Bench) -> None:
    """Ids and spans belong to one run of the node: the new run starts with an ONSET of its own."""
    arguments = ["--ros-args"]
    for name, value in PARAMETERS.items():
        arguments += ["-p", f"{name}:={value}"]
    first = processes.start("activation_node", *arguments)
    bench.connect()
    bench.play(8)
    graph.wait(bench.open_ids, "an open span")
    first.send_signal(signal.SIGKILL)
    first.wait(20)
    old = bench.spans[0].span_id >> 21
    bench.spans.clear()
    bench.windows.clear()
    processes.start("activation_node", *arguments)
    again = picture(0, ORIGIN + 20 * SECOND)
    # DDS takes the dead node for alive until its lease ends, so matching tells nothing.
    graph.send(bench.camera, again, lambda: bench.windows, "the node to be back")
    assert list(bench.windows[0].labels).count(UNSEEN) == 11
    bench.play(8, ORIGIN + 21 * SECOND)
    fresh = graph.wait(lambda: bench.spans, "a span of the new run")[0]
    assert (span_number(fresh.span_id), fresh.state) == (1, ActivationSpan.ONSET)
    assert fresh.span_id >> 21 not in (0, old), "the ids tell one life of a node from another"
    assert to_nanoseconds(fresh.start) >= ORIGIN + 19 * SECOND


def test_model_directory_removed(graph: Any, bench: Bench, tmp_path: Path) -> None:
    """A loaded model needs its files no more; configuring again without them fails with the reason."""
    model = tmp_path / "model"
    shutil.copytree(CHECKPOINT, model)
    node = bench.host(model=str(model))
    bench.connect()
    bench.feed(0, ORIGIN)
    shutil.rmtree(model)
    bench.feed(1, ORIGIN + SECOND)
    assert graph.transition("activation", "deactivate")
    assert graph.transition("activation", "cleanup")
    assert not graph.transition("activation", "configure")
    assert graph.state("activation") == "unconfigured"
    assert str(model) in node.last_error


def test_full_gpu_while_loading(graph: Any, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from stride_ros.activation.model import ActivationModel

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("out of memory (simulated)")

    monkeypatch.setattr(ActivationModel, "load", full)
    node = graph.host(ActivationNode, PARAMETERS)
    assert not graph.transition("activation", "configure")
    assert "simulated" in node.last_error
    monkeypatch.undo()
    assert graph.transition("activation", "configure")


def test_broken_session_ends_its_span_and_is_replaced(
    graph: Any, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error nothing of the session is trusted; ids go on in the new one."""
    from stride_ros.activation.engine import ActivationEngine
    from stride_ros.activation.stream import Stream

    bench.host()
    bench.connect()
    bench.play(8)
    graph.wait(bench.open_ids, "an open span")
    known = max(span.span_id for span in bench.spans)

    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(ActivationEngine, "push", broken)
    monkeypatch.setattr(Stream, "reset", broken)
    bench.camera.publish(picture(8, ORIGIN + 8 * SECOND))
    graph.wait(lambda: not bench.open_ids(), "the end of the open span")
    monkeypatch.undo()
    bench.play(8, ORIGIN + 10 * SECOND)
    graph.wait(lambda: max(span.span_id for span in bench.spans) > known, "a span of the new session")
    first = next(span for span in bench.spans if span.span_id == known + 1)
    assert first.state == ActivationSpan.ONSET


def test_two_cameras_by_namespaces(graph: Any) -> None:
    front, rear = Bench(graph, "/front"), Bench(graph, "/rear")
    for bench in (front, rear):
        bench.host()
        bench.connect()
    front.play(3)
    rear.play(2)
    assert (len(front.windows), len(rear.windows)) == (3, 2)


def test_sim_time_that_starts_late_and_jumps_back(graph: Any, bench: Bench) -> None:
    """Images without stamps under /clock: nothing before it starts, then its time, a jump restarts."""
    node = bench.host(use_sim_time=True)
    bench.connect()
    bench.camera.publish(picture(0, 0))
    graph.wait(lambda: node.cameras[""].input.received.count == 1, "the image")
    assert not bench.windows, "there is no time yet"
    clock = graph.publisher(Clock, "/clock")

    def set_clock(seconds: int) -> None:
        clock.publish(Clock(clock=to_time(seconds * SECOND)))
        graph.wait(lambda: node.get_clock().now().nanoseconds == seconds * SECOND, "the clock")

    for second in range(100, 108):
        set_clock(second)
        window = bench.feed(second - 100, 0)
        assert to_nanoseconds(window.header.stamp) == second * SECOND
    bench.camera.publish(picture(8, 0))  # the clock stands: the same time again
    graph.wait(lambda: node.cameras[""].input.out_of_order == 1, "the duplicate")
    set_clock(50)
    window = bench.feed(0, 0)
    assert to_nanoseconds(window.header.stamp) == 50 * SECOND
    assert list(window.labels).count(UNSEEN) == 11, "time went back: a new stream"
    assert not bench.open_ids()


def test_sim_time_set_late_starts_anew(graph: Any, bench: Bench) -> None:
    node = bench.host()
    bench.connect()
    bench.play(7)
    assert node.set_parameters([Parameter("use_sim_time", value=True)])[0].successful
    graph.wait(lambda: node._status.restarts, "the restart")
    window = bench.feed(7, ORIGIN + 7 * SECOND)
    assert list(window.labels).count(UNSEEN) == 11


def test_slow_model_drops_frames_and_keeps_the_alignment(
    graph: Any, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one decision takes long, newer frames replace each other; the windows stay on their stamps."""
    import threading

    from stride_ros.activation.engine import ActivationEngine

    node = bench.host()
    bench.connect()
    bench.feed(0, ORIGIN)
    gate, entered, real = threading.Event(), threading.Event(), ActivationEngine.push

    def slow(*args: Any) -> Any:
        entered.set()
        gate.wait(20)
        return real(*args)

    monkeypatch.setattr(ActivationEngine, "push", slow)
    bench.camera.publish(picture(1, ORIGIN + SECOND))
    graph.wait(entered.is_set, "the slow decision")
    for i in range(2, 6):
        bench.camera.publish(picture(i, ORIGIN + i * SECOND))
        graph.wait(lambda i=i: node.cameras[""].input.sampled.count == i + 1, "the frame")
    gate.set()
    graph.wait(lambda: len(bench.windows) == 3, "the decisions")
    stamps = [(to_nanoseconds(window.header.stamp) - ORIGIN) // SECOND for window in bench.windows]
    assert stamps == [0, 1, 5], "the newest frame wins"
    assert node._worker.dropped == 3


@pytest.mark.parametrize(
    ("fault", "level", "reason"),
    [
        ("none", b"\x00", "OK"),
        ("old stamps", b"\x01", "s old; check the clocks"),
        ("stamps stand still", b"\x01", "do not advance"),
        ("silence", b"\x01", "no images on /image"),
        ("loss", b"\x01", "if the camera is faster, for large images give the middleware larger buffers"),
        ("restart", b"\x01", "restarted"),
        ("slow", b"\x01", "a decision takes"),
        ("failure", b"\x02", "decisions fail: RuntimeError: broken"),
    ],
)
def test_diagnostics_follow_their_rules(
    graph: Any, bench: Bench, monkeypatch: pytest.MonkeyPatch, fault: str, level: bytes, reason: str
) -> None:
    from stride_ros.activation.engine import ActivationEngine

    arrays = graph.collect(DiagnosticArray, "/diagnostics")
    quick = fault in ("silence", "stamps stand still")
    node = bench.host(image_timeout=0.2 if quick else 5.0, rate=10.0 if quick else 1.0)
    bench.connect()
    now = node.get_clock().now().nanoseconds
    bench.feed(0, ORIGIN if fault == "old stamps" else now)
    if fault == "restart":
        bench.feed(1, now - SECOND)
        node.cameras[""].input.stamp_age = 0.0
    elif fault == "loss":
        node.cameras[""].input._first_arrival -= 20.0
        node.cameras[""].input.received._started -= 20.0
    elif fault == "slow":
        graph.wait(lambda: node._status.update, "the decision to be counted")
        node._status.update.timings["total"] = 3.0
    elif fault == "failure":

        def broken(*_: Any) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(ActivationEngine, "push", broken)
        bench.camera.publish(picture(1, now + SECOND))

    def found() -> Any:
        if fault == "stamps stand still":
            bench.camera.publish(picture(0, now))
        for array in arrays:
            for status in array.status:
                if status.level == level and reason in status.message:
                    return status
        return None

    status = graph.wait(found, f"{reason!r} in the diagnostics")
    assert status.name == "activation: status"
    assert status.hardware_id == "cpu"
