"""The camera node: publishes images from a file, a folder, a V4L2 camera or the synthetic world."""

from __future__ import annotations

import threading
import time
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.errors import StrideError
from stride_ros.imaging.images import rgb_to_compressed, rgb_to_image
from stride_ros.msg import ActivationSpan
from stride_ros.nodes.calibration import Calibration, camera_info_topic, uncalibrated
from stride_ros.nodes.messages import to_time
from stride_ros.nodes.parameters import Parameters
from stride_ros.nodes.qos import CAMERA_QOS, SPAN_QOS
from stride_ros.nodes.runner import run
from stride_ros.parameters.camera import TABLE
from stride_ros.parameters.table import with_default
from stride_ros.sources import FrameSource, open_source
from stride_ros.sources.frames import until
from stride_ros.text import topics
from stride_ros.text.wording import counted, escaped


class CameraNode(Node):  # type: ignore[misc]  # untyped library
    """Publishes `image` with `camera_info`, optionally `image/compressed`, and a world's `ground_truth`.

    `camera_info` is next to the image topic, whatever its name. The ground truth consists of ActivationSpans.

    Stamps follow the source's own times from the moment it starts, so that the graph sees the scene's time at
    any speed; a live camera's images are stamped on arrival.
    """

    def __init__(self, *, wait_for_subscriber: bool = False, **node_options: Any) -> None:
        """Open the source and start.

        `wait_for_subscriber`: default of that parameter, for programs that also start a node that subscribes.
        `node_options` go to rclpy's Node. Raises SourceError, ConfigError.
        """
        super().__init__("camera", **node_options)
        try:
            table = with_default(TABLE, "wait_for_subscriber", wait_for_subscriber)
            self.parameters = Parameters(self, table)
            url = self.parameters["camera_info_url"]
            self._calibration = Calibration.load(url) if url else None
            source = self._open(self.parameters["seed"])
        except StrideError:
            super().destroy_node()
            raise
        self._images = self.create_publisher(Image, topics.IMAGE, CAMERA_QOS)
        self._info = self.create_publisher(CameraInfo, self._info_topic(), CAMERA_QOS)
        self._compressed = None
        if self.parameters["compressed"]:
            topic = topics.compressed(self.resolve_topic_name(topics.IMAGE))
            self._compressed = self.create_publisher(CompressedImage, topic, CAMERA_QOS)
        self._truth = (
            self.create_publisher(ActivationSpan, topics.GROUND_TRUTH, SPAN_QOS) if source.events else None
        )
        self._next_span_id = 1
        self._stopping = threading.Event()
        self.finished = threading.Event()  # set when the source has ended or failed
        self.published = 0
        self.length = 0.0  # s from the first image that was published to the end of the newest one
        self.notes: list[str] = []  # what was left out of the source or odd about it
        self.get_logger().info(f"Playing {escaped(source.name)}.")
        self._thread = threading.Thread(target=self._play, args=(source,), name="stride-camera", daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop playing and destroy the node."""
        self._stopping.set()
        self._thread.join(timeout=5.0)
        super().destroy_node()

    def _open(self, seed: int) -> FrameSource:
        values = self.parameters.values()
        size = (values["width"], values["height"])
        return open_source(
            values["source"],
            rate=values["rate"],
            seconds=values["seconds"],
            size=size,
            seed=seed,
            image_topic=values["source_topic"] or None,
            topic_option="the parameter source_topic",
        )

    def _info_topic(self) -> str:
        """`camera_info` as remapped, otherwise next to the image topic."""
        name = topics.CAMERA_INFO
        if self.resolve_topic_name(name) != self.resolve_topic_name(name, only_expand=True):
            return name
        return camera_info_topic(self.resolve_topic_name(topics.IMAGE))

    # The camera's thread

    def _play(self, source: FrameSource) -> None:
        try:
            self._wait_to_begin()
            origin, seed = self.get_clock().now().nanoseconds, self.parameters["seed"]
            while not self._stopping.is_set():
                origin += self._play_once(source, origin)
                self._tell(source)
                if not self.parameters["loop"]:
                    self.get_logger().info(
                        f"{escaped(source.name)} ended after {counted(self.published, 'image')}."
                    )
                    break
                seed += 1
                source = self._open(seed)
        except StrideError as error:
            self.get_logger().error(str(error))
        except Exception as error:
            # The context may end while an image is being published; anything else is logged.
            if self.context.ok():
                self.get_logger().error(escaped(f"The source failed: {type(error).__name__}: {error}"))
        finally:
            self.finished.set()

    def _tell(self, source: FrameSource) -> None:
        """Log what was skipped; only once in a loop."""
        for note in source.notes:
            if note not in self.notes:
                self.notes.append(note)
                self.get_logger().warning(note)

    def _wait_to_begin(self) -> None:
        """Wait for a subscriber, if configured, and for simulated time: a stamp of zero means no time."""
        publishers = [self._images] + ([self._compressed] if self._compressed else [])
        while self.context.ok() and not self._stopping.is_set():
            met = any(publisher.get_subscription_count() for publisher in publishers)
            if (met or not self.parameters["wait_for_subscriber"]) and self.get_clock().now().nanoseconds:
                return
            self._stopping.wait(0.05)

    def _play_once(self, source: FrameSource, origin: int) -> int:
        """Publish the source at its pace; return how much later (ns) the next round starts."""
        speed, started = self.parameters["speed"], time.monotonic()
        truth = _Truth(source, self._next_span_id)
        period = 1.0 / self.parameters["rate"]
        end = newest = 0.0
        for frame in source.frames():
            if not source.live and self._stopping.wait(started + frame.time / speed - time.monotonic()):
                break
            if self._stopping.is_set() or not self.context.ok():
                break
            stamp = origin + round(frame.time * NANOSECONDS)
            if source.live:
                stamp = self.get_clock().now().nanoseconds
            header = Header(stamp=to_time(stamp), frame_id=self.parameters["frame_id"])
            self._images.publish(rgb_to_image(frame.image, header))
            self._info.publish(self._camera_info(frame.image.shape, header))
            if self._compressed is not None:
                self._compressed.publish(rgb_to_compressed(frame.image, header))
            self.published += 1
            if self._truth is not None:
                for span in truth.until(frame.time, header, origin):
                    self._truth.publish(span)
            self.length = until(frame.time, newest, period)
            end, newest = frame.time + period, frame.time
        if self._truth is not None and not self._stopping.is_set():
            header = Header(stamp=to_time(origin + round(end * NANOSECONDS)))
            for span in truth.until(float("inf"), header, origin):
                self._truth.publish(span)
        self._next_span_id += len(source.events)
        return round(end * NANOSECONDS)

    def _camera_info(self, shape: tuple[int, ...], header: Header) -> CameraInfo:
        """The calibration if it fits images of this shape (height, width, ...), otherwise only their size."""
        size = (shape[1], shape[0])
        if self._calibration and self._calibration.size == size:
            return self._calibration.message(header)
        if self._calibration:
            width, height = self._calibration.size
            self.get_logger().warning(
                f"camera_info says uncalibrated: the images are {size[0]}x{size[1]}, the calibration is for "
                f"{width}x{height}; calibrate at the size of the images, or set width and height.",
                once=True,
            )
        return uncalibrated(header, size)


class _Truth:
    """The ground-truth spans of a source as messages: ONSET when an event starts, OFFSET when it is over."""

    def __init__(self, source: FrameSource, first_id: int) -> None:
        changes = []
        for span_id, event in enumerate(source.events, start=first_id):
            changes.append((event.start, ActivationSpan.ONSET, span_id, event))
            changes.append((event.end, ActivationSpan.OFFSET, span_id, event))
        self._changes = sorted(changes, key=lambda change: change[:3])

    def until(self, seconds: float, header: Header, origin: int) -> list[ActivationSpan]:
        """Return the spans since the last call, up to `seconds` of the source's time."""
        due = []
        while self._changes and self._changes[0][0] <= seconds:
            _, state, span_id, event = self._changes.pop(0)
            due.append(
                ActivationSpan(
                    header=header,
                    span_id=span_id,
                    state=state,
                    query=event.query,
                    start=to_time(origin + round(event.start * NANOSECONDS)),
                    end=to_time(origin + round(event.end * NANOSECONDS)),
                    confidence=1.0,
                    model="world",
                    onset=to_time(origin + round(event.start * NANOSECONDS)),
                )
            )
        return due


def main() -> int:
    """Run the node until it is stopped; returns the exit code."""
    return run(CameraNode)


if __name__ == "__main__":
    raise SystemExit(main())
