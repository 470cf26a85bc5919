"""`stride-ros mine`: find every event in thousands of recordings, stored in one folder, shown on one page."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.process.threads import SMALL_MODEL, available_cores
from stride_ros.replay.decision_options import (
    add_decision_options,
    chosen_backend,
    chosen_model,
    chosen_queries,
    chosen_rate,
    chosen_threads,
)
from stride_ros.terminal import Progress, say, tell_notes
from stride_ros.text.wording import counted, escaped, length_label, plural
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.mining.driver import Driver, Tally
    from stride_ros.mining.finding import Recording
    from stride_ros.mining.output import Output
    from stride_ros.mining.pool import Pool
    from stride_ros.mining.settings import Settings

_STREAMS, _STREAMS_OF_SMALL, _STREAMS_ON_GPU = 4, 8, 16  # recordings that a worker mines together
_MOST_TOLD = 10  # recordings that cannot be used, and those that are damaged


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add `mine`."""
    parser = subparsers.add_parser(
        "mine",
        help="find every event in many recordings",
        description="Watch many recordings for the same events, several at once, and store what is found in "
        "OUT: events.db for `stride-ros find`, index.html to browse, runs/*.json as written by `replay "
        "--json`. The same command resumes where it was stopped, and does only what is missing or has "
        "changed. With --strict, exit code 1 means that a recording could not be used.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help='a bag, a video, a folder to search for them, a pattern such as "drives/*.mcap", or a'
        " .txt file with one path per line",
    )
    add_decision_options(parser)
    parser.add_argument(
        "--out", type=path_argument, required=True, metavar="DIR", help="folder for the results"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a recording could not be used")
    parser.add_argument(
        "--retry", action="store_true", help="try unusable recordings again even if they have not changed"
    )
    work = parser.add_argument_group("workers")
    work.add_argument(
        "--workers", type=_whole, metavar="N", help="number of processes (default: one per core or GPU)"
    )
    work.add_argument(
        "--streams-per-worker",
        type=_whole,
        metavar="N",
        help=f"recordings that a worker mines together (default {_STREAMS}, {_STREAMS_OF_SMALL} with a small"
        f" model, {_STREAMS_ON_GPU} with a GPU)",
    )
    work.add_argument(
        "--ray", metavar="ADDRESS", help="use this Ray cluster: auto for this machine's, or HOST:PORT"
    )
    work.add_argument(
        "--gpus-per-worker",
        type=float,
        metavar="N",
        help="GPUs that Ray reserves per worker; may be a fraction (default 1)",
    )
    work.add_argument("--no-ray", action="store_true", help="use plain processes even if Ray is installed")
    parser.set_defaults(run=run)


def _whole(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"use a whole number of at least 1, not {text!r}")


def run(arguments: argparse.Namespace) -> int:
    """Mine the recordings; returns 0 even if some cannot be used, except with --strict."""
    from stride_ros.mining.stopping import stoppable

    with stoppable():
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.no_ray and arguments.ray is not None:
        raise ConfigError("--ray and --no-ray contradict each other; leave one out.")
    if arguments.gpus_per_worker is not None and not arguments.gpus_per_worker >= 0:
        raise ConfigError("--gpus-per-worker must be at least 0; correct the value.")
    if (
        arguments.gpus_per_worker is not None
        and arguments.gpus_per_worker > 1
        and arguments.gpus_per_worker % 1
    ):
        raise ConfigError("--gpus-per-worker must be a whole number above 1; correct the value.")
    from stride_ros.mining.content import Contents
    from stride_ros.mining.driver import Driver
    from stride_ros.mining.finding import find_recordings
    from stride_ros.mining.output import Output
    from stride_ros.mining.ray_address import read_address
    from stride_ros.qwen3_vl import checkpoint

    address = read_address(arguments.ray) if arguments.ray is not None else None
    settings = _settings(arguments)
    weights = checkpoint.find(settings.model)  # which may be missing: before the folder is created
    checkpoint.read_config(weights)
    recordings = find_recordings(arguments.paths, arguments.out)
    with Output(arguments.out) as output, Progress("Mining", len(recordings), "recording") as progress:
        progress.announce("Looking for recordings ...")
        contents = Contents(output.journal.seen)
        settings, small = _with_weights(settings, weights, contents)
        on_gpu = settings.device != "cpu" and (settings.device != "auto" or address is not None or _has_gpu())

        def make_pool(waiting: int) -> Pool:
            progress.announce("Loading ...")
            return _pool(arguments, address, settings, on_gpu, small, waiting, tell)

        def tell(text: str) -> None:
            progress.clear()
            tell_notes([text])

        def report(tally: Tally) -> None:
            progress.total = tally.total - tally.known
            progress.update(tally.mined + tally.failed + tally.running, _note(tally))

        usual = _STREAMS_ON_GPU if on_gpu else _STREAMS_OF_SMALL if small else _STREAMS
        driver = Driver(
            recordings,
            settings,
            output,
            contents,
            make_pool,
            streams=arguments.streams_per_worker or usual,
            retry=arguments.retry,
            report=report,
        )
        try:
            driver.run()
        except KeyboardInterrupt:
            progress.clear()
            output.gallery(settings, recordings)
            done = driver.tally.known + driver.tally.mined
            say(
                f"{done} of {counted(len(recordings), 'recording')} are mined; run the same command to "
                "continue."
            )
            raise
        progress.announce("Writing index.html ...")
        output.gallery(settings, recordings)
        progress.clear()
        _tell(driver, output, arguments.out, recordings)
    return 1 if arguments.strict and driver.problems else 0


def _settings(arguments: argparse.Namespace) -> Settings:
    from stride_ros.activation.watch_request import requests_for
    from stride_ros.mining.settings import Settings
    from stride_ros.parameters.tuning import read_tuning

    tuning = read_tuning(arguments.params_file, arguments.set, arguments.node)
    tell_notes(tuning.notes)
    queries = chosen_queries(arguments, tuning)
    if not queries:
        raise ConfigError(
            "There is nothing to watch for; say it with --query, or name a --params-file that does."
        )
    requests_for(queries)
    return Settings(
        queries=queries,
        model=chosen_model(arguments, tuning),
        config=tuning.config,
        rate=chosen_rate(arguments, tuning),
        clock=arguments.clock,
        image_topic=arguments.image_topic,
        device=arguments.device,
        threads=chosen_threads(arguments, tuning),
        backend=chosen_backend(arguments, tuning),
        response=tuning.response,
    )


def _with_weights(settings: Settings, folder: Path, contents: Any) -> tuple[Settings, bool]:
    """The settings with the digest of the model's files, and whether the model is small."""
    from stride_ros.mining.content import model_files

    files = model_files(folder)
    size = sum(path.stat().st_size for path in files)
    return replace(settings, weights=contents.of(files)), size < 2 * SMALL_MODEL


def _has_gpu() -> bool:
    return os.path.exists("/dev/nvidiactl")


def _pool(
    arguments: argparse.Namespace,
    address: str | None,
    settings: Settings,
    on_gpu: bool,
    small: bool,
    waiting: int,
    tell: Callable[[str], None],
) -> Pool:
    from stride_ros.mining.ray_pool import RayPool, has_ray

    usual = available_cores() if small and not on_gpu else 1
    if not arguments.no_ray and (arguments.ray is not None or has_ray()):
        here = arguments.workers or (None if on_gpu or address is not None else usual)
        return RayPool(
            settings,
            here,
            address=address,
            gpus_per_worker=arguments.gpus_per_worker,
            large=not small,
            most=waiting,
            tell=tell,
        )
    from stride_ros.mining.pool import ProcessPool

    return ProcessPool(settings, min(arguments.workers or usual, waiting))


def _note(tally: Tally) -> str:
    parts = [f"{length_label(tally.seconds)} of video"]
    if tally.spent > 1:
        parts.append(f"{tally.speed:.0f}x real time")
    if tally.failed:
        parts.append(counted(tally.failed, "error"))
    return ", ".join(parts)


def _tell(driver: Driver, output: Output, out: Path, recordings: Sequence[Recording]) -> None:
    from stride_ros.mining.output import RUNS

    tally = driver.tally
    notes = [_named(*pair) for pair in output.notes(recordings)]
    tell_notes(notes[:_MOST_TOLD])
    if len(notes) > _MOST_TOLD:
        tell_notes([f"{len(notes) - _MOST_TOLD} more recordings have notes; see {out / RUNS}."])
    tell_notes(_named(str(recording.path), text) for recording, text in driver.problems[:_MOST_TOLD])
    if len(driver.problems) > _MOST_TOLD:
        tell_notes([f"{len(driver.problems) - _MOST_TOLD} more are listed in index.html."])
    tell_notes(output.model_notes)
    if output.replaced:
        tell_notes(
            [
                f"{counted(output.replaced, 'recording')} had changed, or had results of other queries or "
                "settings, which were replaced; to keep such results, use another folder for each query."
            ]
        )
    parts = [f"{counted(tally.total, 'recording')}: {tally.mined} mined"]
    if tally.known:
        parts.append(f"{tally.known} done before")
    if tally.failed:
        parts.append(f"{tally.failed} could not be used")
    if tally.untried:
        which = (
            f"{tally.untried} of them" if tally.untried < tally.failed else plural(tally.failed, "it", "them")
        )
        parts[-1] += f" (use --retry to try {which} again)"
    say(f"{', '.join(parts)}.")
    if tally.mined and tally.seconds:
        speed = f"{tally.speed:.{1 if tally.speed < 10 else 0}f} times real time (after loading)"
        say(f"{length_label(tally.seconds)} of video in {length_label(tally.spent)}, {speed}.")
    say(f"{output.summary}: {escaped(str(out / 'index.html'))}")


def _named(path: str, sentences: str) -> str:
    return sentences if path in sentences else f"{path}: {sentences}"
