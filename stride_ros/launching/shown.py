"""Print spans and commentary from within the launch process."""

from __future__ import annotations

import time
from typing import Any

from launch.logging import get_logger
from rclpy.node import Node

from launch import LaunchContext
from stride_ros.activation.identity import span_number
from stride_ros.launching.own_node import own_node
from stride_ros.text import topics

_EPOCH = 1e8  # s; later stamps are times of day, earlier ones are simulated time


def show(context: LaunchContext, namespace: str) -> None:
    """Log each onset, end and sentence of the nodes in this full namespace."""
    from stride_ros.msg import ActivationSpan, Commentary
    from stride_ros.nodes.qos import COMMENTARY_QOS, SPAN_QOS

    logger = get_logger(namespace.strip("/").replace("/", ".") or topics.NAMESPACE)
    spans, commentary = (topics.under(namespace, name) for name in (topics.SPAN, topics.COMMENTARY))

    def tell(sentence: str | None) -> None:
        if sentence:
            logger.info(sentence)

    def on_span(message: ActivationSpan) -> None:
        tell(span_sentence(message))

    def on_commentary(message: Commentary) -> None:
        tell(commentary_sentence(message))

    def subscribe(node: Node) -> None:
        node.create_subscription(ActivationSpan, spans, on_span, SPAN_QOS)
        node.create_subscription(Commentary, commentary, on_commentary, COMMENTARY_QOS)

    own_node(context, subscribe)


def span_sentence(message: Any) -> str | None:
    """One line for an ONSET, OFFSET or RETRACTED ActivationSpan, None for an UPDATE."""
    at, span = _clock(message.header.stamp), _span(message)
    if message.state == message.ONSET:
        since = f"since {_clock(message.start)}, confidence {message.confidence:.2f}"
        return f"{at}  onset   {span}: {message.query}  ({since})"
    if message.state == message.OFFSET:
        return f"{at}  over    {span}: {_clock(message.start)} to {_clock(message.end)}"
    return f"{at}  false   {span} was a false alarm" if message.state == message.RETRACTED else None


def commentary_sentence(message: Any) -> str | None:
    """One line for a final Commentary, None for a partial one."""
    if not message.final:
        return None
    at, span = _clock(message.header.stamp), _span(message)
    if message.status == message.OK:
        return f"{at}  says    {span}: {message.text.strip()}  ({message.latency:.2f} s)"
    return f"{at}  silent  {span}: {message.error}"


def _span(message: Any) -> str:
    where = f" on {message.camera}" if message.camera else ""
    return f"span {span_number(message.span_id)}{where}"


def _clock(stamp: Any) -> str:
    seconds, tenth = stamp.sec, stamp.nanosec // 100_000_000
    if seconds < _EPOCH:
        return f"{seconds // 60}:{seconds % 60:02d}.{tenth}"
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{tenth}"
