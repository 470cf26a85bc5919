"""The bag that a replay leaves: what was recorded, and what the nodes say about it on their topics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stride_ros.activation.identity import watch_ids
from stride_ros.bags import messages
from stride_ros.bags.types import MessageDecoder
from stride_ros.bags.writer import BagWriter
from stride_ros.errors import SourceError
from stride_ros.replay.player import Moment

if TYPE_CHECKING:
    from stride_ros.activation.session import ActivationUpdate
    from stride_ros.activation.stamped_stream import StampedEvent
    from stride_ros.bags.storage import BagMessage, Channel
    from stride_ros.response.commentary import Commentary

# As under the namespace of launch/stride.launch.py.
FRAMES, WINDOW = "/stride/frames", "/stride/activation/window"
SPAN, COMMENTARY = "/stride/activation/span", "/stride/commentary"
OUTPUT_TOPICS = (FRAMES, WINDOW, SPAN, COMMENTARY)


class BagOutput(BagWriter):
    """A `Sink` that writes; log times are those of the frame that each message is about."""

    def __init__(
        self, path: str | Path, storage: str = "mcap", *, queries: Sequence[str], model: str
    ) -> None:
        """`model`: name of the activation model, as written with every span."""
        super().__init__(path, storage)
        self._model = model
        self._watches = dict(zip(queries, watch_ids(queries), strict=True))
        self._decoders: dict[Channel, MessageDecoder] = {}

    def recorded(self, message: BagMessage) -> None:
        channel = message.channel
        if channel.msgtype not in messages.OWN or channel.encoding != "cdr":
            self.copy(channel, message.data, message.log_time)
            return
        decoder = self._decoders.setdefault(channel, MessageDecoder(channel))
        try:
            own = messages.upgraded(decoder(message.data))
        except Exception as error:  # the deserialisers fail in many ways on data that is cut off
            raise SourceError(
                f"A message on {channel.topic} cannot be deserialised; leave the topic out."
            ) from error
        self.write(channel.topic, own, message.log_time)

    def frame(self, moment: Moment) -> None:
        image = messages.image(moment.image, moment.stamp, moment.frame_id)
        self.write(FRAMES, image, moment.log_time)

    def window(self, query: str, moment: Moment, update: ActivationUpdate) -> None:
        window = messages.window(
            query,
            stamp=moment.stamp,
            frame_id=moment.frame_id,
            resolution=update.resolution,
            labels=update.labels,
            probabilities=update.probabilities,
            steps=update.steps,
            inference_time=update.timings["total"],
            watch=self._watches[query],
        )
        self.write(WINDOW, window, moment.log_time)

    def span(self, span_id: int, moment: Moment, event: StampedEvent) -> None:
        span = messages.span(
            span_id,
            int(event.event.state),
            event.event.query,
            start=event.start_ns,
            end=event.end_ns,
            stamp=moment.stamp,
            frame_id=moment.frame_id,
            confidence=float(event.event.confidence),
            onset=event.onset_ns,
            watch=self._watches[event.event.query],
            model=self._model,
        )
        self.write(SPAN, span, moment.log_time)

    def commentary(self, moment: Moment, commentary: Commentary) -> None:
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
            watch=self._watches[span.query],
            frame_stamps=commentary.frame_stamps,
        )
        self.write(COMMENTARY, message, moment.log_time)
