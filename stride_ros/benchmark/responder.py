"""Time from an onset to the first word, through the responder node over DDS and from the model directly."""

from __future__ import annotations

import array
import statistics
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stride_ros.errors import BackendError, ConfigError

if TYPE_CHECKING:
    from stride_ros.response.backend import ResponseBackend, ResponseRequest

QUERY = "Tell me when a person is in view."
_PATIENCE = 120.0  # s for one answer
_WARM_UP = 2  # rounds that are run and not counted
_SIZE = (640, 480)  # of the frames, (width, height)


def measure_responder(
    parameters: dict[str, Any],
    *,
    frames: int = 16,
    rounds: int = 20,
    on_round: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Answer the same onset ``rounds`` times directly and through the node, in turn, on the same backend.

    ``parameters`` are those of the responder node. Returns times in ms: ``first_text`` and ``final`` of both
    ways with median and p95, and ``overhead``, the median of node minus direct in each round. Raises
    BackendError when the model cannot answer.
    """
    if frames < 1 or rounds < 1:
        raise ConfigError("The benchmark needs at least 1 frame and 1 round: correct the value.")
    with _Bench(parameters, frames) as bench:
        direct, node = [], []
        for number in range(_WARM_UP + rounds):
            pair = bench.direct(), bench.through_node(number + 1)
            if number >= _WARM_UP:
                direct.append(pair[0])
                node.append(pair[1])
            on_round()
        report: dict[str, Any] = {"model": bench.backend.name, "frames": frames, "rounds": rounds}
    for index, name in enumerate(("first_text_ms", "final_ms")):
        by_node, by_model = [times[index] for times in node], [times[index] for times in direct]
        report[name] = {"node": _spread(by_node), "direct": _spread(by_model)}
        extra = [a - b for a, b in zip(by_node, by_model, strict=True)]
        report[f"overhead_{name}"] = _spread(extra)
    return report


def table(report: dict[str, Any]) -> str:
    """The numbers of a report as lines for a terminal."""
    lines = [
        f"{report['model']}: {report['rounds']} onsets with {report['frames']} frames",
        f"{'ms from the onset':<20}{'node':>10}{'p95':>10}{'model':>10}{'p95':>10}{'overhead':>10}",
    ]
    for name, label in (("first_text_ms", "first text"), ("final_ms", "final text")):
        node, direct, extra = report[name]["node"], report[name]["direct"], report[f"overhead_{name}"]
        lines.append(
            f"{label:<20}{node['median']:>10.1f}{node['p95']:>10.1f}{direct['median']:>10.1f}"
            f"{direct['p95']:>10.1f}{extra['median']:>10.1f}"
        )
    return "\n".join(lines)


class _Bench:
    """A responder node and a listener with an executor each, in a ROS context of their own."""

    def __init__(self, parameters: dict[str, Any], frames: int) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
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
        # A namespace of its own: other nodes of this machine have no part in the measurement.
        place = {"context": self._context, "namespace": "stride_benchmark"}
        self._node = ResponderNode(parameter_overrides=overrides, **place)
        self._peer = rclpy.create_node("benchmark", **place)
        self._heard: list[tuple[float, Any]] = []
        self._changed = threading.Condition()
        self._peer.create_subscription(Commentary, "commentary", self._hear, COMMENTARY_QOS)
        self._frames = self._peer.create_publisher(Image, "frames", FRAMES_QOS)
        self._spans = self._peer.create_publisher(ActivationSpan, "activation/span", SPAN_QOS)
        self._executors = [SingleThreadedExecutor(context=self._context) for _ in range(2)]
        world = World(0, float(frames), _SIZE, 1.0)
        self._pictures = [world.frame(float(second)) for second in range(frames)]

    def __enter__(self) -> _Bench:
        if not self._node.autostart():
            error = self._node.last_error
            self.__exit__()
            raise BackendError(error)
        for executor, node in zip(self._executors, (self._node, self._peer), strict=True):
            executor.add_node(node)
            threading.Thread(target=executor.spin, name="stride-benchmark", daemon=True).start()
        _wait(lambda: self._frames.get_subscription_count() and self._spans.get_subscription_count())
        for second in range(len(self._pictures)):
            self._frames.publish(self._image(second))
            _wait(lambda expected=second + 1: self._node.frames_kept >= expected)
        return self

    def __exit__(self, *_: object) -> None:
        for executor in self._executors:
            executor.shutdown(timeout_sec=1.0)
        for node in (self._node, self._peer):
            node.destroy_node()
        self._context.try_shutdown()

    @property
    def backend(self) -> ResponseBackend:
        return self._node.backend

    def direct(self) -> tuple[float, float]:
        """Ask the backend itself; ms to the first text and to the end."""
        started = time.monotonic()
        first = 0.0
        for piece in self.backend.stream(self._request(), lambda: False):
            first = first or (time.monotonic() if piece.strip() else 0.0)
        ended = time.monotonic()
        return 1e3 * ((first or ended) - started), 1e3 * (ended - started)

    def through_node(self, span_id: int) -> tuple[float, float]:
        """Publish an onset; ms to the first and to the final Commentary."""
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
            raise BackendError(f"No answer came within {_PATIENCE:.0f} s: choose a smaller model.")
        if heard[-1][1].status != 0:
            raise BackendError(heard[-1][1].error)
        return 1e3 * (heard[0][0] - started), 1e3 * (heard[-1][0] - started)

    def _hear(self, message: Any) -> None:
        with self._changed:
            self._heard.append((time.monotonic(), message))
            self._changed.notify_all()

    def _request(self) -> ResponseRequest:
        from stride_ros.response.backend import ResponseRequest
        from stride_ros.response.frame_cache import TimedFrame

        frames = tuple(TimedFrame(image, float(second)) for second, image in enumerate(self._pictures))
        prompt = self._node.get_parameter("system_prompt").value
        return ResponseRequest(QUERY, frames, 0.0, system_prompt=prompt)

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
            raise BackendError("The responder node is not heard: check that DDS works on this machine.")
        time.sleep(0.01)


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
    }
