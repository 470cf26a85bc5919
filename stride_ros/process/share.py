"""Find files of the package that are not Python modules: models/, msg/, config/."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path


def share_folders() -> Iterator[Path]:
    """Folders that may contain them: source tree, colcon install, sourced ROS prefixes, pip environment."""
    here = Path(__file__).resolve()
    yield here.parents[2]
    for parent in here.parents:
        yield parent / "share" / "stride_ros"
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            yield Path(prefix) / "share" / "stride_ros"
    yield Path(sys.prefix) / "share" / "stride_ros"
