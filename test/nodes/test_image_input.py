"""The subscription to a camera over DDS: it follows what publishers offer, and loses nothing on the way."""

from __future__ import annotations

import threading
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")
from rcl_interfaces.msg import Log  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import (  # noqa: E402
    QoSDurabilityPolicy,
    QoSLivelinessPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
)
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from stride_ros.activation.clock import Reading  # noqa: E402
from stride_ros.activation.notes import StreamNotes  # noqa: E402
from stride_ros.errors import ConfigError  # noqa: E402
from stride_ros.nodes.image_input import ImageInput  # noqa: E402
from stride_ros.nodes.messages import to_time  # noqa: E402

SECOND = 10**9  # ns
ORIGIN = 1_700_000_000 * SECOND
RELIABLE, BEST_EFFORT = QoSReliabilityPolicy.RELIABLE, QoSReliabilityPolicy.BEST_EFFORT
TRANSIENT = QoSDurabilityPolicy.TRANSIENT_LOCAL
OVERRIDE = "qos_overrides./image.subscription"


class Watcher(Node):
    """A node that watches `image` and takes every image that is newer than the one before."""

    def __init__(self, **options: Any) -> None:
        super().__init__("watcher", **options)
        self.stamps: list[int] = []
        self.jumps: list[Reading] = []
        self.watch()

    def watch(self) -> None:
        self.input = ImageInput(
            self,
            transport="raw",
            rate=lambda: 1000.0,
            notes=StreamNotes(),
            on_due=lambda decode: self.stamps.append(decode().stamp),
            on_jump=self.jumps.append,
        )

    @property
    def reliability(self) -> QoSReliabilityPolicy:
        return self.input.qos.reliability


def image(index: int, origin: int = ORIGIN) -> Image:
    header = Header(stamp=to_time(origin + index * SECOND))
    return Image(header=header, height=1, width=1, encoding="mono8", step=1, data=[index % 256])


def camera(graph: Any, reliability: QoSReliabilityPolicy, **policies: Any) -> Any:
    qos = QoSProfile(**{"depth": 50, "reliability": reliability, **policies})
    return graph.observer.create_publisher(Image, "image", qos)


def wait_for(graph: Any, watcher: Watcher, reliability: QoSReliabilityPolicy) -> None:
    graph.wait(lambda: watcher.reliability == reliability, f"a subscription that is {reliability.name}")


def show(graph: Any, watcher: Watcher, publisher: Any, index: int) -> None:
    """Publish an image until it has arrived: best effort may lose it."""
    stamp = ORIGIN + index * SECOND
    graph.send(publisher, image(index), lambda: stamp in watcher.stamps, "the image")


@pytest.mark.parametrize("reliability", [RELIABLE, BEST_EFFORT])
def test_camera_that_comes_later_is_followed(graph: Any, reliability: QoSReliabilityPolicy) -> None:
    watcher = graph.host(Watcher)
    publisher = camera(graph, reliability)
    wait_for(graph, watcher, reliability)
    show(graph, watcher, publisher, 0)
    assert not watcher.jumps


def test_camera_that_was_there_before_is_asked_for_what_it_offers_at_once(graph: Any) -> None:
    publisher = camera(graph, RELIABLE)
    watcher = graph.host(Node, namespace=None, node_name="watcher_to_be")
    graph.wait(lambda: watcher.get_publishers_info_by_topic("/image"), "the discovery of the camera")
    stamps: list[int] = []
    source = ImageInput(
        watcher,
        transport="raw",
        rate=lambda: 1000.0,
        notes=StreamNotes(),
        on_due=lambda decode: stamps.append(decode().stamp),
        on_jump=lambda _: None,
    )
    assert source.qos.reliability == RELIABLE
    graph.send(publisher, image(0), lambda: stamps, "the image")


