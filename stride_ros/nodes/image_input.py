"""Watch an image topic: take the frames that are due, judge their stamps, say so when no images come."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image

from stride_ros.activation.sampling import NANOSECONDS, Sampler, Verdict
from stride_ros.errors import FrameError
from stride_ros.imaging.images import compressed_to_rgb, image_to_rgb
from stride_ros.nodes.clocks import Clocks
from stride_ros.nodes.diagnostics import Rate
from stride_ros.nodes.image_subscription import ImageSubscription
from stride_ros.nodes.publishers import describe_silence, names_of, publishers_of, type_name
from stride_ros.nodes.pulse import Pulse, Stopwatch
from stride_ros.nodes.qos import describe_qos
from stride_ros.text import topics

if TYPE_CHECKING:
    import numpy as np
    from rclpy.node import Node
    from rclpy.qos import QoSProfile
    from std_msgs.msg import Header

_REPEAT_WARNING = 30.0  # s
_CHECK_PERIOD = 0.25  # s between looks at what the publishers offer: a camera's first images count
_LONG_PAUSE = 3.0  # s without a callback that are worth a word


@dataclass(frozen=True)
class Sample:
    """One frame that was due, still serialised: most frames of a fast camera are never decoded."""

    data: bytes
    stamp_ns: int
    arrival: float  # s, time.monotonic()


class ImageInput:
    """The images on `image` or `image/compressed`; calls back for samples and for restarts of time."""

    def __init__(
        self,
        node: Node,
        *,
        transport: str,
        rate: Callable[[], float],
        on_sample: Callable[[Sample], None],
        on_restart: Callable[[str], None],
    ) -> None:
        """Subscribe. `rate()`: frames a second wanted now; `on_restart(reason)`: time went back.

        Raises ConfigError for QoS overrides that are none.
        """
        self._node = node
        self._rate = rate
        self._on_sample = on_sample
        self._on_restart = on_restart
        self._sampler = Sampler(rate())
        self._clocks = Clocks()
        self._type: Any = Image if transport == "raw" else CompressedImage
        self.received = Rate()
        self.sampled = Rate()
        self.decoding = Stopwatch()
        self.stamp_age = 0.0  # s, node clock minus stamp of the newest frame
        self.out_of_order = 0
        self.paused = False
        self._last_arrival = self._last_sample = time.monotonic()
        self._first_arrival = float("inf")
        self._last_warning = self._last_clash_warning = float("-inf")
        self._zero_stamps_told = False
        base = node.resolve_topic_name(topics.IMAGE)
        topic = base if transport == "raw" else topics.compressed(base)
        self._subscription = ImageSubscription(node, self._type, topic, self._receive)
        self.topic = self._subscription.topic
        self.pulse = Pulse(_CHECK_PERIOD)
        # Real time, also where simulated time stands still.
        self._timer = node.create_timer(
            _CHECK_PERIOD, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def destroy(self) -> None:
        self._node.destroy_timer(self._timer)
        self._subscription.destroy()

    def restart(self) -> None:
        """Take the next frame as the first one."""
        self._sampler.reset()
        self._clocks.reset()

    @property
    def qos(self) -> QoSProfile:
        """What the subscription asks for now."""
        return self._subscription.qos

    @property
    def publishers(self) -> list[Any]:
        """What rclpy knows of each publisher of these images."""
        return publishers_of(self._node, self.topic, type_name(self._type))

    @property
    def silence(self) -> float:
        """Seconds of real time since the last image, or since the node could receive one."""
        return self.pulse.time_since(self._last_arrival)

    @property
    def standstill(self) -> float:
        """Seconds of real time since the last image whose stamp made it due."""
        return self.pulse.time_since(self._last_sample)

    @property
    def ignored(self) -> int:
        """Number of images of other clocks than the one that is followed."""
        return self._clocks.ignored

    @property
    def clash(self) -> str:
        """Who sends images with stamps of different clocks; empty while there is one clock."""
        if not self._clocks.differ:
            return ""
        found = self.publishers
        return (
            f"{len(found)} publisher{'s are' if len(found) != 1 else ' is'} on {self.topic} "
            f"({names_of(found) or 'unknown'}), and the images' stamps are of different clocks"
        )

    @property
    def is_thin(self) -> bool:
        """Whether clearly fewer images arrive than are wanted, judged 10 s after the first one."""
        settled = time.monotonic() - self._first_arrival > 10.0
        return settled and self.received.hertz < 0.8 * self._rate()

    def warn_if_silent(self, limit: float) -> None:
        """Log that no image came for `limit` seconds (0: never), and why that may be; now and then again."""
        self._check_pulse()
        now = time.monotonic()
        is_new = self._last_warning < self._last_arrival
        if limit and self.silence > limit and (is_new or now - self._last_warning > _REPEAT_WARNING):
            self._last_warning = now
            reason = describe_silence(self._node, self.topic, type_name(self._type), self.qos)
            if (busy := self.decoding.running) > 1.0:
                reason = f"the node has been decoding an image for {busy:.0f} s"
            self._node.get_logger().warning(f"No images on {self.topic} for {self.silence:.0f} s: {reason}.")

    def decode(self, sample: Sample) -> tuple[np.ndarray, Header, bytes | None]:
        """Return a sample as RGB (height, width, 3) uint8, its header, and the raw Image if it came as one.

        That is still serialised, to be published as it came. Raises FrameError.
        """
        with self.decoding:
            try:
                message = deserialize_message(sample.data, self._type)
            except Exception as error:  # the middleware raises its own types
                raise FrameError("An image message cannot be deserialised; check its publisher.") from error
            if self._type is Image:
                rgb, raw = image_to_rgb(message), sample.data
            else:
                rgb, raw = compressed_to_rgb(message), None
        return rgb, message.header, raw

    def _check(self) -> None:
        self._check_pulse()
        if self._subscription.follow():
            self._node.get_logger().info(
                f"Images on {self.topic}: subscribed as the publishers offer ({describe_qos(self.qos)})."
            )

    def _check_pulse(self) -> None:
        if (pause := self.pulse.beat()) > _LONG_PAUSE:
            self._node.get_logger().warning(
                f"The node handled no messages for {pause:.1f} s: another callback in this process, or the "
                "machine, held it up; images of that time may be lost."
            )

    def _receive(self, data: bytes) -> None:
        arrival = self._last_arrival = time.monotonic()
        self._first_arrival = min(self._first_arrival, arrival)
        self.received.tick()
        if self.paused:
            return
        stamp = self._stamp(data)
        if stamp is None:
            return
        self._sampler.rate = self._rate()
        went_back = self._sampler.is_back(stamp)
        if went_back and self._subscription.may_replay:
            return
        if not self._follows(stamp, arrival, went_back):
            return
        if went_back:
            self._sampler.reset()
            self._on_restart("the images' time went back")
        verdict = self._sampler.offer(stamp)
        if verdict is Verdict.KEEP:
            self.sampled.tick()
            self._last_sample = arrival
            self._on_sample(Sample(data, stamp, arrival))
        elif verdict in (Verdict.LATE, Verdict.DUPLICATE):
            self.out_of_order += 1

    def _follows(self, stamp: int, arrival: float, went_back: bool) -> bool:
        """Whether the image is of the clock that is followed; if not, tell who else publishes."""
        now = self._node.get_clock().now().nanoseconds
        if self._clocks.accepts(stamp, arrival, now, went_back):
            return True
        if arrival - self._last_clash_warning > _REPEAT_WARNING:
            self._last_clash_warning = arrival
            self._node.get_logger().warning(
                f"{self.clash}: only the images nearest to this node's clock are used. Stop the other "
                "publisher, or give each camera a topic of its own."
            )
        return False

    def _stamp(self, data: bytes) -> int | None:
        """Read the stamp (ns) from the start of the serialised message, or use the receive time for zero."""
        if len(data) < 12:
            return None
        # CDR: 4 bytes of encapsulation, the second tells the byte order, then header.stamp.
        seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
        stamp = seconds * NANOSECONDS + nanoseconds
        now = self._node.get_clock().now().nanoseconds
        if stamp > 0:
            self.stamp_age = (now - stamp) / NANOSECONDS
            return stamp
        if not self._zero_stamps_told:
            self._zero_stamps_told = True
            self._node.get_logger().warning(
                f"Images on {self.topic} have no stamp: the receive time is used; let the driver stamp them."
            )
        if now <= 0:
            self._node.get_logger().warning(
                "Images have no stamp and simulated time has not started; publish /clock.",
                throttle_duration_sec=10.0,
            )
            return None
        self.stamp_age = 0.0
        return now
