"""Run a benchmark: process the remaining items one by one, then score and report."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError, StrideError
from stride_ros.evaluation.benchmarks import et_bench as et_bench_score
from stride_ros.evaluation.benchmarks import ovo_bench as ovo_bench_score
from stride_ros.evaluation.benchmarks import streaming_bench as streaming_bench_score
from stride_ros.evaluation.benchmarks.result import Score
from stride_ros.evaluation.runners.asking import Asking, AskItem, Shown, by_video
from stride_ros.evaluation.runners.et_bench import EtBench, VideoOfSamples
from stride_ros.evaluation.runners.options import (
    Options,
    backend_of,
    bench_of,
    tuning_of,
    unused,
    wording_of,
)
from stride_ros.evaluation.runners.ovo_bench import OvoBench, VideoOfProbes
from stride_ros.evaluation.runners.store import Entry, Store
from stride_ros.evaluation.runners.streaming_bench import StreamingBench, VideoOfOutput
from stride_ros.evaluation.runners.watching import watch
from stride_ros.terminal import Progress
from stride_ros.text.foreign import as_reason
from stride_ros.text.wording import counted
from stride_ros.user_files.output import write_whole

if TYPE_CHECKING:
    from stride_ros.activation.model import ActivationModel
    from stride_ros.response.backend import ResponseBackend

Job = VideoOfSamples | VideoOfProbes | VideoOfOutput
_OF_ANSWERS = ("kind", "dtype", "quantization", "image_size", "jpeg_quality", "max_new_tokens", "temperature")


@dataclass(frozen=True)
class Outcome:
    """The result of a run: its score (None without any result), errors by item, and notes."""

    score: Score | None
    errors: dict[str, str]
    notes: list[str]
    report: Path


class BenchmarkRun:
    """A run with everything it needs; `backends` are used instead of those named in the options."""

    def __init__(self, options: Options, backends: Sequence[ResponseBackend] = ()) -> None:
        self._options, self._given = options, list(backends)
        self.told: list[str] = []  # notes on this process, which do not concern readers of the results
        self.tuning = tuning_of(options)
        self.backend = backend_of(options, self.tuning)
        self.wording = wording_of(options)
        self.bench = bench_of(options, self.wording)
        self.shown = Shown(self.tuning.response, rate=1.0)
        self.notes = [*self.bench.notes, *(self.wording.notes if self.wording else unused(options))]

    @property
    def responder(self) -> str:
        """The name under which replies are stored."""
        return self._given[0].name if self._given else self.backend.model.rstrip("/").rsplit("/", 1)[-1]

    def settings(self) -> dict[str, Any]:
        """The settings that determine the results: a run resumes only with the same ones."""
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
        """Do the remaining items, then score and report. Raises StrideError for errors that end a run."""
        with Store(self._options.out, self.settings(), anew=self._options.anew) as store:
            self.told += store.notes
            wanted = self.bench.keys()
            left = len(set(wanted) - store.done)
            if left < len(set(wanted)):
                self.told.append(f"{counted(len(set(wanted)) - left, 'item')} done before, {left} remaining.")
            errors = 0
            begun = time.monotonic()
            found = closing(self._entries(store.done))
            with Progress("Evaluating", left, "item") as progress, found as entries:
                for number, entry in enumerate(entries, 1):
                    store.add(entry)
                    errors += bool(entry.error)
                    rate = number / max(time.monotonic() - begun, 1e-6)
                    failed = f", {counted(errors, 'error')}" if errors else ""
                    progress.update(number, f"{rate:.2f}/s{failed}")
            return self._outcome(store)

    # The items

    def _entries(self, done: set[str]) -> Generator[Entry, None, None]:
        bench = self.bench
        done = set(done)
        with ExitStack() as stack:
            jobs: list[Job] = list(bench.jobs(done))
            triggered: list[AskItem] = []
            for job, error, seconds in self._watched(jobs) if jobs else ():
                if isinstance(job, VideoOfOutput) and job.triggered is not None and error is None:
                    assert isinstance(bench, StreamingBench)
                    triggered.append(bench.output(job, job.triggered))
                else:
                    yield from _entries_of(job, error, seconds)
            asked = [] if isinstance(bench, EtBench) else bench.items()
            items = [*(item for item in asked if item.key not in done), *triggered]
            if items:
                yield from Asking(by_video(items), self._backends(stack, len(items)), self.shown)

    def _watched(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, StrideError | None, float]]:
        from stride_ros.activation.model import ActivationModel

        model: ActivationModel = ActivationModel.load(
            self._options.model, self._options.device, threads=self._options.threads
        )
        begun = time.monotonic()
        config, lanes, look_back = (
            self.tuning.config,
            self._options.concurrency,
            isinstance(self.bench, OvoBench),
        )
        for job, error in watch(model, config, jobs, lanes, look_back=look_back):
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
                "A model on this machine answers one question at a time, regardless of --concurrency."
            )
        urls = options.base_urls or (self.backend.base_url,)
        backends: list[ResponseBackend] = []
        for index in range(number):
            backend = replace(self.backend, base_url=urls[index % len(urls)]).load()
            stack.callback(backend.close)
            backends.append(backend)
        for backend in backends[: len(urls)]:
            backend.warm_up()  # so that a wrong address or name ends the run before the first item
        return backends

    # The results

    def _outcome(self, store: Store) -> Outcome:
        from stride_ros.evaluation.runners.page import write_page

        folder, wanted = self._options.out, set(self.bench.keys())
        errors = {e.item: e.error for e in store.entries() if e.error and e.item in wanted}
        predictions = self.bench.write(store.entries(), self.settings(), folder)
        (folder / "score.json").unlink(missing_ok=True)
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
        annotations = folder / "annotations.json"  # only of this run: items missing there have no result
        write_whole(annotations, json.dumps(samples, ensure_ascii=False))
        if isinstance(bench, EtBench):
            return et_bench_score.score(predictions, annotations)
        return ovo_bench_score.score(predictions, annotations)


def _entries_of(job: Job, error: StrideError | None, seconds: float) -> Iterator[Entry]:
    for key in job.keys:
        problem = job.errors.get(key) or ("" if error is None else as_reason(str(error)))
        yield Entry(key, None if problem else job.results[key], problem, seconds / len(job.keys))


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "replace")).hexdigest()[:16]
