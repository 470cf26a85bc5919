"""Start ROS in this process, even without a place for its log, with clear errors for bad arguments."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.text.foreign import visible

_WITHOUT_A_FILE = ("--ros-args", "--disable-external-lib-logs")
_LAST_DOMAIN = 232  # ports of DDS are 7400 + 250 * domain and a few more, and end at 65535
_DOMAINS = f"set ROS_DOMAIN_ID to 0 to 101, which is safe on any system, or at most {_LAST_DOMAIN}"
_PLACES = re.compile(r",? at [^\s,]+:\d+")  # locations in rcl's source


def start_ros(args: Sequence[str] | None = None, **options: Any) -> None:
    """Initialise rclpy's default context with these arguments (None: the process's); ConfigError if it fails.

    `options` go to rclpy.init. If the log cannot be written to a file, a line on stderr says so.
    """
    import rclpy

    _check_domain()
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
        remedy = _DOMAINS if "ROS_DOMAIN_ID" in str(error) else "check its installation"
        raise ConfigError(f"ROS cannot start ({_said(error)}); {remedy}.") from error


def split_arguments(args: list[str]) -> tuple[list[str], list[str]]:
    """Split into a command's own arguments and those of ROS, from each --ros-args to `--` or the end."""
    own: list[str] = []
    ros: list[str] = []
    while "--ros-args" in args:
        at = args.index("--ros-args")
        end = args.index("--", at) + 1 if "--" in args[at:] else len(args)
        own, ros, args = own + args[:at], ros + args[at:end], args[end:]
    return own + args, ros


def check_node_arguments(args: Sequence[str]) -> None:
    """Print the usage of a node's program and exit where it is asked for; ConfigError for what is unknown.

    ROS ignores what does not follow --ros-args, such as a parameter without it.
    """
    program = Path(args[0]).name
    own, _ = split_arguments(list(args[1:]))
    usage = f"{program} --ros-args -p NAME:=VALUE"
    if {"-h", "--help"} & set(own):
        print(
            f"usage: {program} [--ros-args ...]\n\nA node of stride_ros. Parameters and remappings follow "
            f"--ros-args:\n  {usage} -r FROM:=TO\nParameters are in "
            "docs/parameters.md, topics and services in docs/graph.md."
        )
        raise SystemExit(0)
    if own:
        raise ConfigError(
            f"{program} does not know {visible(own[0], 80)}; write parameters after --ros-args: {usage}."
        )


def _check_domain() -> None:
    """Raise ConfigError for a domain whose ports do not exist: DDS ends the process at its first node."""
    domain = os.environ.get("ROS_DOMAIN_ID", "").strip()
    over_dds = "zenoh" not in os.environ.get("RMW_IMPLEMENTATION", "")
    if over_dds and domain.isdecimal() and int(domain[:20]) > _LAST_DOMAIN:
        raise ConfigError(f"ROS_DOMAIN_ID is {visible(domain, 20)}, which DDS does not have; {_DOMAINS}.")


def _said(error: Exception) -> str:
    """The message of rcl without its locations in the source."""
    words = _PLACES.sub("", str(error)).removeprefix("failed to initialize rcl: ")
    return visible(words.removeprefix("failed to initialize logging: "), 300).rstrip(".")
