"""Read an image topic: take the frames that are due, judge their stamps, warn when no images arrive."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from stride_ros.activation.frame_path import Frame
from stride_ros.activation.intake import Intake, cdr_stamp
from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.bags.storage import BagMessage, Channel
from stride_ros.bags.video import Packet, PictureMessage, packet_of
from stride_ros.errors import ConfigError, FrameError
from stride_ros.imaging.images import compressed_to_rgb, image_to_rgb
from stride_ros.imaging.video import frame_to_rgb
from stride_ros.nodes.diagnostics import Rate
from stride_ros.nodes.image_input_video import LivePacket, LivePackets, carries_packet, packet_class
from stride_ros.nodes.image_subscription import ImageSubscription
from stride_ros.nodes.messages import to_nanoseconds, to_time
from stride_ros.nodes.publishers import InputSettings, describe_silence, names_of, publishers_of, type_name
from stride_ros.nodes.pulse import Pulse, Stopwatch
from stride_ros.nodes.qos import describe_qos
from stride_ros.text import topics

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.qos import QoSProfile

    from stride_ros.activation.clock import Reading
    from stride_ros.activation.notes import StreamNotes

_REPEAT_WARNING = 30.0  # s
_CHECK_PERIOD = 0.25  # s between checks of the publishers' QoS: a camera's first images count
_LONG_PAUSE = 3.0  # s without a callback that are worth a warning


@dataclass(frozen=True)
class LiveFrame(Frame):
    """A frame from the topic.

    `header`: with the stamp in use. `arrival`: time.monotonic() in s. `raw`: the same frame as a serialised
    Image, if it arrived as one.
    """

    header: Header
    arrival: float
    raw: bytes | None


class ImageInput:
    """Reads `image` or `image/compressed`; calls back for frames that are due, and when time jumps.

    The images stay serialised until a frame is due: most images of a fast camera are never decoded. Packets
    of a video are all decoded, but only due pictures become arrays. A topic that carries packets of another
    type than its transport's is subscribed to with that type.
    """

    def __init__(
        self,
        node: Node,
        camera: str = "",
        *,
        transport: str,
        rate: Callable[[], float],
        notes: StreamNotes,
        on_due: Callable[[Callable[[], LiveFrame]], None],
        on_jump: Callable[[Reading], None],
        on_rejected: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """Subscribe to the topic of the camera. `rate()`: currently wanted frames per second.

        `notes`: counts what is odd about the images.

        `on_due(decode)`: a frame is due; `decode` makes it in any thread, or raises FrameError.
        `on_jump(reading)`: the clock was set before the next due frame. `on_rejected(error)`: an image cannot
        be used, due or not. Raises ConfigError for invalid QoS overrides.
        """
        self._node = node
        self._settings = InputSettings(camera)
        self._rate = rate
        self._on_due = on_due
        self._on_jump = on_jump
        self._on_rejected = on_rejected
        self._notes = notes
        self._intake = Intake(rate(), notes)
        self._transport_type: Any = Image if transport == "raw" else CompressedImage
        self._packets: LivePackets | None = None  # once a packet has arrived
        self._epoch = 0
        self.received = Rate()
        self.sampled = Rate()
        self.decoding = Stopwatch()
        self.stamp_age = 0.0  # s, node clock minus stamp of the newest frame
        self.paused = False
        self._last_arrival = self._last_due = time.monotonic()
        self._first_arrival = float("inf")
        self._last_warning = self._last_clash_warning = float("-inf")
        base = node.resolve_topic_name(topics.of_camera(camera, topics.IMAGE))
        self._name = base if transport == "raw" else topics.compressed(base)
        self.topic = node.resolve_topic_name(self._name)
        self._type = self._carried() or self._transport_type
        self._subscription = ImageSubscription(node, self._type, self._name, self._receive, self._settings)
        self.pulse = Pulse(_CHECK_PERIOD)
        # Real time, even when simulated time stands still.
        self._timer = node.create_timer(
            _CHECK_PERIOD, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def destroy(self) -> None:
        self._node.destroy_timer(self._timer)
        self._subscription.destroy()
        self._end_video()

    def restart(self) -> None:
        """Treat the next frame as the first one."""
        self._intake.reset()
        self._epoch += 1

    @property
    def is_idle(self) -> bool:
        """Whether every received packet of a video has been decoded and taken."""
        return self._packets is None or self._packets.is_idle

    @property
    def qos(self) -> QoSProfile:
        """The QoS that the subscription requests now."""
        return self._subscription.qos

    @property
    def publishers(self) -> list[Any]:
        """What rclpy knows of each publisher of these images."""
        return publishers_of(self._node, self.topic, type_name(self._type))

    @property
    def silence(self) -> float:
        """Seconds of real time since the last image, or since the node has been able to receive one."""
        return self.pulse.time_since(self._last_arrival)

    @property
    def standstill(self) -> float:
        """Seconds of real time since the last image whose stamp made it due."""
        return self.pulse.time_since(self._last_due)

    @property
    def ignored(self) -> int:
        """Number of images from other clocks than the followed one."""
        return self._notes.count("foreign")

    @property
    def out_of_order(self) -> int:
        """Number of images with the stamp of an earlier image, or a slightly older one."""
        return self._notes.count("late")

    @property
    def clash(self) -> str:
        """Which publishers send images with stamps of different clocks; empty while there is one clock."""
        if not self._intake.cameras_differ:
            return ""
        found = self.publishers
        return (
            f"{len(found)} publisher{'s are' if len(found) != 1 else ' is'} on {self.topic} "
            f"({names_of(found) or 'unknown'}), and the images' stamps come from different clocks"
        )

    @property
    def is_thin(self) -> bool:
        """Whether clearly fewer images arrive than wanted, judged from 10 s after the first one."""
        settled = time.monotonic() - self._first_arrival > 10.0
        return settled and self.received.hertz < 0.8 * self._rate()

    def warn_if_silent(self, limit: float) -> None:
        """Log now and then that no image came for `limit` seconds (0: never), with the likely reason."""
        self._check_pulse()
        now = time.monotonic()
        is_new = self._last_warning < self._last_arrival
        if limit and self.silence > limit and (is_new or now - self._last_warning > _REPEAT_WARNING):
            self._last_warning = now
            reason = describe_silence(self._node, self.topic, type_name(self._type), self.qos, self._settings)
            if (busy := self.decoding.running) > 1.0:
                reason = f"the node has been decoding an image for {busy:.0f} s"
            self._node.get_logger().warning(f"No images on {self.topic} for {self.silence:.0f} s: {reason}.")

    def _check(self) -> None:
        self._check_pulse()
        if (kind := self._carried()) not in (None, self._type):
            self._change_type(kind)
        if self._subscription.follow():
            self._node.get_logger().info(
                f"Images on {self.topic}: subscribed as the publishers offer ({describe_qos(self.qos)})."
            )

    def _carried(self) -> Any | None:
        """The usable message class that publishers send; None while there is no such publisher."""
        types = {publisher.topic_type for publisher in publishers_of(self._node, self.topic)}
        if type_name(self._transport_type) in types:
            return self._transport_type
        return next((found for kind in sorted(types) if (found := packet_class(kind)) is not None), None)

    def _change_type(self, kind: Any) -> None:
        self._node.get_logger().info(f"Images on {self.topic}: the topic carries {type_name(kind)}.")
        self._end_video()
        self._subscription.destroy()  # first: a process may use only one type of a topic
        self._type = kind
        try:
            self._subscription = ImageSubscription(
                self._node, kind, self._name, self._receive, self._settings
            )
        except ConfigError as error:
            self._node.get_logger().error(str(error))

    def _end_video(self) -> None:
        self._epoch += 1  # pictures still being decoded are counted but not used
        if self._packets is not None:
            if lost := self._packets.destroy():
                self._notes.abandoned(lost)
            self._packets = None

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
            if self._packets is not None:
                self._packets.interrupt()
            return
        now = self._node.get_clock().now().nanoseconds
        if self._packets is not None or self._is_packet(data):
            self._push(data, now, arrival)
        else:
            self._take(data, now, arrival, lambda reading: self._decode(data, reading, arrival))

    def _take(self, data: bytes, now: int, arrival: float, decode: Callable[[Reading], LiveFrame]) -> None:
        """Take an image if it is due; `now`: the node's clock at its arrival, ns."""
        self._intake.rate = self._rate()
        if (reading := self._read(data, now, arrival)) is None or not self._intake.is_due(reading):
            return
        if reading.jump is not None:
            self._on_jump(reading)
        self.sampled.tick()
        self._last_due = arrival
        self._on_due(lambda: decode(reading))

    def _read(self, data: bytes, now: int, arrival: float) -> Reading | None:
        """Judge an image by its stamp; None for one that is skipped."""
        try:
            stamp = cdr_stamp(data)
        except FrameError as error:
            self._reject(error)
            return None
        if self._intake.is_back(stamp) and self._subscription.may_replay:
            return None
        self.stamp_age = (now - stamp) / NANOSECONDS if stamp > 0 else 0.0
        reading = self._intake.read(stamp, now)
        self._tell_news()
        if reading is None and self._intake.cameras_differ:
            self._tell_clash(arrival)
        elif reading is None:
            self._node.get_logger().warning(
                "Images have no stamp and simulated time has not started; publish /clock.",
                throttle_duration_sec=10.0,
            )
        return reading

    def _tell_news(self) -> None:
        for sentence in self._notes.news():
            self._node.get_logger().warning(sentence)

    def _reject(self, error: Exception) -> None:
        self._intake.reject(error)
        self._on_rejected(error)
        self._tell_news()

    # Video

    def _is_packet(self, data: bytes) -> bool:
        if self._type is Image:
            return False
        return self._type is not CompressedImage or carries_packet(data)

    def _push(self, data: bytes, now: int, arrival: float) -> None:
        """Queue a packet, or a picture among packets, for decoding."""
        if self._packets is None:
            self._packets = LivePackets(self._node, self._packet, self._show)
        channel = Channel(0, self.topic, type_name(self._type), "cdr")
        if dropped := self._packets.push(LivePacket(channel, now, data, arrival, self._epoch)):
            self._notes.crowded(dropped)
            self._tell_news()

    def _packet(self, message: BagMessage) -> Packet:
        """Read a packet; called in the decoder's thread."""
        return packet_of(self._deserialised(message.data), message.channel.msgtype)

    def _show(self, message: BagMessage | FrameError) -> None:
        """Take the result of a packet."""
        if isinstance(message, FrameError):
            self._reject(message)
            return
        packet = message.packet if isinstance(message, PictureMessage) else message
        assert isinstance(packet, LivePacket), "the stream gives back what it was given"
        if packet.epoch != self._epoch or self.paused:
            self._notes.abandoned(1)  # the input ended or restarted meanwhile
            return

        def decode(reading: Reading) -> LiveFrame:
            if isinstance(message, PictureMessage):
                return self._convert(message, reading, packet.arrival)
            return self._decode(packet.data, reading, packet.arrival)

        received = message.received if isinstance(message, PictureMessage) else packet.log_time
        self._take(packet.data, received, packet.arrival, decode)

    def _convert(self, message: PictureMessage, reading: Reading, arrival: float) -> LiveFrame:
        """Make a frame from a decoded picture. Raises FrameError."""
        with self.decoding:
            rgb = frame_to_rgb(message.picture)
        header = Header(stamp=to_time(reading.stamp), frame_id=message.frame_id)
        return LiveFrame(reading, rgb, message.frame_id, header, arrival, None)

    def _tell_clash(self, arrival: float) -> None:
        if arrival - self._last_clash_warning > _REPEAT_WARNING:
            self._last_clash_warning = arrival
            self._node.get_logger().warning(
                f"{self.clash}: only the images nearest to this node's clock are used. Stop the other "
                "publisher, or give each camera its own topic."
            )

    def _decode(self, data: bytes, reading: Reading, arrival: float) -> LiveFrame:
        """Make a frame from an image. Raises FrameError."""
        with self.decoding:
            message = self._deserialised(data)
            raw: bytes | None = None
            if self._type is Image:
                rgb, raw = image_to_rgb(message), data
            else:
                rgb = compressed_to_rgb(message)
        header = message.header
        if to_nanoseconds(header.stamp) != reading.stamp:
            header, raw = Header(stamp=to_time(reading.stamp), frame_id=header.frame_id), None
        return LiveFrame(reading, rgb, header.frame_id, header, arrival, raw)

    def _deserialised(self, data: bytes) -> Any:
        try:
            return deserialize_message(data, self._type)
        except Exception as error:  # the middleware raises its own types
            raise FrameError("An image message cannot be deserialised; check its publisher.") from error
