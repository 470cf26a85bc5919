"""The bag that a replay leaves: what was recorded, and what the nodes say about it on their topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stride_ros.replay import messages
from stride_ros.replay.bag_writer import BagWriter
from stride_ros.replay.player import Moment
from stride_ros.replay.record import STATUSES, Said

if TYPE_CHECKING:
    from stride_ros.activation.session import ActivationUpdate
    from stride_ros.bags.storage import BagMessage
    from stride_ros.nodes.stamped_stream import StampedEvent

NAMESPACE = "/stride"  # as in launch/stride.launch.py


class BagOutput(BagWriter):
    """A `Sink` that writes; log times are those of the frame that each message is about."""

    def recorded(self, message: BagMessage) -> None:
        self.copy(message.channel, message.data, message.log_time)

    def frame(self, moment: Moment) -> None:
        image = messages.image(moment.image, moment.stamp, moment.frame_id)
        self.write(f"{NAMESPACE}/frames", image, moment.log_time)

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
        )
        self.write(f"{NAMESPACE}/activation/window", window, moment.log_time)

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
        )
        self.write(f"{NAMESPACE}/activation/span", span, moment.log_time)

    def commentary(self, span_id: int, query: str, moment: Moment, said: Said) -> None:
        commentary = messages.commentary(
            span_id,
            query,
            said.text,
            stamp=moment.stamp,
            frame_id=moment.frame_id,
            model=said.model,
            latency=said.latency or 0.0,
            status=STATUSES.index(said.status),
            error=said.error,
        )
        self.write(f"{NAMESPACE}/commentary", commentary, moment.log_time)
