"""The folder for files that outlive the nodes."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path | None:
    """The folder stride_ros in ROS's home; None for a user without a home folder, as in some containers."""
    try:
        return Path(os.environ.get("ROS_HOME") or Path.home() / ".ros") / "stride_ros"
    except RuntimeError:
        return None