def test_mixed_publishers_are_all_heard(graph: Any) -> None:
    """A second camera joins, and leaves again; the first one restarts as another kind."""
    watcher = graph.host(Watcher)
    reliable = camera(graph, RELIABLE)
    wait_for(graph, watcher, RELIABLE)
    other = camera(graph, BEST_EFFORT)
    wait_for(graph, watcher, BEST_EFFORT)
    show(graph, watcher, reliable, 0)
    show(graph, watcher, other, 1)
    graph.destroy_publisher(other)
    wait_for(graph, watcher, RELIABLE)
    show(graph, watcher, reliable, 2)
    graph.destroy_publisher(reliable)
    show(graph, watcher, camera(graph, BEST_EFFORT), 3)
    assert watcher.reliability == BEST_EFFORT
    assert not watcher.jumps


def test_changing_the_subscription_loses_nothing_and_is_no_restart(graph: Any) -> None:
    """A camera that goes on publishing while a second publisher makes the node subscribe anew."""
    watcher = graph.host(Watcher)
    publisher = camera(graph, RELIABLE)
    wait_for(graph, watcher, RELIABLE)
    show(graph, watcher, publisher, 0)
    other = camera(graph, BEST_EFFORT)
    sent = 0
    while watcher.reliability != BEST_EFFORT or watcher.stamps[-1] < ORIGIN + sent * SECOND:
        if watcher.reliability != BEST_EFFORT or sent < 20:
            sent += 1
            publisher.publish(image(sent))
        threading.Event().wait(0.02)
    graph.destroy_publisher(other)
    assert watcher.stamps == [ORIGIN + i * SECOND for i in range(sent + 1)]
    assert not watcher.jumps
    assert watcher.input.out_of_order == 0


def test_transient_local_camera_shows_the_image_it_sent_before(graph: Any) -> None:
    """A still camera may publish once."""
    publisher = camera(graph, RELIABLE, durability=TRANSIENT)
    publisher.publish(image(0))
    watcher = graph.host(Watcher)
    graph.wait(lambda: watcher.stamps == [ORIGIN], "the image that was sent before")
    assert watcher.input.qos.durability == TRANSIENT


def test_old_images_of_a_transient_local_camera_are_no_restart(graph: Any) -> None:
    watcher = graph.host(Watcher)
    other = camera(graph, RELIABLE)  # volatile, so that the node asks for no more
    wait_for(graph, watcher, RELIABLE)
    publisher = camera(graph, RELIABLE, durability=TRANSIENT)
    for index in range(10):
        show(graph, watcher, publisher, index)
    graph.destroy_publisher(other)
    graph.wait(lambda: watcher.input.qos.durability == TRANSIENT, "the new subscription")
    show(graph, watcher, publisher, 10)
    assert watcher.stamps == [ORIGIN + i * SECOND for i in range(11)]
    assert not watcher.jumps


def test_offers_of_deadline_and_liveliness_match(graph: Any) -> None:
    publisher = camera(
        graph,
        RELIABLE,
        deadline=Duration(seconds=1),
        liveliness=QoSLivelinessPolicy.MANUAL_BY_TOPIC,
        liveliness_lease_duration=Duration(seconds=5),
        lifespan=Duration(seconds=5),
    )
    show(graph, graph.host(Watcher), publisher, 0)


@pytest.mark.parametrize(("given", "offered"), [("best_effort", RELIABLE), ("reliable", BEST_EFFORT)])
def test_own_overrides_win(graph: Any, given: str, offered: QoSReliabilityPolicy) -> None:
    watcher = graph.host(Watcher, {f"{OVERRIDE}.reliability": given})
    camera(graph, offered)
    latched = camera(graph, offered, durability=TRANSIENT)
    graph.wait(lambda: len(watcher.input.publishers) == 2, "the cameras")
    graph.destroy_publisher(next(p for p in graph.observer.publishers if p.topic_name == "/image"))
    graph.wait(lambda: watcher.input.qos.durability == TRANSIENT, "what is not overridden to be followed")
    assert watcher.reliability.name.lower() == given
    assert latched.topic_name == "/image"
    assert watcher.get_parameter(f"{OVERRIDE}.reliability").value == given
    changed = watcher.set_parameters([Parameter(f"{OVERRIDE}.reliability", value="reliable")])
    assert not changed[0].successful, "a change would have no effect"


