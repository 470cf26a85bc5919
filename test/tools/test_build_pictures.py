"""Pictures of every kind are read or refused within a robot's memory. STRIDE_PICTURES says how many.

What they cost of processor time is not a matter of a test, since the machine may be busy: the tool says it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="OpenCV is missing; install it with: pip install opencv-python-headless")
pytestmark = pytest.mark.slow

TOOL = Path(__file__).parents[2] / "tools/build_pictures.py"


def test_no_picture_costs_more_than_a_robot_has():
    count = os.environ.get("STRIDE_PICTURES", "40")
    command = [sys.executable, TOOL, "--count", count, "--pixels", "1000000", "--cpu-limit", "100"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["pictures"], result["faults"]) == (int(count), 0)
    assert result["read"] > 0
    assert result.get("refused", 0) + result.get("damaged", 0) > 0
