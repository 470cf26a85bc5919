"""A run of a benchmark: what is left of it is done item by item, then it is scored and shown."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError, StrideError
from stride_ros.evaluation.benchmarks import et_bench as et_bench_score
from stride_ros.evaluation.benchmarks import ovo_bench as ovo_bench_score
from stride_ros.evaluation.benchmarks import streaming_bench as streaming_bench_score
from stride_ros.evaluation.benchmarks.et_bench_figures import TASKS as ET_TASKS
from stride_ros.evaluation.benchmarks.ovo_bench import TASKS as OVO_TASKS
from stride_ros.evaluation.benchmarks.result import Score
from stride_ros.evaluation.benchmarks.streaming_bench_files import KINDS
from stride_ros.evaluation.runners.asking import Asking, AskItem, Shown, by_video
from stride_ros.evaluation.runners.et_bench import AUTHORS, EtBench, VideoOfSamples
from stride_ros.evaluation.runners.ovo_bench import OvoBench, VideoOfProbes
from stride_ros.evaluation.runners.prompts import Wording, ovo_wording, streaming_wording
from stride_ros.evaluation.runners.store import Entry, Store
from stride_ros.evaluation.runners.streaming_bench import StreamingBench, VideoOfOutput
from stride_ros.evaluation.runners.watching import watch
from stride_ros.parameters.tuning import Tuning, read_tuning
from stride_ros.process.threads import AUTO
from stride_ros.qwen3_vl.checkpoint import EMBEDDED
from stride_ros.response.config import DEFAULT_MODEL, BackendConfig
from stride_ros.terminal import Progress
from stride_ros.text.foreign import as_reason
from stride_ros.text.wording import counted
from stride_ros.user_files.output import write_whole

if TYPE_CHECKING:
    from stride_ros.activation.model import ActivationModel
    from stride_ros.response.backend import ResponseBackend

Bench = EtBench | OvoBench | StreamingBench
Job = VideoOfSamples | VideoOfProbes | VideoOfOutput
# What the responder is shown and how it answers, where nothing else is given, by the names of parameters.
_RESPONDER = {
    "system_prompt": "",
    "history": 0,
    "pre_seconds": 0.0,
    "max_frames": 64,
    "cache_size": 640,
    "temperature": 0.0,
}
_OF_ANSWERS = ("kind", "dtype", "quantization", "image_size", "jpeg_quality", "max_new_tokens", "temperature")


@dataclass(frozen=True)
class Options:
    """What a run is to do; see `stride-ros evaluate --help`.

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


@dataclass(frozen=True)
class Outcome:
    """What came of a run: its score (None without a single result), errors by item, and notes."""

    score: Score | None
    errors: dict[str, str]
    notes: list[str]
    report: Path