def test_overrides_of_depth_leave_the_rest_to_the_camera(graph: Any) -> None:
    watcher = graph.host(Watcher, {f"{OVERRIDE}.depth": 3})
    assert watcher.input.qos.depth == 3
    camera(graph, RELIABLE)
    wait_for(graph, watcher, RELIABLE)
    assert watcher.input.qos.depth == 3
    assert not watcher.has_parameter(f"{OVERRIDE}.reliability"), "nobody gave it"


def test_overrides_hold_after_a_second_activation(graph: Any) -> None:
    watcher = graph.host(Watcher, {f"{OVERRIDE}.reliability": "best_effort"})
    camera(graph, RELIABLE)
    graph.wait(lambda: watcher.input.publishers, "the camera")
    watcher.input.destroy()
    watcher.watch()
    assert watcher.reliability == BEST_EFFORT


@pytest.mark.parametrize(
    ("policy", "value", "sentence"),
    [
        ("reliability", "relyable", "use one of reliable, best_effort"),
        ("durability", 1, "use one of volatile, transient_local"),
        ("history", "", "use one of keep_last"),
        ("depth", "5", "use a number of images"),
        ("depth", 0, "use a number of images"),
        ("depth", True, "use a number of images"),
    ],
)
def test_wrong_override_is_refused_with_the_values_allowed(
    graph: Any, policy: str, value: object, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=f"{OVERRIDE}.{policy}.*{sentence}"):
        graph.host(Watcher, {f"{OVERRIDE}.{policy}": value})


def test_two_cameras_with_different_clocks_are_named_and_one_is_followed(graph: Any) -> None:
    """The second one stamps with the time since its boot."""
    logs = graph.collect(Log, "/rosout", QoSProfile(depth=1000))
    watcher = graph.host(Watcher)
    publisher = camera(graph, RELIABLE)
    rear = graph.host(Node, node_name="rear_camera")
    other = rear.create_publisher(Image, "image", QoSProfile(depth=50))
    for made in (publisher, other):
        graph.wait(made.get_subscription_count, "the node")
    wait_for(graph, watcher, RELIABLE)

    def warning() -> str:
        return next((log.msg for log in logs if "different clocks" in log.msg), "")

    sent: list[int] = []
    pace = threading.Event()
    while not warning() or watcher.input.ignored < 20:
        now = graph.observer.get_clock().now().nanoseconds
        sent.append(now)
        publisher.publish(image(0, now))
        other.publish(image(0, 100 * SECOND + now - sent[0]))
        pace.wait(0.05)
    assert "2 publishers are on /image (/observer, /rear_camera)" in warning()
    graph.wait(lambda: watcher.stamps[-1] == sent[-1], "the last image")
    assert len(watcher.jumps) <= 2
    assert watcher.stamps[-10:] == sent[-10:], "the clock nearest to the node's is followed"
    graph.destroy_publisher(publisher)
    before, index = len(watcher.stamps), 0
    while len(watcher.stamps) == before:  # the other one is taken when the first one is gone
        index += 1
        other.publish(image(0, 200 * SECOND + index * SECOND // 10))
        pace.wait(0.1)
    assert watcher.stamps[-1] < ORIGIN


def test_executor_that_was_held_up_is_not_the_cameras_silence(graph: Any) -> None:
    logs = graph.collect(Log, "/rosout", QoSProfile(depth=1000))
    watcher = graph.host(Watcher)
    publisher = camera(graph, RELIABLE)
    wait_for(graph, watcher, RELIABLE)
    show(graph, watcher, publisher, 0)
    silence: list[float] = []

    def block() -> None:
        timer.cancel()
        threading.Event().wait(6.0)
        watcher.input.warn_if_silent(2.0)
        silence.append(watcher.input.silence)

    timer = graph.observer.create_timer(0.0, block)
    graph.wait(lambda: any("handled no messages for" in log.msg for log in logs), "the reason")
    assert silence[0] < 2.0
    assert not any("No images" in log.msg for log in logs)
    publisher.publish(image(1))
    graph.wait(lambda: len(watcher.stamps) == 2, "the next image")
