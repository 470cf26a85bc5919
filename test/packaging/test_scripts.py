"""scripts/: a program that `ros2 run` starts may be imported, as its worker processes do."""

import runpy
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[2] / "scripts").iterdir())


@pytest.mark.ros
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_it_does_nothing_when_it_is_imported(script):
    pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is missing")
    runpy.run_path(str(script), run_name="__mp_main__")
