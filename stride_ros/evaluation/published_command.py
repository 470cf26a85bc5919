"""The part of `stride-ros evaluate` that runs published benchmarks and makes sets in their formats."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.evaluation.benchmarks.command import print_score
from stride_ros.terminal import say, tell_notes
from stride_ros.text.wording import counted
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.evaluation.runners.options import Options
    from stride_ros.evaluation.runners.run import Outcome

BENCHMARKS = ("et-bench", "ovo-bench", "streaming-bench")
_TOLD = 5  # errors that are printed; the others are in score.json
_ONLY_HERE = (
    "root",
    "annotations",
    "out",
    "make",
    "official",
    "responder",
    "base_url",
    "gated",
    "part",
    "tasks",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of benchmarks."""
    group = parser.add_argument_group(
        "published benchmarks", f"With --data {', '.join(BENCHMARKS)}; see docs/benchmarks.md."
    )
    group.add_argument("--root", type=path_argument, metavar="DIR", help="folder of the benchmark's data")
    group.add_argument(
        "--annotations",
        type=path_argument,
        metavar="FILE",
        help="its annotations (default: those in DIR)",
    )
    group.add_argument(
        "--out", type=path_argument, metavar="DIR", help="folder of the run; the same command resumes it"
    )
    group.add_argument("--no-resume", action="store_true", help="start over even if --out has a run")
    group.add_argument(
        "--responder",
        metavar="R",
        help="model that answers (default Qwen/Qwen3-VL-4B-Instruct; stride-tiny with --model stride-tiny)",
    )
    group.add_argument(
        "--base-url",
        action="append",
        default=[],
        metavar="URL",
        help="OpenAI-compatible server with model R; repeat for several, which share the questions",
    )
    group.add_argument(
        "--official",
        type=path_argument,
        metavar="DIR",
        help="checkout of the benchmark's code, to read its prompts from (default: our wording)",
    )
    group.add_argument(
        "--gated",
        action="store_true",
        help="let activation decide what it can (our own mode, unofficial; default: parity)",
    )
    group.add_argument(
        "--tasks", metavar="A,B", help="only these tasks, or kinds of StreamingBench questions"
    )
    group.add_argument(
        "--context",
        type=int,
        default=-1,
        metavar="S",
        help="seconds to show before a StreamingBench question (default all)",
    )
    group.add_argument(
        "--part", default="1/1", metavar="K/N", help="run only the K-th of N parts, for several machines"
    )
    group.add_argument(
        "--concurrency",
        type=int,
        default=1,
        metavar="N",
        help="number of questions, or watched videos, at a time (default 1)",
    )
    group.add_argument(
        "--make",
        type=path_argument,
        metavar="DIR",
        help="make a set of --clips videos with --seconds in the benchmark's format, from the synthetic "
        "world",
    )


def refuse_options(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for an option that does not apply to clips of the world."""
    for name in _ONLY_HERE:
        if getattr(arguments, name) not in (None, [], False, "1/1"):
            option = name.replace("_", "-")
            raise ConfigError(
                f"--{option} applies only with --data {' or '.join(BENCHMARKS)}; set one of them."
            )


def run(arguments: argparse.Namespace) -> int:
    """Make a set, or run a benchmark."""
    if arguments.report is not None or arguments.rival:
        raise ConfigError(
            "--report and --rival apply only with --data world; leave them out, as a benchmark's page is "
            "report.html in --out."
        )
    if arguments.make is not None:
        from stride_ros.evaluation.miniatures.make import make_set

        made = make_set(arguments.data, arguments.make, arguments.clips, arguments.seed, arguments.seconds)
        number = counted(made.questions, "question")
        say(f"Written: {number} about {counted(made.clips, 'clip')} in {arguments.make}")
        run = f"stride-ros evaluate --data {arguments.data} --root {arguments.make}"
        say(f"Try it: {run} --model stride-tiny --out run")
        return 0
    options = _options(arguments)
    from stride_ros.evaluation.runners.run import BenchmarkRun

    outcome = BenchmarkRun(options).run()
    _tell(outcome)
    if arguments.json is not None and outcome.score is not None:
        from stride_ros.user_files.output import write_whole

        write_whole(arguments.json, outcome.score.to_json())
    return 0 if outcome.score is not None else 2


def _tell(outcome: Outcome) -> None:
    tell_notes(outcome.notes)
    if outcome.score is not None:
        print_score(outcome.score)
    for key, reason in list(outcome.errors.items())[:_TOLD]:
        say(f"Error: {_short(key)}: {reason}", "red", stream=sys.stderr, hang=7)
    if len(outcome.errors) > _TOLD:
        say(f"Error: {len(outcome.errors) - _TOLD} more are in score.json.", "red", stream=sys.stderr)
    if outcome.errors:
        failed = counted(len(outcome.errors), "item")
        say(f"{failed} failed; the same command tries them again.", stream=sys.stderr)
    say(f"Written: {outcome.report}")


def _short(key: str) -> str:
    found = re.findall(r'"(?:task|source|idx)": ("[^"]*"|\d+)', key)
    return " ".join(part.strip('"') for part in found) or key


def _options(arguments: argparse.Namespace) -> Options:
    from stride_ros.evaluation.runners.options import Options

    for name in ("root", "out"):
        if getattr(arguments, name) is None:
            raise ConfigError(
                f"--{name} is missing; set --root to the benchmark's data, and --out to a folder for the "
                "results."
            )
    if arguments.json is not None and not arguments.json.absolute().parent.is_dir():
        raise SourceError(f"Folder {arguments.json.absolute().parent} does not exist; create it first.")
    if not 1 <= arguments.concurrency <= 1024:
        raise ConfigError(f"--concurrency {arguments.concurrency} is out of range; use 1 to 1024.")
    if arguments.context != -1 and not 1 <= arguments.context <= 86_400:
        raise ConfigError(f"--context {arguments.context} is out of range; use -1 or 1 to 86400.")
    given: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in (
            "data",
            "root",
            "out",
            "annotations",
            "model",
            "official",
            "gated",
            "context",
            "concurrency",
        )
    }
    return Options(
        **given,
        responder=arguments.responder or "",
        base_urls=tuple(arguments.base_url),
        tasks=tuple(part.strip() for part in (arguments.tasks or "").split(",") if part.strip()),
        part=_part(arguments.part),
        device=arguments.device,
        threads=arguments.threads,
        assignments=tuple(arguments.set),
        anew=arguments.no_resume,
    )


def _part(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(f"--part {text} is not K/N; write for example 1/4.")
    return int(found[1]), int(found[2])
