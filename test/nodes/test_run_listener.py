"""The demo's listener: what it hears in an order that topics do not promise still comes out right."""

from __future__ import annotations

from typing import Any

from sensor_msgs.msg import Image
from std_msgs.msg import Header
from stride_ros.msg import ActivationSpan, Commentary

from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import COMMENTARY_QOS, FRAMES_QOS, SPAN_QOS
from stride_ros.nodes.run_listener import Listener

QUERY = "Tell me when the cup falls."
ORIGIN = 1_700_000_000 * 10**9  # ns
SPAN_ID = (77 << 21) + 1


def test_a_final_commentary_may_come_before_its_onset(graph: Any) -> None:
    lines: list[str] = []

    def make(**options: Any) -> Listener:
        return Listener({QUERY: ()}, lambda text, *styles: lines.append(text), **options)

    listener = graph.host(make)
    frames = graph.publisher(Image, "frames", FRAMES_QOS)
    spans = graph.publisher(ActivationSpan, "activation/span", SPAN_QOS)
    commentary = graph.publisher(Commentary, "commentary", COMMENTARY_QOS)
    header = Header(stamp=to_time(ORIGIN), frame_id="camera")
    frames.publish(Image(header=header, height=2, width=2, encoding="rgb8", step=6, data=bytes(12)))
    graph.wait(lambda: listener.begun, "the frame")
    commentary.publish(Commentary(header=header, span_id=SPAN_ID, query=QUERY, text="It falls.", final=True))
    graph.wait(lambda: listener._early, "the commentary")
    span = ActivationSpan(header=header, span_id=SPAN_ID, query=QUERY, onset=header.stamp)
    span.start = span.end = header.stamp
    spans.publish(span)
    graph.wait(lambda: len(lines) == 2, "both lines")
    assert "onset  span 1" in lines[0]
    assert "says   It falls." in lines[1]
    assert listener.answered()
    ((_, told),) = listener.result("test").spans()
    assert (told.id, told.said.text) == (1, "It falls.")
