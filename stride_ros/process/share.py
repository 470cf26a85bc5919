"""Find files of the package that are not Python modules: models/, msg/, config/."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_VERSION = r"<name>stride_ros</name>[^!]*?<version>([^<]+)</version>"


def version() -> str:
    """The version of this package: that of package.xml, which is installed with it."""
    for folder in share_folders():
        file = folder / "package.xml"
        if file.is_file() and (found := re.search(_VERSION, file.read_text(encoding="utf-8"))):
            return found[1]
    try:
        return importlib.metadata.version("stride_ros")
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


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
