"""The linter for ROS distributions: the code is clean, and each rule finds what it is for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

TOOL = Path(__file__).parents[2] / "tools" / "check_ros_api.py"


def tool() -> Any:
    spec = importlib.util.spec_from_file_location("check_ros_api", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_package_uses_nothing_that_a_supported_distribution_lacks() -> None:
    done = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("code", "finding"),
    [
        ("with rclpy.init():\n    pass", "not a context manager"),
        ("rclpy.shutdown()", "try_shutdown"),
        ("try:\n    executor.spin()\nexcept KeyboardInterrupt:\n    pass", "ExternalShutdownException"),
        ("clock.create_jump_callback(threshold)", "keep the handle"),
        ("JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=1))", "negative"),
        ("LifecycleNode(package='p', autostart=True)", "launch events"),
        ("node.create_timer(1.0, f, autostart=False)", "Humble"),
        ("node.add_post_set_parameters_callback(f)", "Humble"),
        ("from rclpy.event_handler import PublisherEventCallbacks", "Humble"),
        ("from rclpy.experimental import EventsExecutor", "experimental"),
        ("self.get_logger().warn('x')", "use warning"),
        (
            "class N(LifecycleNode):\n    def on_activate(self, s):\n        self._attempt(f)",
            "super()",
        ),
        ("class N(LifecycleNode):\n    def on_configure(self, s):\n        self.load()", "wrap it"),
    ],
)
def test_each_rule_finds_its_case(code: str, finding: str) -> None:
    assert any(finding in reason for _, reason in tool().findings(code))


def test_what_works_everywhere_is_left_alone() -> None:
    good = """
try:
    executor.spin()
except (KeyboardInterrupt, ExternalShutdownException):
    pass
handle = clock.create_jump_callback(JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1)))
status.warn("not a logger")
"""
    assert list(tool().findings(good)) == []
