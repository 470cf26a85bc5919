"""The parameter that every managed node has. Needs no ROS."""

from __future__ import annotations

from stride_ros.parameters.table import START, ParameterSpec

AUTOSTART = ParameterSpec(
    "autostart",
    True,
    "Configure and activate automatically when started with `ros2 run` or `compose`; "
    "false leaves that to a lifecycle manager or the launch file.",
    applies=START,
)
