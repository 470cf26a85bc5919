"""Conversions between this package's values and ROS messages."""

from __future__ import annotations

from builtin_interfaces.msg import Time

from stride_ros.activation.sampling import NANOSECONDS


def to_time(nanoseconds: int) -> Time:
    """Return ns since the epoch as a Time message."""
    return Time(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def to_nanoseconds(stamp: Time) -> int:
    """Return a Time message as ns since the epoch."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)
