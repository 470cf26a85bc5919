"""`stride-ros replay`: find spans and commentary in a recording, and compare them with expectations."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.replay.decision_options import (
    add_decision_options,
    chosen_backend,
    chosen_model,
    chosen_queries,
    chosen_rate,
    chosen_threads,
)
from stride_ros.terminal import Progress, Style, one_line, say, tell_notes
from stride_ros.text.wording import counted, escaped
from stride_ros.user_files.output import refuse_same_files
from stride_ros.user_files.paths import path_argument
from stride_ros.user_files.values import seconds_argument

if TYPE_CHECKING:
    from stride_ros.activation.model import ActivationModel
    from stride_ros.parameters.tuning import Tuning
    from stride_ros.replay.api import Replay


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser(
        "replay",
        help="run a recorded bag through the nodes' stages, offline",
        description="Replay a bag without a ROS graph, faster than real time and always with the same "
        "result. Exit code 1 means that the ground truth of --expect was not met or that --diff found "
        "changes.",
    )
    parser.add_argument(
        "bag", type=path_argument, nargs="?", help="rosbag2 folder, .mcap or .db3 file, ROS 1 .bag, or video"
    )
    add_decision_options(parser, "from --expect or --params-file")
    parser.add_argument(
        "--start",
        type=seconds_argument,
        default=0.0,
        help="seconds to skip after the first image; times may also be written like 1:05.2",
    )
    parser.add_argument("--duration", type=seconds_argument, help="seconds to play")
    parser.add_argument(
        "--phases",
        type=int,
        default=1,
        metavar="N",
        help="replay N times, each time starting 1/N of the time between two frames later, and judge each by "
        "--expect (default 1)",
    )
    results = parser.add_argument_group("results")
    results.add_argument(
        "--out", type=path_argument, metavar="BAG2", help="write a bag with the results and the images"
    )
    results.add_argument(
        "--topic",
        action="append",
        metavar="TOPIC",
        help="recorded topic to copy into BAG2 (default: the images)",
    )
    results.add_argument(
        "--storage", choices=("mcap", "sqlite3"), default="mcap", help="storage format of BAG2"
    )
    results.add_argument(
        "--json", type=path_argument, metavar="FILE", help="write the run as JSON, without measured times"
    )
    results.add_argument(
        "--events",
        type=path_argument,
        metavar="FILE",
        help="store the events in an event log, for stride-ros find",
    )
    results.add_argument(
        "--report", type=path_argument, metavar="DIR", help="write report.html and timeline.png"
    )
    results.add_argument(
        "--expect", type=path_argument, metavar="SPANS.yaml", help="compare with the ground truth in a file"
    )
    results.add_argument(
        "--write-expect",
        type=path_argument,
        metavar="SPANS.yaml",
        help="write the spans of this run as ground truth, to be corrected by hand",
    )
    results.add_argument(
        "--diff", type=path_argument, nargs=2, metavar=("A.json", "B.json"), help="compare two runs"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.diff is not None:
        return _diff(*arguments.diff)
    if arguments.bag is None:
        raise ConfigError("There is nothing to replay; name a bag, or two JSON files with --diff.")
    if arguments.write_expect is not None and arguments.write_expect.exists():
        raise ConfigError(
            f"{arguments.write_expect} already exists and may be corrected by hand; remove it or choose "
            "another name."
        )
    _check_outputs(arguments)
    from stride_ros.parameters.tuning import read_tuning

    tuning = read_tuning(arguments.params_file, arguments.set, arguments.node)
    tell_notes(tuning.notes)
    _check_phases(arguments, chosen_rate(arguments, tuning))
    if not arguments.expect:
        arguments.query = list(chosen_queries(arguments, tuning))
    if arguments.phases > 1:
        return _replay_phases(arguments, tuning)
    result, seconds = _replay(arguments, tuning, arguments.start)
    _tell(result, seconds)
    _write(result, arguments)
    return 0 if result.ok else 1


def _check_outputs(arguments: argparse.Namespace) -> None:
    names = ("out", "json", "events", "report", "write_expect")
    outputs = {f"--{name.replace('_', '-')}": getattr(arguments, name) for name in names}
    refuse_same_files(
        outputs,
        {
            "the recording": arguments.bag,
            "--expect": arguments.expect,
            "--params-file": arguments.params_file,
        },
    )


def _replay(
    arguments: argparse.Namespace, tuning: Tuning, start: float, loaded: ActivationModel | None = None
) -> tuple[Replay, float]:
    """The result, and the seconds that it took after loading; `loaded`: the model, if it is already there."""
    from stride_ros.replay.api import replay

    begun: list[float] = []  # when the first message was read, so that loading is not counted
    with Progress("Replaying", 1.0) as progress:
        progress.announce("Loading ...")

        def report(done: float, total: float) -> None:
            begun[:] = begun or [time.monotonic()]
            progress.total = total
            progress.update(done, f"{done / max(time.monotonic() - begun[0], 1e-3):.0f}x real time")

        result = replay(
            arguments.bag,
            arguments.query,
            image_topic=arguments.image_topic,
            model=loaded or chosen_model(arguments, tuning),
            config=tuning.config,
            responder=chosen_backend(arguments, tuning),
            response=tuning.response,
            rate=chosen_rate(arguments, tuning),
            clock=arguments.clock,
            start=start,
            duration=arguments.duration,
            expect=arguments.expect,
            device=arguments.device,
            threads=chosen_threads(arguments, tuning),
            out=arguments.out,
            storage=arguments.storage,
            topics=arguments.topic,
            events=arguments.events,
            progress=report,
        )
    return result, time.monotonic() - begun[0]


def _check_phases(arguments: argparse.Namespace, rate: float) -> None:
    if arguments.phases < 1:
        raise ConfigError("--phases must be at least 1; correct the value.")
    if arguments.phases == 1:
        return
    if arguments.expect is None:
        raise ConfigError("--phases needs ground truth to compare the replays with; add --expect.")
    for name in ("out", "json", "events", "report", "write_expect"):
        if getattr(arguments, name) is not None:
            option = f"--{name.replace('_', '-')}"
            second = arguments.start + 1 / (arguments.phases * rate)
            raise ConfigError(
                f"{option} is for one replay; to write that of one phase, replace --phases "
                f"{arguments.phases} with its start, such as --start {second:g}."
            )


def _replay_phases(arguments: argparse.Namespace, tuning: Tuning) -> int:
    """Replay from several offsets, and print the verdict of each and the counts of all together."""
    from stride_ros.activation.model import ActivationModel
    from stride_ros.runs.verdict import count_rows, together

    rate = chosen_rate(arguments, tuning)
    model, threads = chosen_model(arguments, tuning), chosen_threads(arguments, tuning)
    loaded = ActivationModel.load(model, arguments.device, threads=threads)
    verdicts = []
    notes: dict[str, None] = {}  # each once
    for phase in range(arguments.phases):
        start = arguments.start + phase / (arguments.phases * rate)
        result = _replay(arguments, tuning, start, loaded)[0]
        notes |= dict.fromkeys(result.run.notes)
        verdict = result.verdict
        assert verdict is not None  # there is ground truth
        verdicts.append(verdict)
        rows = "\n".join(verdict.rows())
        say(f"From {start:.2f} s on:\n{rows}", hang=verdict.hang)
        say(f"{verdict.outcome}\n", "green" if verdict.ok else "red", "bold")
    tell_notes(notes)
    met = sum(verdict.ok for verdict in verdicts)
    say(f"All {counted(len(verdicts), 'replay')} together:", "bold")
    say("\n".join(count_rows(together(counts for each in verdicts for counts in each.onsets))), hang=2)
    outcome = f"The ground truth was met in {met} of {counted(len(verdicts), 'replay')}."
    say(outcome, "green" if met == len(verdicts) else "red", "bold")
    return 0 if met == len(verdicts) else 1


def _tell(result: Replay, seconds: float) -> None:
    from stride_ros.text.wording import length_label, time_label

    style = Style(sys.stdout)
    for query, span in result.run.spans():
        interval = f"{time_label(span.start)} - {time_label(span.end)}"
        said = "" if span.said is None else style(one_line(span.said.text or span.said.error), "bold")
        about = style(one_line(query.query), "cyan") if len(result.run.queries) > 1 else ""
        state = "" if span.state == "offset" else f"({span.state})"
        say("  ".join(part for part in (f"{interval:>19}", about, state, said) if part), hang=21)
    speed = result.run.seconds / max(seconds, 1e-3)
    digits = 1 if speed < 10 else 0
    seen = f"{result.run.summary} in {length_label(result.run.seconds)} of video"
    say(f"{seen}, replayed at {speed:.{digits}f} times real time (after loading).")
    tell_notes(result.run.notes)
    if (verdict := result.verdict) is not None:
        rows = "\n".join(verdict.rows())
        say(f"\n{rows}", hang=verdict.hang)
        say(verdict.outcome, "green" if verdict.ok else "red", "bold")


def _write(result: Replay, arguments: argparse.Namespace) -> None:
    if arguments.json is not None:
        result.run.write_json(arguments.json, latencies=False)
    if arguments.report is not None:
        from stride_ros.runs.report import write_report

        write_report(result.run, arguments.report)
        say(f"Report: {escaped(str(arguments.report / 'report.html'))}")
    if arguments.write_expect is not None:
        from stride_ros.runs.expectations import write_expectations

        write_expectations(result.run, arguments.write_expect)
    if arguments.events is not None:
        say(f"Events: {escaped(str(arguments.events))}")
    if arguments.out is not None:
        say(f"Bag: {escaped(str(arguments.out))}")


def _diff(before: Path, after: Path) -> int:
    from stride_ros.runs.difference import differences, read_run

    lines = list(differences(read_run(before), read_run(after)))
    for line in lines:
        say(line, hang=9)
    say(f"{counted(len(lines), 'change')}." if lines else "No changes.")
    return 1 if lines else 0