class BenchmarkRun:
    """A run with all it needs; `backends` are those to ask instead of the ones that the options name."""

    def __init__(self, options: Options, backends: Sequence[ResponseBackend] = ()) -> None:
        self._options, self._given = options, list(backends)
        self.told: list[str] = []  # of this process, and of no interest to who reads the results
        self.tuning = _tuning(options)
        self.backend = _backend(options, self.tuning)
        self.wording = _wording(options)
        self.bench = _bench(options, self.wording)
        self.shown = Shown(self.tuning.response, rate=1.0)
        self.notes = [*self.bench.notes, *(self.wording.notes if self.wording else _unused(options))]

    @property
    def responder(self) -> str:
        """The name under which replies are kept."""
        return self._given[0].name if self._given else self.backend.model.rstrip("/").rsplit("/", 1)[-1]

    def settings(self) -> dict[str, Any]:
        """What decides the results: a run goes on only with the same."""
        bench, options = self.bench, self._options
        settings: dict[str, Any] = {"benchmark": bench.name, **bench.settings}
        watches = isinstance(bench, EtBench) or options.gated
        if watches:
            settings |= {"model": options.model, "activation": asdict(self.tuning.config)}
        if self.wording is not None:
            settings["mode"] = "gated (ours, unofficial)" if options.gated else "parity"
            settings["prompts"] = self.wording.label
            settings["wording"] = _digest([self.wording.templates, self.wording.joints])
            response = self.tuning.response
            settings["responder"] = self.responder
            settings["shown"] = {
                "rate": self.shown.rate,
                "frames": response.max_frames,
                "size": response.cache_size,
            }
            settings["answers"] = {name: getattr(self.backend, name) for name in _OF_ANSWERS}
        else:
            settings["mode"] = "as the authors evaluate"
        return settings

    def run(self) -> Outcome:
        """Do what is left, then score and show all there is. Raises StrideError for what ends a run."""
        with Store(self._options.out, self.settings(), anew=self._options.anew) as store:
            self.told += store.notes
            wanted = self.bench.keys()
            left = len(set(wanted) - store.done)
            if left < len(set(wanted)):
                self.told.append(f"{counted(len(set(wanted)) - left, 'item')} done before, {left} left.")
            errors = 0
            begun = time.monotonic()
            with Progress("Evaluating", left, "item") as progress:
                for number, entry in enumerate(self._entries(store.done), 1):
                    store.add(entry)
                    errors += bool(entry.error)
                    rate = number / max(time.monotonic() - begun, 1e-6)
                    failed = f", {counted(errors, 'error')}" if errors else ""
                    progress.update(number, f"{rate:.2f}/s{failed}")
            return self._outcome(store)

    # The items

    def _entries(self, done: set[str]) -> Iterator[Entry]:
        bench = self.bench
        done = set(done)
        with ExitStack() as stack:
            jobs: list[Job] = list(bench.jobs(done))
            follow: list[tuple[AskItem, VideoOfOutput]] = []
            if jobs:
                for job, error, seconds in self._watched(jobs):
                    if isinstance(job, VideoOfOutput) and job.triggered is not None and error is None:
                        assert isinstance(bench, StreamingBench)
                        follow.append((bench.output(job, job.triggered), job))
                        continue
                    yield from _entries_of(job, error, seconds)
            items = (
                [] if isinstance(bench, EtBench) else [item for item in bench.items() if item.key not in done]
            )
            items += [item for item, _ in follow]
            if items:
                yield from Asking(by_video(items), self._backends(stack, len(items)), self.shown)

    def _watched(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, StrideError | None, float]]:
        from stride_ros.activation.model import ActivationModel

        model: ActivationModel = ActivationModel.load(
            self._options.model, self._options.device, threads=self._options.threads
        )
        begun = time.monotonic()
        for job, error in watch(model, self.tuning.config, jobs, self._options.concurrency):
            now = time.monotonic()
            yield job, error, now - begun  # type: ignore[misc]
            begun = now

    def _backends(self, stack: ExitStack, items: int) -> list[ResponseBackend]:
        if self._given:
            return self._given
        options = self._options
        remote = self.backend.kind == "openai"
        number = min(options.concurrency, items) if remote else 1
        if not remote and options.concurrency > 1:
            self.told.append(
                "A model on this machine answers one question at a time, whatever --concurrency says."
            )
        urls = options.base_urls or (self.backend.base_url,)
        backends: list[ResponseBackend] = []
        for index in range(number):
            backend = replace(self.backend, base_url=urls[index % len(urls)]).load()
            stack.callback(backend.close)
            backends.append(backend)
        for backend in backends[: len(urls)]:
            backend.warm_up()  # a wrong address or name ends the run before the first item
        return backends

    # What comes of them

    def _outcome(self, store: Store) -> Outcome:
        from stride_ros.evaluation.runners.page import write_page

        folder, wanted = self._options.out, set(self.bench.keys())
        errors = {e.item: e.error for e in store.entries() if e.error and e.item in wanted}
        predictions = self.bench.write(store.entries(), self.settings(), folder)
        score = None
        try:
            score = self._score(predictions, folder)
        except ConfigError as error:
            if not errors:
                raise
            self.notes.append(str(error))
        if score is not None:
            score.counts |= {"items": len(wanted), "errors": len(errors)}
            score.result["run"] = self.settings()
            score.result["errors"] = errors
            write_whole(folder / "score.json", score.to_json())
        report = folder / "report.html"
        write_page(report, self.bench, self.settings(), score, store, errors, self.notes)
        return Outcome(score, errors, [*self.notes, *self.told], report)

    def _score(self, predictions: Path, folder: Path) -> Score:
        bench = self.bench
        if isinstance(bench, StreamingBench):
            return streaming_bench_score.score([predictions], model=self.responder)
        samples = bench.samples if isinstance(bench, EtBench) else [sample for _, sample in bench.samples]
        annotations = folder / "annotations.json"  # of this run alone: what is missing there has no result
        write_whole(annotations, json.dumps(samples, ensure_ascii=False))
        if isinstance(bench, EtBench):
            return et_bench_score.score(predictions, annotations)
        return ovo_bench_score.score(predictions, annotations)


def _entries_of(job: Job, error: StrideError | None, seconds: float) -> Iterator[Entry]:
    for key in job.keys:
        problem = job.errors.get(key) or ("" if error is None else as_reason(str(error)))
        yield Entry(key, None if problem else job.results[key], problem, seconds / len(job.keys))


def _tuning(options: Options) -> Tuning:
    given = read_tuning(None, options.assignments)
    authors = AUTHORS if options.data == "et-bench" else {}
    return Tuning({**authors, **given.given}, {**_RESPONDER, **given.responder})


def _backend(options: Options, tuning: Tuning) -> BackendConfig:
    model = options.responder or (EMBEDDED if options.model == EMBEDDED else DEFAULT_MODEL)
    config = replace(tuning.backend, model=model, device=options.device, threads=options.threads)
    return replace(config, kind="openai", base_url=options.base_urls[0]) if options.base_urls else config


def _wording(options: Options) -> Wording | None:
    if options.data == "et-bench":
        return None
    return (ovo_wording if options.data == "ovo-bench" else streaming_wording)(options.official)


def _bench(options: Options, wording: Wording | None) -> Bench:
    known: Sequence[str] = {"et-bench": ET_TASKS, "ovo-bench": OVO_TASKS, "streaming-bench": KINDS}[
        options.data
    ]
    for task in options.tasks:
        if task not in known:
            raise ConfigError(f"There is no {task} in {options.data}; use some of {', '.join(known)}.")
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


def _unused(options: Options) -> list[str]:
    """What was given and means nothing for ET-Bench, which is watched and not asked."""
    given = {
        "--responder": options.responder,
        "--base-url": options.base_urls,
        "--official": options.official,
        "--gated": options.gated,
        "--context": options.context != -1,
    }
    names = [name for name, value in given.items() if value]
    return [f"ET-Bench asks no responder, so {' and '.join(names)} changed nothing."] if names else []


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "replace")).hexdigest()[:16]
