"""`stride-ros respond`: ask a response backend about a part of a video, without ROS."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.process.threads import add_threads_option
from stride_ros.terminal import printable, say
from stride_ros.text.wording import counted, escaped
from stride_ros.user_files.output import refuse_same_files, write_whole
from stride_ros.user_files.paths import path_argument
from stride_ros.user_files.values import seconds_argument

if TYPE_CHECKING:
    from stride_ros.response.backend import ResponseBackend, ResponseRequest
    from stride_ros.response.config import ResponseConfig

DESCRIPTION = """Show frames of a video to a model, as the responder node does at an onset, and print what it
says. Times are in s from the start of the video."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "respond", help="ask a response model about a part of a video", description=DESCRIPTION
    )
    parser.add_argument("video", help="a video file, an image folder, a bag or world (synthetic)")
    parser.add_argument(
        "--image-topic",
        metavar="TOPIC",
        help="image topic of a bag, Image or CompressedImage (default: the only one)",
    )
    parser.add_argument(
        "--from", dest="start", type=seconds_argument, default=0.0, metavar="S", help="start of the event"
    )
    parser.add_argument(
        "--to", dest="end", type=seconds_argument, required=True, metavar="S", help="last frame to show"
    )
    parser.add_argument("--query", required=True, metavar="Q", help="what to watch for")
    parser.add_argument(
        "--model", required=True, metavar="M", help="folder, repository, or name on the server"
    )
    parser.add_argument(
        "--backend", choices=("huggingface", "openai"), help="huggingface (default), openai with --base-url"
    )
    parser.add_argument("--base-url", metavar="URL", help="address of an OpenAI-compatible server")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or balanced (default auto)")
    add_threads_option(parser)
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (default auto)")
    parser.add_argument(
        "--pre-seconds",
        type=float,
        default=2.0,
        metavar="S",
        help="seconds to show before the event (default 2)",
    )
    parser.add_argument("--rate", type=float, default=1.0, metavar="HZ", help="frames per second (default 1)")
    parser.add_argument(
        "--max-frames", type=int, default=16, metavar="N", help="maximum number of frames shown (default 16)"
    )
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        default=128,
        metavar="N",
        help="maximum length of the answer (default 128)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=-1.0,
        metavar="T",
        help="0: always the same answer; -1 (default): the model's own setting",
    )
    parser.add_argument("--system-prompt", metavar="TEXT", help="style, language and length of the answer")
    parser.add_argument("--json", type=path_argument, metavar="FILE", help="write the answer and its figures")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask once; print the text to stdout as it arrives, and the figures to stderr."""
    _check(arguments)
    request = read_request(arguments)
    from stride_ros.response.config import BackendConfig

    kind = arguments.backend or ("openai" if arguments.base_url else "huggingface")
    given = {"base_url": arguments.base_url} if arguments.base_url else {}
    config = BackendConfig(
        kind,
        arguments.model,
        arguments.device,
        arguments.dtype,
        arguments.threads,
        max_new_tokens=arguments.max_new_tokens,
        temperature=arguments.temperature,
        **given,
    )
    say(f"Loading {escaped(arguments.model)} ...", stream=sys.stderr)
    backend = config.load()
    try:
        answer = _ask(backend, request)
    finally:
        backend.close()
    say(
        f"{counted(len(request.frames), 'frame')}; first text after {answer['first_text_s']:.2f} s, "
        f"{counted(answer['tokens'], 'token')} in {answer['seconds']:.2f} s "
        f"({answer['tokens_per_second']:.1f} per second)",
        stream=sys.stderr,
    )
    if arguments.json:
        report = {
            "model": backend.name,
            "backend": kind,
            "query": request.query,
            "from": arguments.start,
            "to": arguments.end,
            "frame_times": [stamp / 1e9 for stamp in request.frame_stamps],
            **answer,
        }
        write_whole(arguments.json, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return 0


def read_request(arguments: argparse.Namespace) -> ResponseRequest:
    """Read the frames from `start - pre_seconds` to `end`, chosen as the responder node does."""
    from stride_ros.response.frame_cache import FrameCache
    from stride_ros.response.request import make_request, nanoseconds
    from stride_ros.sources import open_source
    from stride_ros.terminal import tell_notes

    config = _config(arguments)
    begin = arguments.start - arguments.pre_seconds
    # Read one frame more, because a source ends before its length.
    source = open_source(
        arguments.video,
        rate=arguments.rate,
        seconds=arguments.end + 1 / arguments.rate,
        image_topic=arguments.image_topic,
    )
    cache = FrameCache(config)
    for frame in source.frames():
        if frame.time > arguments.end:
            break
        if frame.time >= begin:
            cache.add(frame.image, nanoseconds(frame.time))
    tell_notes(source.notes)
    start, end = nanoseconds(arguments.start), nanoseconds(arguments.end)
    selection = cache.select(start - nanoseconds(config.pre_seconds), end, config.max_frames)
    if not selection.frames:
        raise SourceError(
            f"{arguments.video} has no frames from {begin:g} to {arguments.end:g} s; correct --from and --to."
        )
    return make_request(config, arguments.query, selection.frames, start)


def _config(arguments: argparse.Namespace) -> ResponseConfig:
    """The settings, with room for all frames of the part."""
    from stride_ros.response.config import ResponseConfig

    given = {} if arguments.system_prompt is None else {"system_prompt": arguments.system_prompt}
    return ResponseConfig(
        pre_seconds=arguments.pre_seconds,
        max_frames=arguments.max_frames,
        cache_seconds=arguments.end - arguments.start + arguments.pre_seconds + 1.0,
        cache_frames=4096,
        **given,
    )


def _ask(backend: ResponseBackend, request: ResponseRequest) -> dict[str, Any]:
    started = time.monotonic()
    first = 0.0
    text = ""
    try:
        for piece in backend.stream(request, lambda: False):
            first = first or time.monotonic() - started
            text += piece
            print(printable(piece), end="", flush=True)
    finally:  # an error gets its own line
        print(flush=True)
    seconds = time.monotonic() - started
    return {
        "text": text.strip(),
        "first_text_s": first,
        "seconds": seconds,
        "tokens": backend.last_tokens,
        "tokens_per_second": backend.last_tokens / seconds,
    }


def _check(arguments: argparse.Namespace) -> None:
    if arguments.start < 0 or arguments.end < arguments.start:
        raise ConfigError("--from must be at least 0 and --to at least --from; correct the times.")
    if arguments.pre_seconds < 0 or not arguments.rate > 0:
        raise ConfigError("--pre-seconds must be at least 0 and --rate above 0; correct the value.")
    if arguments.max_frames < 1 or arguments.max_new_tokens < 1:
        raise ConfigError("--max-frames and --max-new-tokens must be at least 1; correct the value.")
    refuse_same_files({"--json": arguments.json}, {"the video": Path(arguments.video)})
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        raise ConfigError(f"Folder {arguments.json.absolute().parent} does not exist: create it first.")
