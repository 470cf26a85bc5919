"""A worker: one engine, and the recordings that run through it together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from stride_ros.errors import SourceError, StrideError
from stride_ros.mining.jobs import Job, Report, Result
from stride_ros.mining.settings import Settings
from stride_ros.process.threads import prepare_process

if TYPE_CHECKING:
    from stride_ros.replay.event_sink import EventSink
    from stride_ros.replay.replayer import Replaying
    from stride_ros.runs.record import Run

STEP_SECONDS = 0.5  # s between two reports


class Worker:
    """Mines several recordings at a time; each has the same result as with `replay`.

    An exception leaves the engine in an undefined state: the worker cannot be used after that.
    """

    def __init__(self, settings: Settings) -> None:
        """Load the models; StrideError if that fails or the settings do not fit them."""
        prepare_process()
        from stride_ros.activation.model import ActivationModel
        from stride_ros.replay.replayer import Replayer

        self._settings = settings
        self._model = ActivationModel.load(settings.model, settings.device, threads=settings.threads)
        self._replayer = Replayer(self._model, settings.queries, settings.config)
        self._speaker = None
        if settings.backend is not None:
            from stride_ros.replay.responder import load_speaker

            self._speaker = load_speaker(settings.backend)
        self._running: dict[Replaying, tuple[Job, EventSink]] = {}

    def step(self, jobs: Sequence[Job]) -> Report:
        """Begin these jobs and continue the others, for a short time or until one is finished."""
        results = [result for job in jobs if (result := self._begin(job)) is not None]
        stop = time.monotonic() + STEP_SECONDS
        while self._running and not results and time.monotonic() < stop:
            for replaying, outcome in self._replayer.step(list(self._running)):
                job, events = self._running.pop(replaying)
                replaying.bag.close()
                if isinstance(outcome, StrideError):
                    results.append(_failed(job, outcome))
                else:
                    results.append(self._result(job, replaying, outcome, events))
        progress = {
            job.number: (replaying.seconds, replaying.bag.seconds)
            for replaying, (job, _) in self._running.items()
        }
        return Report(tuple(results), progress)

    def _begin(self, job: Job) -> Result | None:
        from stride_ros.replay.event_sink import EventSink
        from stride_ros.replay.recording import open_recording
        from stride_ros.replay.replayer import Replaying
        from stride_ros.replay.responder import ReplayResponder

        settings = self._settings
        try:
            recording = open_recording(job.path, settings.image_topic)
        except StrideError as error:
            return _failed(job, error)
        except Exception as error:  # readers fail in many ways on damaged files
            reason = f"{type(error).__name__}: {error}".rstrip(".")
            return _failed(job, SourceError(f"{job.path} cannot be read ({reason}); record it again."))
        events = EventSink(job.origin, self._model.short_name)
        try:
            replaying = Replaying(
                recording,
                settings.queries,
                rate=settings.rate,
                clock=settings.clock,
                responder=None
                if self._speaker is None
                else ReplayResponder(self._speaker, settings.response),
                events=events,
            )
            self._replayer.begin(replaying)
        except StrideError as error:
            with suppress(StrideError):
                recording.close()
            return _failed(job, error)
        self._running[replaying] = job, events
        return None

    def _result(self, job: Job, replaying: Replaying, run: Run, events: EventSink) -> Result:
        from stride_ros.replay.api import describe

        settings = self._settings
        describe(
            run,
            replaying.bag,
            clock=settings.clock,
            model=self._model.name,
            resolution=self._model.resolution,
            responder=self._speaker.name if self._speaker is not None else "",
            rate=settings.rate,
            config=settings.config,
            response=settings.response if self._speaker is not None else None,
        )
        run.notes = [note.replace(job.path, job.shown) for note in run.notes]
        document = run.to_json(latencies=False)
        return Result(job.number, document, tuple(events.found()), run.seconds)


def _failed(job: Job, error: StrideError) -> Result:
    return Result(job.number, problem=str(error).replace(job.path, job.shown))
