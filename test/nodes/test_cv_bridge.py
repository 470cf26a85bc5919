"""cv_bridge converts what the package cannot, and only with NumPy 1: under NumPy 2 its import may crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing; source a ROS 2 distribution")

# Converts one image of an encoding that only this bridge knows, as a process whose NumPy says it is VERSION.
PROGRAM = """
import sys
import numpy as np
from sensor_msgs.msg import Image
np.__version__ = sys.argv[1]
from stride_ros.errors import FrameError
from stride_ros.imaging.images import image_to_rgb
try:
    image = Image(encoding="hal9000", height=2, width=3, step=3, data=[1] * 6)
    print("pixels", image_to_rgb(image)[0, 0].tolist())
except FrameError as error:
    print(error)
"""
BRIDGE = """
import numpy as np
class CvBridge:
    def imgmsg_to_cv2(self, message, desired_encoding):
        return np.full((message.height, message.width, 3), 7, np.uint8)
"""
CRASHES = "import os, sys\nsys.stderr.write('cv_bridge was imported')\nos.abort()\n"


def convert(folder: Path, cv_bridge: str, numpy_version: str) -> str:
    """Return what the program prints with this text as the module cv_bridge."""
    (folder / "cv_bridge.py").write_text(cv_bridge)
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, numpy_version],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_cv_bridge_knows_further_encodings_with_numpy_1(tmp_path: Path) -> None:
    assert convert(tmp_path, BRIDGE, "1.26.4") == "pixels [7, 7, 7]\n"


@pytest.mark.parametrize("version", ["2.0.0rc1", "2.4.6", "10.0.0", np.__version__])
def test_cv_bridge_is_not_even_imported_with_numpy_2(tmp_path: Path, version: str) -> None:
    if version.startswith("1."):
        pytest.skip("NumPy 1 is installed")
    assert "Encoding 'hal9000' is not supported; publish one of" in convert(tmp_path, CRASHES, version)
