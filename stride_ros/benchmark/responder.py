"""Measure the time from an onset to the first word through the responder node, and the model's share."""

from __future__ import annotations

import argparse
import array
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from stride_ros.errors import BackendError, ConfigError
from stride_ros.text import topics
from stride_ros.text.wording import counted
from stride_ros.user_files.output import write_whole

if TYPE_CHECKING:
    from stride_ros.nodes.executor_thread import ExecutorThread
    from stride_ros.response.backend import ResponseRequest

QUERY = "Tell me when a person is in view."
_PATIENCE = 120.0  # s for one answer
_ROUNDS = 20
_FRAMES = 16
_WARM_UP = 2  # rounds that are not counted
_SIZE = (640, 480)  # of the frames, (width, height)


def run(arguments: argparse.Namespace) -> int:
    """`stride-ros benchmark --responder M`: measure, print a table, write the numbers."""
    from stride_ros.terminal import Progress, say

    parameters = {
        "model": arguments.responder,
        "device": arguments.device,
        "dtype": arguments.dtype,
        "threads": arguments.threads,
    }
    with Progress("Answering", _WARM_UP + _ROUNDS, "onset") as progress:
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            progress.update(done)

        report = measure_responder(parameters, frames=_FRAMES, rounds=_ROUNDS, on_round=step)
    say(table(report))
    if arguments.json:
        write_whole(arguments.json, json.dumps(report, indent=2) + "\n")
    return 0


