"""`stride-ros world`: list the events of a synthetic clip, or record it as a bag or a video."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stride_ros.errors import SourceError
from stride_ros.sources.bag_command import add_bag_options
from stride_ros.terminal import say
from stride_ros.text.wording import counted, escaped
from stride_ros.user_files.output import refuse_same_files
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.world.world import World


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "world",
        help="make a synthetic camera video with exact ground truth",
        description="Make a synthetic robot-camera clip. Without an output option, its events are listed.",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed that selects the clip (default 0)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length in seconds (default 60)")
    parser.add_argument(
        "--size", type=parse_size, default=(640, 480), metavar="WxH", help="image size (default 640x480)"
    )
    parser.add_argument("--fps", type=float, default=10.0, help="frames per second (default 10)")
    parser.add_argument(
        "--kinds",
        nargs="+",
        metavar="KIND",
        help="kinds of events that may happen: on_table held touch hand dark (default), taken",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--bag", type=path_argument, metavar="BAG", help="write a rosbag2 folder with ground truth"
    )
    output.add_argument(
        "--video", type=path_argument, metavar="FILE", help="write a video, for example world.mp4"
    )
    add_bag_options(parser)
    parser.add_argument("--labels", type=path_argument, metavar="FILE", help="also write the events as YAML")
    parser.set_defaults(run=run)


def parse_size(text: str) -> tuple[int, int]:
    """Parse a text like 640x480 to (width, height)."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write it like 640x480")
    return int(width), int(height)


def run(arguments: argparse.Namespace) -> int:
    from stride_ros.sources.world_bag import write_bag, write_labels, write_video
    from stride_ros.terminal import Progress
    from stride_ros.world.world import USUAL, World

    config = USUAL if arguments.kinds is None else replace(USUAL, kinds=tuple(arguments.kinds))
    world = World(arguments.seed, arguments.seconds, arguments.size, arguments.fps, config)
    target = arguments.bag or arguments.video
    if target is not None and not target.absolute().parent.is_dir():
        raise SourceError(f"Folder {target.absolute().parent} does not exist; create it first.")
    refuse_same_files({"--bag": arguments.bag, "--video": arguments.video, "--labels": arguments.labels}, {})
    with Progress("Writing", world.seconds) as progress:
        if arguments.bag is not None:
            write_bag(
                world,
                arguments.bag,
                topic=arguments.topic,
                storage=arguments.storage,
                raw=arguments.raw,
                report=progress.update,
            )
        elif arguments.video is not None:
            write_video(world, arguments.video, progress.update)
    if arguments.labels is not None:
        write_labels(world, arguments.labels)
    _describe(world)
    if target is not None:
        events = counted(len(world.events), "event")
        say(f"\nWrote {escaped(str(target))}: {world.seconds:g} s at {world.fps:g} Hz, {events}.")
    return 0


def _describe(world: World) -> None:
    say(f"{'start':>8} {'end':>8}  what happens (seconds)")
    for event in world.events:
        say(f"{event.start:8.2f} {event.end:8.2f}  {event.text}", hang=19)
    say("\nQueries with events, most frequent first:")
    for query in world.queries:
        say(f"{len(world.events_for(query)):3d} x  {query}", hang=7)
