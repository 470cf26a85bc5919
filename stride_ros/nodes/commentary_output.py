"""What the responder node publishes: commentary, and the text to read aloud."""

from __future__ import annotations

from typing import Any

from std_msgs.msg import Header, String

from stride_ros.activation.identity import span_number
from stride_ros.msg import Commentary as CommentaryMessage
from stride_ros.nodes.lifecycle import ManagedNode
from stride_ros.nodes.messages import to_time
from stride_ros.nodes.qos import COMMENTARY_KEPT_QOS, TEXT_QOS
from stride_ros.response.commentary import Commentary
from stride_ros.response.responder import UNWANTED
from stride_ros.response.scheduler import AnswerStatus
from stride_ros.text import topics

_WARNING_PERIOD = 5.0  # s between repeated warnings


class CommentaryOutput:
    """The publishers, as a CommentarySink that both threads of a Responder may call."""

    def __init__(self, node: ManagedNode) -> None:
        self._node = node
        self._commentary: Any = node.create_publisher(
            CommentaryMessage, topics.COMMENTARY, COMMENTARY_KEPT_QOS
        )
        self._text: Any = node.create_publisher(String, topics.COMMENTARY_TEXT, TEXT_QOS)

    def destroy(self) -> None:
        for publisher in (self._commentary, self._text):
            self._node.destroy_publisher(publisher)

    def commentary(self, commentary: Commentary) -> None:
        """Publish a commentary, and log it when an event was not answered."""
        try:
            self._commentary.publish(_message(commentary))
            if commentary.spoken:
                self._text.publish(String(data=commentary.text))
        except Exception:  # on Ctrl-C the middleware may be gone before the last answers
            if self._node.context.ok():
                raise
        logger = self._node.get_logger()
        if commentary.status is AnswerStatus.ERROR:
            self._node.last_error = commentary.error
            logger.error(commentary.error, throttle_duration_sec=_WARNING_PERIOD)
        elif commentary.status is AnswerStatus.SKIPPED and commentary.error != UNWANTED:
            logger.warning(
                f"Span {span_number(commentary.span.span_id)} was not answered: {commentary.error}",
                throttle_duration_sec=_WARNING_PERIOD,
            )


def _message(commentary: Commentary) -> CommentaryMessage:
    span = commentary.span
    return CommentaryMessage(
        header=Header(stamp=to_time(commentary.onset), frame_id=span.frame_id),
        span_id=span.span_id,
        query=span.query,
        text=commentary.text,
        final=commentary.final,
        model=commentary.model,
        latency=commentary.latency,
        status=int(commentary.status),
        error=commentary.error,
        watch=span.watch,
        camera=span.camera,
        frame_stamps=[to_time(stamp) for stamp in commentary.frame_stamps],
    )
