"""Subscriptions to the `frames` that the activation node publishes, for nodes that need what it saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from stride_ros.errors import StrideError
from stride_ros.imaging.images import image_to_rgb
from stride_ros.nodes.diagnostics import Rate
from stride_ros.nodes.lifecycle import ManagedNode
from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.nodes.qos import FRAMES_QOS
from stride_ros.text import topics
from stride_ros.text.wording import of_camera

_WARNING_PERIOD = 5.0  # s between repeated warnings


class FrameInput:
    """Passes the frames of some cameras to `take(image, stamp, camera)`: (H, W, 3) uint8 RGB, ns, name.

    A frame that cannot be used (`take` may raise StrideError, too) is skipped, counted in `rejected`, and
    logged by the node. `rate`: rate of all frames received. While `wanted()` is false, frames are ignored.
    """

    def __init__(
        self,
        node: ManagedNode,
        take: Callable[[NDArray[np.uint8], int, str], None],
        *,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self.rate = Rate()
        self.rejected = 0
        self._node, self._take, self._wanted = node, take, wanted

    def subscribe(self, cameras: Sequence[str]) -> list[Any]:
        """Subscribe to the frames of these cameras, or of the unnamed one; the caller destroys the result."""
        return [self._subscription(camera) for camera in cameras or ("",)]

    def _subscription(self, camera: str) -> Any:
        topic = topics.of_camera(camera, topics.FRAMES)
        return self._node.create_subscription(
            Image, topic, lambda message: self._on_frame(camera, message), FRAMES_QOS
        )

    def _on_frame(self, camera: str, message: Image) -> None:
        self.rate.tick()
        if not self._wanted():
            return
        try:
            self._take(image_to_rgb(message), to_nanoseconds(message.header.stamp), camera)
        except StrideError as error:
            self.rejected += 1
            self._node.last_error = str(error)
            self._node.get_logger().warning(
                of_camera(camera, f"Skipped a frame: {error}"), throttle_duration_sec=_WARNING_PERIOD
            )
