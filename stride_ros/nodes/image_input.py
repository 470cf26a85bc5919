"""Watch an image topic: take the frames that are due, judge their stamps, say so when no images come."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image

from stride_ros.errors import FrameError
from stride_ros.nodes.diagnostics import Rate
from stride_ros.nodes.images import compressed_to_rgb, image_to_rgb, rgb_to_image
from stride_ros.nodes.qos import IMAGE_QOS, describe_publishers, image_subscription_overrides
from stride_ros.nodes.sampling import NANOSECONDS, Sampler, Verdict

if TYPE_CHECKING:
    import numpy as np
    from rclpy.node import Node
    from std_msgs.msg import Header

_REPEAT_SILENCE_WARNING = 30.0  # s


@dataclass(frozen=True)
class Sample:
    """One frame that was due, still serialised: most frames of a fast camera are never decoded."""

    data: bytes
    stamp_ns: int
    arrival: float  # s, time.monotonic()


class ImageInput:
    """The subscription to `image` or `image/compressed`; calls back for samples and for restarts of time."""

    def __init__(
        self,
        node: Node,
        *,
        transport: str,
        rate: Callable[[], float],
        on_sample: Callable[[Sample], None],
        on_restart: Callable[[str], None],
    ) -> None:
        """Subscribe. `rate()`: frames a second wanted now; `on_restart(reason)`: time went back."""
        self._node = node
        self._rate = rate
        self._on_sample = on_sample
        self._on_restart = on_restart
        self._sampler = Sampler(rate())
        self._type: Any = Image if transport == "raw" else CompressedImage
        base = node.resolve_topic_name("image")
        # QoS overrides are written into the profile, hence a copy for each subscription.
        self.qos = _copy(IMAGE_QOS)
        self._subscription = node.create_subscription(
            self._type,
            base if transport == "raw" else f"{base}/compressed",
            self._receive,
            self.qos,
            qos_overriding_options=image_subscription_overrides(),
            raw=True,
        )
        self.topic = self._subscription.topic_name
        self.received = Rate()
        self.sampled = Rate()
        self.stamp_age = 0.0  # s, node clock minus stamp of the newest frame
        self.out_of_order = 0
        self.paused = False
        self._last_arrival = self._last_sample = time.monotonic()
        self._first_arrival = float("inf")
        self._last_warning = float("-inf")
        self._zero_stamps_told = False

    def destroy(self) -> None:
        self._node.destroy_subscription(self._subscription)

    def restart(self) -> None:
        """Take the next frame as the first one."""
        self._sampler.reset()

    @property
    def silence(self) -> float:
        """Seconds of real time since the last image (or since the subscription)."""
        return time.monotonic() - self._last_arrival

    @property
    def standstill(self) -> float:
        """Seconds of real time since the last image whose stamp made it due."""
        return time.monotonic() - self._last_sample

    @property
    def is_thin(self) -> bool:
        """Whether clearly fewer images arrive than are wanted, judged 10 s after the first one."""
        settled = time.monotonic() - self._first_arrival > 10.0
        return settled and self.received.hertz < 0.8 * self._rate()

    def warn_if_silent(self, limit: float) -> None:
        """Log that no image came for `limit` seconds (0: never), and why that may be; now and then again."""
        now = time.monotonic()
        is_new = self._last_warning < self._last_arrival
        if limit and self.silence > limit and (is_new or now - self._last_warning > _REPEAT_SILENCE_WARNING):
            self._last_warning = now
            reason = describe_publishers(self._node, self.topic, self.qos)
            self._node.get_logger().warning(f"No images on {self.topic} for {self.silence:.0f} s: {reason}.")

    def decode(self, sample: Sample) -> tuple[np.ndarray, Header, bytes | Image]:
        """Return a sample as RGB (height, width, 3) uint8, its header, and what to publish as a raw Image.

        An image that came raw is published as it came, without serialising it again. Raises FrameError.
        """
        try:
            message = deserialize_message(sample.data, self._type)
        except Exception as error:  # the middleware raises its own types
            raise FrameError("An image message cannot be deserialised; check its publisher.") from error
        if self._type is Image:
            return image_to_rgb(message), message.header, sample.data
        rgb = compressed_to_rgb(message)
        return rgb, message.header, rgb_to_image(rgb, message.header)

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
        verdict = self._sampler.offer(stamp)
        if verdict is Verdict.BACKWARD:
            self._sampler.reset()
            verdict = self._sampler.offer(stamp)
            self._on_restart("the images' time went back")
        if verdict is Verdict.KEEP:
            self.sampled.tick()
            self._last_sample = arrival
            self._on_sample(Sample(data, stamp, arrival))
        elif verdict in (Verdict.LATE, Verdict.DUPLICATE):
            self.out_of_order += 1

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


def _copy(profile: Any) -> Any:
    from rclpy.qos import QoSProfile

    return QoSProfile(
        history=profile.history,
        depth=profile.depth,
        reliability=profile.reliability,
        durability=profile.durability,
    )
