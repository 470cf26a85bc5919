"""The options of a run, and the objects it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stride_ros.errors import ConfigError
from stride_ros.evaluation.benchmarks.et_bench_figures import TASKS as ET_TASKS
from stride_ros.evaluation.benchmarks.ovo_bench import TASKS as OVO_TASKS
from stride_ros.evaluation.benchmarks.streaming_bench_files import KINDS
from stride_ros.evaluation.runners.et_bench import AUTHORS, EtBench
from stride_ros.evaluation.runners.ovo_bench import OvoBench
from stride_ros.evaluation.runners.prompts import Wording, ovo_wording, streaming_wording
from stride_ros.evaluation.runners.streaming_bench import StreamingBench
from stride_ros.parameters.tuning import Tuning, read_tuning
from stride_ros.process.threads import AUTO
from stride_ros.qwen3_vl.checkpoint import EMBEDDED
from stride_ros.response.config import DEFAULT_MODEL, BackendConfig

Bench = EtBench | OvoBench | StreamingBench
# Default settings of the responder, by parameter name.
_RESPONDER = {
    "system_prompt": "",
    "history": 0,
    "pre_seconds": 0.0,
    "max_frames": 64,
    "cache_size": 640,
    "temperature": 0.0,
}


@dataclass(frozen=True)
class Options:
    """The options of a run; see `stride-ros evaluate --help`.

    tasks: of ET-Bench and OVO-Bench, or the kinds of StreamingBench's questions; () for all. part: (1, 3) is
    the first third. assignments: parameters such as "decide_every=1" and "responder.max_frames=32".
    """

    data: str
    root: Path
    out: Path
    annotations: Path | None = None
    model: str = EMBEDDED
    responder: str = ""
    base_urls: tuple[str, ...] = ()
    official: Path | None = None
    gated: bool = False
    tasks: tuple[str, ...] = ()
    context: int = -1
    part: tuple[int, int] = (1, 1)
    concurrency: int = 1
    device: str = "auto"
    threads: int = AUTO
    assignments: tuple[str, ...] = ()
    anew: bool = False


def tuning_of(options: Options) -> Tuning:
    """The parameters of both nodes: those of the benchmark's own code, overridden by the given ones."""
    given = read_tuning(None, options.assignments)
    authors = AUTHORS if options.data == "et-bench" else {}
    return Tuning({**authors, **given.given}, {**_RESPONDER, **given.responder})


def backend_of(options: Options, tuning: Tuning) -> BackendConfig:
    """The backend configuration, with the address of the first server."""
    model = options.responder or (EMBEDDED if options.model == EMBEDDED else DEFAULT_MODEL)
    config = replace(tuning.backend, model=model, device=options.device, threads=options.threads)
    return replace(config, kind="openai", base_url=options.base_urls[0]) if options.base_urls else config


def wording_of(options: Options) -> Wording | None:
    """The wording of the prompts; None if no responder is asked. Raises SourceError and ConfigError."""
    if options.data == "et-bench":
        return None
    return (ovo_wording if options.data == "ovo-bench" else streaming_wording)(options.official)


def bench_of(options: Options, wording: Wording | None) -> Bench:
    """The benchmark with its questions. Raises SourceError and ConfigError."""
    known: Sequence[str] = {"et-bench": ET_TASKS, "ovo-bench": OVO_TASKS, "streaming-bench": KINDS}[
        options.data
    ]
    for task in options.tasks:
        if task not in known:
            raise ConfigError(f"There is no {task} in {options.data}; use one or more of {', '.join(known)}.")
    chosen = [task for task in known if task in options.tasks] or known
    if wording is None:
        return EtBench(options.root, options.annotations, chosen, options.part)
    if options.data == "ovo-bench":
        return OvoBench(
            options.root, options.annotations, wording, gated=options.gated, tasks=chosen, part=options.part
        )
    return StreamingBench(
        options.root,
        options.annotations,
        wording,
        gated=options.gated,
        kinds=chosen,
        context=options.context,
        part=options.part,
    )


def unused(options: Options) -> list[str]:
    """A note on options without effect on ET-Bench, which does not ask a responder."""
    given = {
        "--responder": options.responder,
        "--base-url": options.base_urls,
        "--official": options.official,
        "--gated": options.gated,
        "--context": options.context != -1,
    }
    names = [name for name, value in given.items() if value]
    return [f"ET-Bench does not use a responder, so {' and '.join(names)} had no effect."] if names else []
