"""Raw 4K images reach the node as they come, with the shipped profile of Fast DDS."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
from stride_ros.msg import ActivationWindow  # noqa: E402

from stride_ros.nodes.messages import to_nanoseconds  # noqa: E402
from stride_ros.nodes.qos import WINDOW_QOS  # noqa: E402

ROOT = Path(__file__).parents[2]
SECOND = 10**9  # ns
NEEDED = 256 * 2**20  # bytes of shared memory for both processes, with room for others


def test_shipped_profile_carries_raw_4k_images(graph: Any, processes: Any, tmp_path: Path) -> None:
    """With Fast DDS's own 512 KiB segment best effort loses all but a few of them."""
    shared = os.statvfs("/dev/shm")
    if shared.f_bavail * shared.f_frsize < NEEDED:
        pytest.skip(f"/dev/shm has less than {NEEDED >> 20} MiB free")
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((2160, 3840, 3), 80 * i, np.uint8))
    profile = str(ROOT / "config" / "fastdds_large_images.xml")
    environment = {
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,  # its name before Fast DDS 3
    }

    def start(script: str, **parameters: object) -> None:
        arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
        processes.start(script, "--ros-args", *arguments, **environment)

    windows = graph.collect(ActivationWindow, "activation/window", WINDOW_QOS)
    start("activation_node", model=ROOT / "test" / "golden" / "checkpoint_single", device="cpu")
    start("camera_node", source=tmp_path, rate=1.0, loop="true", wait_for_subscriber="true")

    def in_a_row() -> bool:
        stamps = [to_nanoseconds(window.header.stamp) for window in windows[-4:]]
        return len(stamps) == 4 and stamps[-1] - stamps[0] == 3 * SECOND

    graph.wait(in_a_row, "decisions on four images in a row")
