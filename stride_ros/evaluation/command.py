"""`stride-ros evaluate`: measure a model's onsets, spans and sentences on held-out clips."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.evaluation.published_command import BENCHMARKS, add_options, refuse_options
from stride_ros.evaluation.published_command import run as run_benchmark
from stride_ros.parameters.tuning import Tuning, read_tuning
from stride_ros.process.threads import add_threads_option
from stride_ros.qwen3_vl.checkpoint import EMBEDDED
from stride_ros.terminal import say
from stride_ros.text.wording import counted, escaped, plural
from stride_ros.user_files.output import refuse_same_files, write_whole
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.evaluation.detectors import Detector
    from stride_ros.evaluation.metrics import Tally

UNITS = {"false_alarms_per_minute": "/min", "boundary_error_s": "s", "onset_delay_s": "s"}


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model on held-out clips",
        description="Watch held-out clips of the world at one frame per second, as a node would, and compare "
        "with ground truth. Their seeds are not used in training. Or run a published benchmark.",
    )
    known = ("world", *BENCHMARKS)
    parser.add_argument(
        "--data", choices=known, default="world", metavar="SET", help=f"{', '.join(known)} (default world)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed that selects the set of clips (default 0)")
    parser.add_argument("--clips", type=int, default=20, help="number of clips (default 20)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a clip (s, default 60)")
    parser.add_argument(
        "--queries", type=int, default=4, help="queries watched in each clip, one of which never happens"
    )
    parser.add_argument("--model", default=EMBEDDED, help="checkpoint (default %(default)s)")
    parser.add_argument("--no-sentences", action="store_true", help="do not evaluate sentences")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    add_threads_option(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter, as for replay; repeat for several",
    )
    parser.add_argument("--json", type=path_argument, metavar="FILE", help="also write the numbers as JSON")
    parser.add_argument(
        "--report",
        type=path_argument,
        metavar="FILE.md",
        help="also compare with baselines and ablations, and write a table with a picture next to it",
    )
    parser.add_argument(
        "--rival",
        action="append",
        default=[],
        metavar="NAME=CHECKPOINT",
        help="another model for the report, for example with another training seed; repeat for several",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.data != "world":
        return run_benchmark(arguments)
    refuse_options(arguments)
    if arguments.clips < 1 or arguments.queries < 1 or arguments.seed < 0:
        raise ConfigError("--clips and --queries must be at least 1, --seed at least 0; correct the value.")
    if not 1.0 <= arguments.seconds <= 3600.0:
        raise ConfigError(f"--seconds {arguments.seconds} is out of range; use 1 to 3600.")
    for file in (arguments.json, arguments.report):
        if file is not None and not file.absolute().parent.is_dir():
            raise SourceError(f"Folder {file.absolute().parent} does not exist; create it first.")
    refuse_same_files({"--json": arguments.json, "--report": arguments.report}, {})
    rivals = [_rival(text) for text in arguments.rival]
    tuning = _tuning(arguments)
    from stride_ros.activation.model import ActivationModel
    from stride_ros.evaluation.detectors import Session
    from stride_ros.evaluation.sentences import SentenceScorer

    model = ActivationModel.load(arguments.model, arguments.device, threads=arguments.threads)
    session = Session(model, tuning.config)
    scorer = None
    if not arguments.no_sentences:
        scorer = SentenceScorer(arguments.model, device=arguments.device, threads=arguments.threads)
    tally = _score(session, scorer, arguments, "Evaluating")
    metrics = tally.metrics()
    result = {
        "data": arguments.data,
        "seed": arguments.seed,
        "clips": arguments.clips,
        "seconds": arguments.seconds,
        "queries": arguments.queries,
        "model": arguments.model,
        "parameters": dict(tuning.given),
        "metrics": metrics,
        "counts": {"events": tally.events, "spans": tally.spans, "onsets": tally.onsets},
        "tick_ms": _tick_ms(session),
    }
    watched = round(tally.seconds / 60)
    say(
        f"{counted(tally.events, 'event')} in {counted(arguments.clips, 'clip')}, "
        f"{counted(watched, 'query minute')}"
    )
    for name, value in metrics.items():
        say(f"{name:24s} {'-' if value is None else f'{value:.3f}'} {UNITS.get(name, '')}".rstrip())
    queries = plural(arguments.queries, "query", "queries together")
    say(f"{'tick_ms':24s} {result['tick_ms']:.1f} ms for {arguments.queries} {queries}", hang=25)
    if arguments.json is not None:
        write_whole(arguments.json, json.dumps(result, indent=2) + "\n")
    if arguments.report is not None:
        from stride_ros.evaluation.report import rival_detectors, write_report

        rows = {"stride (default settings)": metrics}
        for name, detector in rival_detectors(model, rivals, arguments.device, arguments.threads).items():
            rows[name] = _score(detector, None, arguments, name).metrics()
        write_report(arguments.report, rows, result)
        say(f"Written: {escaped(str(arguments.report))}")
    return 0


def _tuning(arguments: argparse.Namespace) -> Tuning:
    """The parameters that differ from the defaults."""
    tuning = read_tuning(None, arguments.set)
    if tuning.responder:
        raise ConfigError(
            "The sentences of --data world come from the model itself; leave out --set responder."
            f"{next(iter(tuning.responder))}."
        )
    if tuning.given and arguments.report is not None:
        raise ConfigError("--report compares the default settings with others; leave out --set or --report.")
    return tuning


def _score(detector: Detector, scorer: Any, arguments: argparse.Namespace, label: str) -> Tally:
    from stride_ros.evaluation.world import clips, score
    from stride_ros.terminal import Progress

    with Progress(label, arguments.clips, "clip") as progress:
        data = clips(arguments.seed, arguments.clips, arguments.queries, arguments.seconds)
        return score(detector, data, scorer, progress.update)


def _tick_ms(detector: Detector) -> float:
    import numpy as np

    return 1e3 * float(np.median(detector.tick_seconds)) if detector.tick_seconds else 0.0


def _rival(text: str) -> tuple[str, str]:
    name, separator, checkpoint = text.partition("=")
    if not (name and separator and checkpoint):
        raise ConfigError(f"--rival {text!r} is not NAME=CHECKPOINT; write for example 'seed 1=runs/seed1'.")
    return name, checkpoint
