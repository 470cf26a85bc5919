"""Parameters of the event log node. Needs no ROS."""

from __future__ import annotations

from dataclasses import replace

from stride_ros.parameters.cameras import CAMERAS
from stride_ros.parameters.table import START, ParameterSpec, Table

TABLE: Table = (
    ParameterSpec(
        "file",
        "",
        "File that the events are kept in, on a local disk; empty: events.db in $ROS_HOME/stride_ros.",
        START,
    ),
    ParameterSpec("robot", "robot", "Name of the robot that the events are filed under.", START),
    replace(
        CAMERAS,
        description="Names of several cameras, as in the activation node: an event on front has a picture "
        "from front/frames. Empty: one camera without a name, on frames.",
    ),
    ParameterSpec(
        "keep_days",
        90.0,
        "Days until an event is removed, from when it was written; 0: never.",
        limits=(0.0, 36500.0),
    ),
    ParameterSpec(
        "keep_megabytes",
        1000,
        "Room that the log may take on the disk (MB): beyond it the oldest pictures go, then events; "
        "at least 16, 0: no limit.",
        limits=(0, 10_000_000),
    ),
    ParameterSpec(
        "picture_width", 320, "Maximum width of the pictures (px); 0: no pictures.", limits=(0, 1920)
    ),
    ParameterSpec(
        "map_frame",
        "map",
        "Frame of tf that the robot's pose at an onset is kept in, where tf2_ros is installed; empty: no "
        "pose.",
    ),
    ParameterSpec("robot_frame", "base_link", "Frame of tf that is the robot."),
)