def measure_responder(
    parameters: dict[str, Any],
    *,
    frames: int = 16,
    rounds: int = 20,
    on_round: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Publish `rounds` onsets one after another, and time the answers on both sides of the backend.

    `parameters` are those of the responder node. Returns times in ms with median and p95: `first_text_ms` and
    `final_ms` have `node`, from the onset's publication until a listener has the text, and `model`, the time
    of the same call to the backend by itself; `overhead_first_text_ms` and `overhead_final_ms` are their
    differences, answer by answer. Raises BackendError if the model cannot answer.
    """
    if frames < 1 or rounds < 1:
        raise ConfigError("The benchmark needs at least 1 frame and 1 round; correct the value.")
    node: list[tuple[float, float]] = []
    model: list[tuple[float, float]] = []
    with _Bench(parameters, frames) as bench:
        for number in range(_WARM_UP + rounds):
            heard = bench.ask(number + 1)
            if number >= _WARM_UP:
                node.append(heard)
                model.append((bench.clock.first_ms, bench.clock.whole_ms))
            on_round()
        report: dict[str, Any] = {"model": bench.name, "frames": frames, "rounds": rounds}
    for index, name in enumerate(("first_text_ms", "final_ms")):
        outside, inside = [times[index] for times in node], [times[index] for times in model]
        report[name] = {"node": _spread(outside), "model": _spread(inside)}
        report[f"overhead_{name}"] = _spread([a - b for a, b in zip(outside, inside, strict=True)])
    return report


def table(report: dict[str, Any]) -> str:
    """Format the numbers of a report for a terminal."""
    lines = [
        f"{report['model']}: {counted(report['rounds'], 'onset')} with {counted(report['frames'], 'frame')}",
        f"{'ms from the onset':<20}{'node':>10}{'model':>10}{'overhead':>10}{'p95':>8}",
    ]
    for name, label in (("first_text_ms", "first text"), ("final_ms", "final text")):
        extra = report[f"overhead_{name}"]
        lines.append(
            f"{label:<20}{report[name]['node']['median']:>10.1f}{report[name]['model']['median']:>10.1f}"
            f"{extra['median']:>10.1f}{extra['p95']:>8.1f}"
        )
    return "\n".join(lines)


class _Clock:
    """Replaces a backend's `stream` and times it: ms to the first text and to the end."""

    def __init__(self, stream: Callable[..., Iterator[str]]) -> None:
        self._stream = stream
        self.first_ms = self.whole_ms = 0.0

    def __call__(self, request: ResponseRequest, cancelled: Callable[[], bool]) -> Iterator[str]:
        started = time.monotonic()
        spoken = waiting = 0.0  # time of the first text, and how long the node delayed the model
        for piece in self._stream(request, cancelled):
            handed = time.monotonic()
            spoken = spoken or (handed if piece.strip() else 0.0)
            yield piece
            waiting += time.monotonic() - handed
        ended = time.monotonic()
        self.first_ms = 1e3 * ((spoken or ended) - started)
        self.whole_ms = 1e3 * (ended - started - waiting)


class _Bench:
    """A responder node and a listener, each with an executor, in a separate ROS context."""

    def __init__(self, parameters: dict[str, Any], frames: int) -> None:
        import rclpy
        from rclpy.parameter import Parameter
        from sensor_msgs.msg import Image

        from stride_ros.msg import ActivationSpan, Commentary
        from stride_ros.nodes.qos import COMMENTARY_QOS, FRAMES_QOS, SPAN_QOS
        from stride_ros.nodes.responder_node import ResponderNode
        from stride_ros.world import World

        values = {"history": 0, "pre_seconds": 0.0, "max_frames": frames, "remember": False, **parameters}
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context)
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        # A separate namespace, so that other nodes on this machine do not affect the measurement.
        place: dict[str, Any] = {"context": self._context, "namespace": "stride_benchmark"}
        self._node = ResponderNode(parameter_overrides=overrides, **place)
        self._peer = rclpy.create_node("benchmark", **place)
        self._heard: list[tuple[float, Any]] = []
        self._changed = threading.Condition()
        self._peer.create_subscription(Commentary, topics.COMMENTARY, self._hear, COMMENTARY_QOS)
        self._frames = self._peer.create_publisher(Image, topics.FRAMES, FRAMES_QOS)
        self._spans = self._peer.create_publisher(ActivationSpan, topics.SPAN, SPAN_QOS)
        self._threads: list[ExecutorThread] = []
        world = World(0, float(frames), _SIZE, 1.0)
        self._pictures = [world.frame(float(second)) for second in range(frames)]

    def __enter__(self) -> _Bench:
        from stride_ros.nodes.executor_thread import ExecutorThread

        if not self._node.autostart():
            error = self._node.last_error
            self.__exit__()
            raise BackendError(error)
        backend: Any = self._node.backend
        self.name = backend.name
        self.clock = backend.stream = _Clock(backend.stream)
        for node in (self._node, self._peer):
            self._threads.append(ExecutorThread(node, context=self._context, name="stride-benchmark"))
        _wait(lambda: self._frames.get_subscription_count() and self._spans.get_subscription_count())
        for second in range(len(self._pictures)):
            self._frames.publish(self._image(second))
            _wait(partial(self._has_frames, second + 1))
        return self

    def _has_frames(self, expected: int) -> bool:
        return self._node.frames_kept >= expected

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.close(1.0)
        for node in (self._node, self._peer):
            node.destroy_node()
        self._context.try_shutdown()

    def ask(self, span_id: int) -> tuple[float, float]:
        """Publish an onset; return the ms to the first and to the final Commentary."""
        from stride_ros.msg import ActivationSpan

        span = ActivationSpan(span_id=span_id, state=ActivationSpan.ONSET, query=QUERY)
        last = len(self._pictures) - 1
        span.header.stamp.sec = span.end.sec = 1 + last
        span.start.sec = 1
        with self._changed:
            self._heard.clear()
            started = time.monotonic()
            self._spans.publish(span)
            ended = self._changed.wait_for(lambda: self._heard and self._heard[-1][1].final, _PATIENCE)
            heard = list(self._heard)
        if not ended:
            raise BackendError(
                f"Timed out waiting for an answer after {_PATIENCE:.0f} s; choose a smaller model."
            )
        if heard[-1][1].status != 0:
            raise BackendError(heard[-1][1].error)
        return 1e3 * (heard[0][0] - started), 1e3 * (heard[-1][0] - started)

    def _hear(self, message: Any) -> None:
        with self._changed:
            self._heard.append((time.monotonic(), message))
            self._changed.notify_all()

    def _image(self, second: int) -> Any:
        from sensor_msgs.msg import Image

        width, height = _SIZE
        message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        message.header.stamp.sec = 1 + second
        message.data = array.array("B", self._pictures[second].tobytes())
        return message


def _wait(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise BackendError("The responder node was not discovered; check that DDS works on this machine.")
        time.sleep(0.01)


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"median": statistics.median(ordered), "p95": p95}
