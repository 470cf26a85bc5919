"""A stage for the event log: spans, commentary and frames are published by the test."""

from __future__ import annotations

import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stride_ros.events.database import EventLogError
from stride_ros.events.record import Event
from stride_ros.events.search import EventReader, Search

ONSET, UPDATE, OFFSET, RETRACTED = range(4)
START = 1_790_000_000  # s since 1970, the stamp of second 0
LIFE = 7 << 21  # upper bits of the ids of one life of the activation node


class Log:
    """Plays the activation node and the responder to an event log."""

    def __init__(self, graph: Any, path: Path) -> None:
        from sensor_msgs.msg import Image
        from stride_ros.msg import ActivationSpan, Commentary, Watches

        from stride_ros.nodes.qos import COMMENTARY_QOS, FRAMES_QOS, SPAN_QOS, WATCHES_QOS

        self.graph, self.path = graph, path
        self.node: Any = None
        make = graph.observer.create_publisher
        self.spans = make(ActivationSpan, "activation/span", SPAN_QOS)
        self.said = make(Commentary, "commentary", COMMENTARY_QOS)
        self.watches = make(Watches, "watches", WATCHES_QOS)
        self._images = {
            name: make(Image, f"{name}/frames".lstrip("/"), FRAMES_QOS) for name in ("", "front", "left")
        }

    def start(self, *cameras: str, **parameters: Any) -> Any:
        """Host the node, configured and activated, and connect to it."""
        from stride_ros.nodes.event_log_node import EventLogNode

        values = {"file": str(self.path), "map_frame": "", **parameters}
        if cameras:
            values["cameras"] = list(cameras)
        self.node = self.graph.host(EventLogNode, values)
        for transition in ("configure", "activate"):
            assert self.graph.transition("event_log", transition), self.node.last_error
        self.connect(*cameras)
        return self.node

    def publish_anew(self) -> None:
        """Make publishers that keep all they publish until it is heard, and have published nothing yet."""
        from stride_ros.msg import ActivationSpan, Commentary

        from stride_ros.nodes.qos import SPANS_HEARD_QOS

        self.graph.destroy_publisher(self.spans)
        self.graph.destroy_publisher(self.said)
        make = self.graph.observer.create_publisher
        self.spans = make(ActivationSpan, "activation/span", SPANS_HEARD_QOS)
        self.said = make(Commentary, "commentary", SPANS_HEARD_QOS)

    def kept(self) -> tuple[Event, ...]:
        """What is in the file."""
        if not self.path.exists():
            return ()
        try:
            with EventReader(self.path) as reader:
                return reader.find(Search(limit=None, retracted=True)).events
        except EventLogError:  # the node is about to make it
            return ()

    def heard(self, number: int) -> None:
        """Wait until a node in another process hears spans: this one is in the file."""
        self.span(number, ONSET)
        self.graph.wait(lambda: any(event.span_id == LIFE + number for event in self.kept()), "the node")

    def connect(self, *cameras: str) -> None:
        images = [self._images[name] for name in cameras or ("",)]
        for publisher in (self.spans, self.said, self.watches, *images):
            self.graph.wait(publisher.get_subscription_count, f"subscribers of {publisher.topic_name}")

    def span(self, number: int, state: int, second: float = 0.0, **fields: Any) -> Any:
        """Publish a span that begins at second 0 of itself; `second`: of the decision."""
        from stride_ros.msg import ActivationSpan

        from stride_ros.nodes.messages import to_time

        begin = (START + number) * 10**9
        values = {
            "span_id": LIFE + number,
            "query": "Tell me when the door opens.",
            "start": to_time(begin),
            "end": to_time(begin + round(second * 1e9)),
            "confidence": 0.75,
            "watch": "door",
            "onset": to_time(begin),
            **fields,
        }
        message = ActivationSpan(state=state, **values)
        message.header.stamp = to_time(begin + round(second * 1e9))
        message.header.frame_id = "camera"
        self.spans.publish(message)
        return message

    def say(self, number: int, text: str, **fields: Any) -> None:
        """Publish the final commentary on a span."""
        from stride_ros.msg import Commentary

        from stride_ros.nodes.messages import to_time

        values = {"watch": "door", "final": True, "model": "tiny", **fields}
        message = Commentary(span_id=LIFE + number, text=text, **values)
        message.header.stamp = to_time((START + number) * 10**9)
        self.said.publish(message)

    def list_open(self, *numbers: int) -> None:
        """Publish the list of watches, with these spans going on."""
        from stride_ros.msg import ActivationSpan, Watch, Watches

        spans = [ActivationSpan(span_id=LIFE + number) for number in numbers]
        self.watches.publish(Watches(watches=[Watch(open_spans=spans)]))

    def frame(self, number: float, value: int, camera: str = "") -> None:
        """Publish a grey frame at this second."""
        from sensor_msgs.msg import Image

        from stride_ros.nodes.messages import to_time

        message = Image(height=48, width=64, encoding="rgb8", step=192)
        message.header.stamp = to_time(round((START + number) * 1e9))
        message.data = array.array("B", np.full(48 * 192, value, np.uint8).tobytes())
        self._images[camera].publish(message)

    def find(self, text: str = "", **fields: Any) -> Any:
        """Ask the service."""
        from stride_ros.srv import FindEvents

        return self.graph.call(FindEvents, "event_log/find_events", text=text, **fields)

    def until(self, condition: Any, what: str, text: str = "", **fields: Any) -> Any:
        """The answer of the service as soon as it is as wanted."""
        for _ in range(600):
            answer = self.find(text, **fields)
            if condition(answer):
                return answer
            self.graph._soon(lambda: False, 0.1)
        pytest.fail(f"waited for {what}; the last answer: {answer}")

    def grey(self, record: Any) -> int | None:
        """The mean of the picture of an answer; None without one."""
        import cv2

        data = np.frombuffer(record.picture.data, np.uint8)
        return round(float(cv2.imdecode(data, cv2.IMREAD_COLOR).mean())) if len(data) else None


@pytest.fixture
def log(graph: Any, tmp_path: Path) -> Log:
    return Log(graph, tmp_path / "events.db")
