"""Parameters of the event log node. Needs no ROS."""

from __future__ import annotations

from dataclasses import replace

from stride_ros.parameters.cameras import CAMERAS
from stride_ros.parameters.table import START, ParameterSpec, Table

TABLE: Table = (
    ParameterSpec(
        "file",
        "",
        "File for the events, on a local disk; empty: events.db in $ROS_HOME/stride_ros.",
        START,
    ),
    ParameterSpec("robot", "robot", "Name of the robot to store with the events.", START),
    replace(
        CAMERAS,
        description="Names of several cameras, as in the activation node: an event on front gets its picture "
        "from front/frames. Empty: one unnamed camera, on frames.",
    ),
    ParameterSpec(
        "keep_days",
        90.0,
        "Days after writing until an event is deleted; 0: never.",
        limits=(0.0, 36500.0),
    ),
    ParameterSpec(
        "keep_megabytes",
        1000,
        "Maximum size on disk (MB), at least 16; above it, the oldest pictures are deleted, then the oldest "
        "events. 0: no limit.",
        limits=(0, 10_000_000),
    ),
    ParameterSpec(
        "picture_width", 320, "Maximum width of the pictures (px); 0: no pictures.", limits=(0, 1920)
    ),
    ParameterSpec(
        "map_frame",
        "map",
        "tf frame for the robot's pose at an onset, which is stored if tf2_ros is installed; empty: no pose.",
    ),
    ParameterSpec("robot_frame", "base_link", "tf frame of the robot."),
)
