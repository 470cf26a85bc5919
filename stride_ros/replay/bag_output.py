"""The bag that a replay writes: recorded topics, and what the nodes would publish about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stride_ros.activation.frame_path import DecisionSink, Frame
from stride_ros.bags import messages
from stride_ros.bags.types import deserialise
from stride_ros.bags.writer import BagWriter
from stride_ros.errors import SourceError
from stride_ros.text import topics

if TYPE_CHECKING:
    from stride_ros.activation.stamped_stream import Decision, StampedEvent
    from stride_ros.bags.storage import BagMessage
    from stride_ros.response.commentary import Commentary

# As under the namespace of launch/stride.launch.py.
OUTPUT_TOPICS = FRAMES, WINDOW, SPAN, COMMENTARY = tuple(
    topics.under(topics.NAMESPACE, name) for name in topics.RESULTS
)


class BagOutput(BagWriter, DecisionSink[Frame]):
    """A sink that writes a bag; each message has the log time of the frame that it is about."""

    def __init__(self, path: str | Path, storage: str = "mcap", *, model: str) -> None:
        """`model`: name of the activation model, written with every span."""
        super().__init__(path, storage)
        self._model = model

    def recorded(self, message: BagMessage) -> None:
        """Copy a message of the recording."""
        channel = message.channel
        if channel.msgtype not in messages.OWN or channel.encoding != "cdr":
            self.copy(channel, message.data, message.log_time)
            return
        try:
            own = messages.upgraded(deserialise(channel, message.data))
        except Exception as error:  # deserialisers fail in many ways on data that is cut off
            raise SourceError(
                f"A message on {channel.topic} cannot be deserialised; leave the topic out."
            ) from error
        self.write(channel.topic, own, message.log_time)

    def frame(self, stream: str, frame: Frame) -> None:
        """Write a frame as the activation node publishes it."""
        image = messages.image(frame.image, frame.stamp, frame.frame_id)
        self.write(FRAMES, image, frame.reading.received)

    def decision(self, stream: str, frame: Frame, decision: Decision) -> None:
        """Write a window and the span changes that it leads to."""
        update = decision.update
        window = messages.window(
            update.query,
            stamp=frame.stamp,
            frame_id=frame.frame_id,
            resolution=update.resolution,
            labels=update.labels,
            probabilities=update.probabilities,
            steps=update.steps,
            inference_time=update.timings["total"],
            watch=decision.watch,
        )
        self.write(WINDOW, window, frame.reading.received)
        self.events(stream, frame, decision.events)

    def events(self, stream: str, frame: Frame, events: Sequence[StampedEvent]) -> None:
        """Write changes of spans."""
        for stamped in events:
            event = stamped.event
            span = messages.span(
                event.span_id,
                int(event.state),
                event.query,
                start=stamped.start_ns,
                end=stamped.end_ns,
                stamp=frame.stamp,
                frame_id=frame.frame_id,
                confidence=float(event.confidence),
                onset=stamped.onset_ns,
                watch=stamped.watch,
                model=self._model,
            )
            self.write(SPAN, span, frame.reading.received)

    def commentary(self, frame: Frame, commentary: Commentary) -> None:
        """Write a commentary on an event, final or not."""
        span = commentary.span
        message = messages.commentary(
            span.span_id,
            span.query,
            commentary.text,
            stamp=commentary.onset,
            frame_id=span.frame_id,
            model=commentary.model,
            final=commentary.final,
            latency=commentary.latency,
            status=int(commentary.status),
            error=commentary.error,
            watch=span.watch,
            frame_stamps=commentary.frame_stamps,
        )
        self.write(COMMENTARY, message, frame.reading.received)
