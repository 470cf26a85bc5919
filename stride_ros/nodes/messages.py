"""Conversions between this package's values and ROS messages."""

from __future__ import annotations

from builtin_interfaces.msg import Duration, Time

from stride_ros.activation.sampling import NANOSECONDS


def to_time(nanoseconds: int) -> Time:
    """Return ns since the epoch as a Time message."""
    return Time(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def to_duration(nanoseconds: int) -> Duration:
    """Return ns as a Duration message."""
    return Duration(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def to_nanoseconds(stamp: Time | Duration) -> int:
    """Return a Time message as ns since the epoch, a Duration message as ns."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)
