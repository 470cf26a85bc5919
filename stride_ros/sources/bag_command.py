"""`stride-ros bag`: make a bag from a video, an image folder or a camera, for training and replays."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.sources.frames import PACE
from stride_ros.terminal import say
from stride_ros.text import topics
from stride_ros.text.wording import counted, escaped
from stride_ros.user_files.output import refuse_same_files
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.sources import FrameSource


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "bag",
        help="make a bag from a video, an image folder or a camera",
        description="Write the frames of a source to a rosbag2 folder, as JPEG on TOPIC/compressed or raw on "
        "TOPIC. Stamps begin at a fixed time, and times in labels count from the first frame.",
    )
    parser.add_argument("source", help="video file, image folder, bag or /dev/videoN")
    parser.add_argument("bag", type=path_argument, help="rosbag2 folder to write")
    parser.add_argument("--fps", type=float, default=PACE, help="maximum frames per second (default 10)")
    parser.add_argument("--seconds", type=float, default=0.0, help="length in seconds (default: all)")
    add_image_topic(parser)
    add_bag_options(parser)
    parser.set_defaults(run=run)


def add_image_topic(parser: argparse.ArgumentParser) -> None:
    """Add the option for the topic of a recording from which to take images: `--image-topic`."""
    parser.add_argument(
        "--image-topic",
        metavar="TOPIC",
        help="image topic of a bag, Image or CompressedImage (default: the only one)",
    )


def _topic(text: str) -> str:
    if not topics.is_name(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a topic name; use letters, digits and underscores between slashes"
        )
    return text


def add_bag_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for writing a bag: `--storage`, `--topic`, `--raw`."""
    parser.add_argument(
        "--storage", choices=("mcap", "sqlite3"), default="mcap", help="storage format (default mcap)"
    )
    parser.add_argument(
        "--topic", type=_topic, default=topics.CAMERA, help="image topic (default %(default)s)"
    )
    parser.add_argument(
        "--raw", action="store_true", help="raw images on TOPIC instead of JPEG on TOPIC/compressed"
    )


def run(arguments: argparse.Namespace) -> int:
    from stride_ros.sources import open_source
    from stride_ros.terminal import Progress, tell_notes

    if arguments.fps <= 0 or arguments.seconds < 0:
        raise ConfigError("--fps must be above 0 and --seconds at least 0; correct the value.")
    if re.fullmatch(r"\d+|/dev/.*", arguments.source) and not arguments.seconds:
        raise ConfigError("A camera has no end; give --seconds.")
    refuse_same_files({"BAG": arguments.bag}, {"the source": Path(arguments.source)})
    source = open_source(
        arguments.source,
        rate=arguments.fps,
        seconds=arguments.seconds,
        image_topic=arguments.image_topic,
    )
    with Progress("Writing", arguments.seconds, "s") as progress:
        count, end = write_source(
            source,
            arguments.bag,
            topic=arguments.topic,
            storage=arguments.storage,
            raw=arguments.raw,
            report=progress.update,
        )
    kind = "" if arguments.raw else " as JPEG"
    left_out = _left_out(arguments.fps, source.own_rate)
    say(f"Wrote {escaped(str(arguments.bag))}: {counted(count, 'image')}{kind}, {end:.1f} s{left_out}.")
    tell_notes(source.notes)
    return 0


def _left_out(rate: float, own: float | None) -> str:
    """What to say if a source has clearly more than `rate` pictures a second."""
    if own is None or own < 1.05 * rate:
        return ""
    return f"; at most {rate:g} a second of {round(own, 1):g} (change it with --fps)"


def write_source(
    source: FrameSource, path: Path, *, topic: str, storage: str, raw: bool, report: Any
) -> tuple[int, float]:
    """Write all frames of a source; return the number of images and the time of the last one (s)."""
    from stride_ros.bags.writer import START_STAMP, BagWriter

    count, time = 0, 0.0
    with BagWriter(path, storage) as bag:
        try:
            for frame in source.frames():
                time = frame.time
                bag.write_image(topic, frame.image, START_STAMP + round(time * 1e9), raw=raw)
                count += 1
                report(time)
        except KeyboardInterrupt:
            if not source.live:  # a camera's images cannot be read again
                raise
        if not count:
            raise SourceError(f"{source.name} has no frames; give another source.")
    return count, time
