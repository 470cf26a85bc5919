"""Start ROS in this process, even without a place for its log, with clear errors for bad arguments."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.text.foreign import visible

_WITHOUT_A_FILE = ("--ros-args", "--disable-external-lib-logs")
_PLACES = re.compile(r",? at [^\s,]+:\d+")  # locations in rcl's source


def start_ros(args: Sequence[str] | None = None, **options: Any) -> None:
    """Initialise rclpy's default context with these arguments (None: the process's); ConfigError if it fails.

    `options` go to rclpy.init. If the log cannot be written to a file, a line on stderr says so.
    """
    import rclpy

    given = list(sys.argv if args is None else args)
    try:
        try:
            rclpy.init(args=given, **options)
        except Exception as error:
            if "logging" not in str(error):
                raise
            rclpy.try_shutdown()
            print(
                f"The log cannot be written to a file ({_said(error)}); set ROS_LOG_DIR or ROS_HOME to a "
                "writable folder.",
                file=sys.stderr,
            )
            rclpy.init(args=[*given, *_WITHOUT_A_FILE], **options)
    except Exception as error:  # its type differs between distributions
        kind = type(error).__name__
        if kind in ("UnknownROSArgsError", "InvalidROSArgsError") or "arse" in str(error):
            raise ConfigError(
                f"ROS does not know these arguments ({_said(error)}); correct what follows --ros-args."
            ) from error
        raise ConfigError(f"ROS cannot start ({_said(error)}); check its installation.") from error


def _said(error: Exception) -> str:
    """The message of rcl without its locations in the source."""
    words = _PLACES.sub("", str(error)).removeprefix("failed to initialize rcl: ")
    return visible(words.removeprefix("failed to initialize logging: "), 300).rstrip(".")
