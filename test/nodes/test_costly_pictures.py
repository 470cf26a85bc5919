"""Pictures that a camera should not send, amid good ones: decisions go on, and /diagnostics tells."""

from __future__ import annotations

import array
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
PillowImage = pytest.importorskip("PIL.Image")
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.qos import QoSProfile, QoSReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import CompressedImage  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from stride_ros.msg import ActivationWindow  # noqa: E402

from stride_ros.nodes.activation_node import ActivationNode  # noqa: E402
from stride_ros.nodes.messages import to_nanoseconds, to_time  # noqa: E402
from stride_ros.nodes.qos import WINDOW_QOS  # noqa: E402

CHECKPOINT = Path(__file__).parents[1] / "golden" / "checkpoint_single"
ORIGIN, SECOND = 1_700_000_000 * 10**9, 10**9  # ns
RELIABLE = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)


def good(index: int = 0) -> bytes:
    """A JPEG of 64x48; its grey tells the index."""
    return bytes(cv2.imencode(".jpg", np.full((48, 64, 3), (37 * index) % 256, np.uint8))[1])


def many_scans() -> bytes:
    """A progressive JPEG with 300 scans, each a pass over 33 million pixels."""
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    data = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8), options)[1].tobytes()
    frame = data.find(b"\xff\xc2")
    data = data[: frame + 5] + struct.pack(">HH", 4320, 7680) + data[frame + 9 :]
    return data[:-2] + 300 * data[data.rfind(b"\xff\xda") : -2] + bytes(40_000) + b"\xff\xd9"


def deep_png() -> bytes:
    """A header of 62 million pixels of 16-bit colour."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 7900, 7900, 16, 2, 0, 0, 0)
    rows = b"IDAT" + zlib.compress(bytes(100_000)) + bytes(40_000)
    parts = (
        struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in (head, rows, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(kind: str, size: tuple[int, int] = (64, 48)) -> Callable[[], bytes]:
    def make() -> bytes:
        file = io.BytesIO()
        PillowImage.new("RGB", size, (9, 90, 9)).save(file, kind)
        return file.getvalue()

    return make


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "JPEG of many scans": (many_scans, "scans"),
    "PNG too large to decode": (deep_png, "would take too long or too much memory"),
    "GIF": (saved("GIF"), "is damaged or not one of JPEG, PNG, WEBP, TIFF, BMP"),
    "cut JPEG": (lambda: good()[:300], "is damaged"),
    "empty": (lambda: b"", "is empty"),
    "a page": (lambda: b"<html>404 Not Found</html>", "is damaged or not one of"),
}


class Camera:
    """Sends compressed images to a node of the graph and waits for what becomes of them."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
        self.arrays = graph.collect(DiagnosticArray, "/diagnostics")
        graph.host(
            ActivationNode,
            {
                **{"model": str(CHECKPOINT), "device": "cpu", "query": "Tell me when it happens."},
                **{"image_transport": "compressed"},
            },
        )
        assert graph.transition("activation", "configure")
        assert graph.transition("activation", "activate")
        self.publisher = graph.publisher(CompressedImage, "image/compressed", RELIABLE)

    def send(self, data: bytes, second: int, arrived: Callable[[], Any], what: str) -> None:
        header = Header(stamp=to_time(ORIGIN + second * SECOND), frame_id="camera")
        message = CompressedImage(header=header, format="jpeg", data=array.array("B", data))
        self.graph.send(self.publisher, message, arrived, what)

    def decide(self, second: int) -> None:
        """Send a good image, which is decided on."""

        def decided() -> bool:
            stamps = (to_nanoseconds(window.header.stamp) for window in self.windows)
            return ORIGIN + second * SECOND in stamps

        self.send(good(second), second, decided, f"a decision on the image of second {second}")

    def is_told(self, reason: str) -> bool:
        messages = (status.message for found in self.arrays for status in found.status)
        return any("images are skipped" in message and reason in message for message in messages)


@pytest.fixture
def camera(graph: Any) -> Camera:
    return Camera(graph)


def test_decisions_go_on_with_the_next_good_image(camera: Camera) -> None:
    camera.decide(0)
    for number, (name, (make, reason)) in enumerate(BAD.items()):
        camera.arrays.clear()
        camera.send(
            make(), 2 * number + 1, lambda reason=reason: camera.is_told(reason), f"{name} to be told"
        )
        camera.decide(2 * number + 2)


def test_a_picture_that_is_only_large_is_decided_on(camera: Camera) -> None:
    camera.decide(0)
    large = saved("PNG", (6000, 4000))()

    def decided() -> bool:
        return any(to_nanoseconds(window.header.stamp) == ORIGIN + SECOND for window in camera.windows)

    camera.send(large, 1, decided, "a decision on 24 megapixels")
    camera.decide(2)
