"""`stride-ros score`: score the stored predictions of a benchmark run."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from stride_ros.errors import SourceError
from stride_ros.terminal import say
from stride_ros.user_files.output import refuse_same_files
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.evaluation.benchmarks.result import Score

_PACKAGE = "stride_ros.evaluation.benchmarks"
BENCHMARKS = {
    "et-bench": ("et_bench", "STRIDE's database, or a list of samples with answers"),
    "ovo-bench": ("ovo_bench", "the results of its inference, a file or a model's folder"),
    "streaming-bench": ("streaming_bench", "the outputs of its runs, files or a folder"),
}


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "score",
        help="score the predictions of a benchmark run",
        description="Score the stored predictions of a benchmark run, as the benchmark's own scorer does.",
    )
    benchmarks = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True)
    for name, (_, reads) in BENCHMARKS.items():
        one = benchmarks.add_parser(name, help=reads, description=f"Reads {reads}.")
        several = {"nargs": "+"} if name == "streaming-bench" else {}  # a file for each kind of question
        one.add_argument(
            "predictions", type=path_argument, metavar="PREDICTIONS", help="file or folder", **several
        )
        one.add_argument(
            "--annotations",
            type=path_argument,
            metavar="FILE",
            help="the benchmark's annotations, a file or folder",
        )
        if several:
            one.add_argument("--model", help="model whose replies to score, if questions have several")
        one.add_argument("--json", type=path_argument, metavar="FILE", help="also write the numbers as JSON")
        one.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    file = arguments.json
    if file is not None and not file.absolute().parent.is_dir():
        raise SourceError(f"Folder {file.absolute().parent} does not exist; create it first.")
    refuse_same_files(
        {"--json": file}, {"PREDICTIONS": arguments.predictions, "--annotations": arguments.annotations}
    )
    module = import_module(f"{_PACKAGE}.{BENCHMARKS[arguments.benchmark][0]}")
    options = {"model": arguments.model} if "model" in arguments else {}
    result: Score = module.score(arguments.predictions, arguments.annotations, **options)
    print_score(result)
    if file is not None:
        from stride_ros.user_files.output import write_whole

        write_whole(file, result.to_json())
    return 0


def print_score(result: Score) -> None:
    """Print the tables, notes and counts of a score."""
    from stride_ros.evaluation.benchmarks.result import NOTES, lines

    for headings, rows in result.tables:
        first, *others = lines(headings, rows)
        say(first, "bold")
        say("\n".join(others))
        say("")
    for note in result.notes[:NOTES]:
        say(f"Note: {note}", "yellow", stream=sys.stderr, hang=6)
    if len(result.notes) > NOTES:
        say(f"Note: {len(result.notes) - NOTES} more notes are in the file of --json.", stream=sys.stderr)
    say(", ".join(f"{name.replace('_', ' ')} {number}" for name, number in result.counts.items()))
