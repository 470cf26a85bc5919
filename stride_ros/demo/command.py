"""`stride-ros demo`: run the whole graph on one machine, with commentary in the terminal and a report.

The nodes are the real ones and communicate over DDS: this process hosts the camera and a listener, a second
one the activation and responder nodes. What the listener receives becomes report.html, timeline.png and
events.json (schema: `stride_ros.runs.record`).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from stride_ros.errors import ConfigError
from stride_ros.parameters.activation import DEFAULT_QUERY
from stride_ros.process.threads import add_threads_option
from stride_ros.qwen3_vl.checkpoint import EMBEDDED
from stride_ros.sources.bag_command import add_image_topic
from stride_ros.user_files.output import make_folder
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.runs.record import Run

DEFAULT_MODEL = EMBEDDED
DEFAULT_WORLD_SECONDS = 60.0


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="run the whole graph on one machine, with a report",
        description="Play a scene to the nodes, print their decisions and commentary, and write a report.",
    )
    parser.add_argument(
        "--source",
        default="world",
        help="world (synthetic, default), a video, an image folder, a bag or /dev/videoN",
    )
    add_image_topic(parser)
    parser.add_argument(
        "--query",
        action="append",
        metavar="Q",
        help="what to watch for; repeat for several (default: three events of the world)",
    )
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="length to play (default: 60 for world, all for a file)"
    )
    parser.add_argument(
        "--speed",
        type=float,
        default=3.0,
        help="speed as a multiple of real time, for a world or file (default 3)",
    )
    parser.add_argument("--seed", type=int, default=5, help="seed that selects the world (default 5)")
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help=f"activation model: name or folder (default {DEFAULT_MODEL})"
    )
    parser.add_argument(
        "--responder-model", metavar="MODEL", help="responder model (default: the same as --model)"
    )
    parser.add_argument("--no-responder", action="store_true", help="only decide, without commentary")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    add_threads_option(parser)
    parser.add_argument(
        "--out",
        type=path_argument,
        default=Path("stride_demo"),
        help="folder for the report, in the place of an earlier one (default stride_demo)",
    )
    parser.add_argument("--no-report", action="store_true", help="write events.json but no report pages")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    _need_ros()
    from stride_ros.demo.graph import Graph, GraphSettings

    make_folder(arguments.out)
    settings = GraphSettings(
        source=arguments.source,
        image_topic=arguments.image_topic,
        queries=_queries(arguments),
        seconds=arguments.seconds,
        speed=1.0 if arguments.source.startswith("/dev/") else arguments.speed,
        seed=arguments.seed,
        model=arguments.model,
        responder_model=None if arguments.no_responder else arguments.responder_model or arguments.model,
        device=arguments.device,
        threads=arguments.threads,
        out=arguments.out,
    )
    signal.signal(signal.SIGTERM, _interrupt)
    with Graph(settings) as graph:
        graph.play()
    _write(graph.result(), graph.told, arguments)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    from stride_ros.sources import open_source

    if not arguments.speed > 0 or arguments.seconds < 0:
        raise ConfigError("--speed must be above 0 and --seconds at least 0; correct the value.")
    queries = arguments.query or []
    if not all(query.strip() for query in queries):
        raise ConfigError("--query is empty; say what to watch for, or leave it out.")
    if len(set(queries)) < len(queries):
        raise ConfigError("A --query is given twice; give each once.")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise ConfigError(f"--out {arguments.out} is a file; name a folder.")
    if arguments.source == "world":
        arguments.seconds = arguments.seconds or DEFAULT_WORLD_SECONDS
    if arguments.image_topic or not (arguments.source == "world" or arguments.source.startswith("/dev/")):
        open_source(arguments.source, image_topic=arguments.image_topic)  # finds errors in a file at once


def _need_ros() -> None:
    # The demo's traffic stays on this machine, unless the user has configured something else.
    if "ROS_LOCALHOST_ONLY" not in os.environ:
        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    for module in ("rclpy", "sensor_msgs.msg", "stride_ros.msg"):
        try:
            import_module(module)
        except ImportError as error:
            raise ConfigError(
                f"The demo needs ROS 2 with this package built, but {module} does not import ({error}); run"
                " `make demo` in the source tree, which sets both up, or source your ROS workspace."
            ) from error


def _queries(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The given queries, or by default one object of the world and other events in it."""
    if arguments.query:
        return tuple(arguments.query)
    if arguments.source != "world":
        return (DEFAULT_QUERY,)
    from stride_ros.world import World
    from stride_ros.world.vocabulary import DARK, HAND, query_for

    world = World(arguments.seed, arguments.seconds, (64, 48))
    objects = [query for query in world.queries if query.endswith("on the table.")][:1]
    others = [query for kind in (HAND, DARK) if (query := query_for(kind, "")) in world.queries]
    return (*objects, *others) or world.negative_queries[:1]


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _write(run: Run, told: Sequence[str], arguments: argparse.Namespace) -> None:
    from stride_ros.demo.graph import RECORD
    from stride_ros.terminal import Style, say, tell_notes
    from stride_ros.text.wording import counted, escaped, length_label

    style = Style(sys.stdout)
    out = arguments.out
    run.write_json(out / RECORD, latencies=True)
    if not arguments.no_report:
        from stride_ros.runs.report import write_report

        write_report(run, out)
    tell_notes(note for note in run.notes if note not in told)
    said = sum(span.said is not None and span.said.status == "ok" for _, span in run.spans())
    sentences = "" if arguments.no_responder else f", {counted(said, 'sentence')}"
    say(f"\n{run.summary}{sentences} in {length_label(run.seconds)} of video.")
    report = escaped(str(out / (RECORD if arguments.no_report else "report.html")))
    say(f"Report: {style(report, 'bold')}")
