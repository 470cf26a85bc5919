"""Anything but ROS that yields stamped frames: the synthetic world, videos, image folders, bags, cameras."""

from __future__ import annotations

import re

from stride_ros.bags.files import is_recording
from stride_ros.errors import SourceError
from stride_ros.sources.camera import CameraSource
from stride_ros.sources.folder import IMAGE_SUFFIXES, FolderSource, is_image
from stride_ros.sources.frames import FrameSource, SourceFrame
from stride_ros.sources.video import VideoSource
from stride_ros.sources.world import WorldSource
from stride_ros.user_files.paths import given_path

__all__ = ["IMAGE_SUFFIXES", "FrameSource", "SourceFrame", "open_source"]


def open_source(
    source: str,
    *,
    rate: float = 10.0,
    seconds: float = 0.0,
    size: tuple[int, int] = (0, 0),
    seed: int = 0,
    image_topic: str | None = None,
    topic_option: str = "--image-topic",
) -> FrameSource:
    """Open `world`, a video file, a folder of images, a bag, or a V4L2 camera ("/dev/video0" or "0").

    rate: frames per second (a maximum if the source has its own rate). seconds: length to read, 0 for all (60
    s of world). size: (width, height) to scale to, 0 for the source's own. seed: selects a world.
    image_topic: image topic of a bag, None for the only one; topic_option: the name of that option, for
    messages. Raises SourceError if there is nothing to read.
    """
    path = given_path(source if source.strip() else f"./{source}")  # errors are handled below
    if image_topic and (source == "world" or not is_recording(path)):
        raise SourceError(f"{source} is not a recording and has no image topics; leave {topic_option} out.")
    if source == "world":
        return WorldSource(seed, seconds or 60.0, rate, size)
    if re.fullmatch(r"\d+", source):
        source = f"/dev/video{source}"
    if source.startswith("/dev/"):
        return CameraSource(source, rate, seconds, size)
    if not source.strip() or not path.exists():
        raise SourceError(
            f"The source '{source}' does not exist; use world, a video file, an image folder, a bag or"
            " /dev/videoN."
        )
    if is_recording(path):
        from stride_ros.sources.bag import BagSource

        return BagSource(path, rate, seconds, size, image_topic or None, topic_option)
    if path.is_dir() or is_image(path):
        return FolderSource(path, rate, seconds, size)
    return VideoSource(path, rate, seconds, size)
