"""Watch several videos at a time in one engine, with one batch per step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.deferred_prompt import prompts_for
from stride_ros.activation.engine import ActivationEngine, PushError
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.stream import Stream
from stride_ros.activation.watch import ActivationUpdate
from stride_ros.errors import StrideError
from stride_ros.evaluation.runners.clips import Image


class Watching(Protocol):
    """A video to watch, and what to watch for."""

    name: str  # unique among videos watched at the same time

    def frames(self) -> Iterator[tuple[Image, float]]:
        """Pictures (H, W, 3) uint8 RGB and their times (s). Raises SourceError."""

    def before(self, stream: Stream, time: float) -> None:
        """Open or close watches, before a picture of this time (s)."""

    def after(self, stream: Stream, updates: Sequence[ActivationUpdate], time: float) -> bool:
        """Take the decisions on the picture; return False if there is nothing more to watch for."""

    def end(self, stream: Stream, updates: Sequence[ActivationUpdate]) -> None:
        """Take the last decisions at the end of the video; open watches may be closed."""


@dataclass
class _Lane:
    watching: Watching
    stream: Stream
    frames: Iterator[tuple[Image, float]]
    time: float = 0.0
    taken: int = 0  # pictures
    error: StrideError | None = None


def watch(
    model: ActivationModel,
    config: ActivationConfig,
    jobs: Iterable[Watching],
    lanes: int = 1,
    *,
    look_back: bool = False,
) -> Iterator[tuple[Watching, StrideError | None]]:
    """Watch the videos, `lanes` at a time; yield each when it is over, with the error that ended it, if any.

    look_back: some watches begin later than their stream, and also decide on what came before.
    """
    engine = ActivationEngine(model, config, keep_features=look_back, prompts=prompts_for(model, config))
    coming = iter(jobs)
    running: list[_Lane] = []
    while True:
        while len(running) < lanes and (job := next(coming, None)) is not None:
            running.append(_Lane(job, engine.open_stream(f"{job.name} {id(job)}"), job.frames()))
        if not running:
            return
        still = []
        for lane, goes_on in zip(running, _step(engine, running), strict=True):
            if goes_on:
                still.append(lane)
                continue
            _finish(lane, config.decide_every)
            yield lane.watching, lane.error
        running = still


def _step(engine: ActivationEngine, running: Sequence[_Lane]) -> list[bool]:
    """Push the next picture of each video; return those that continue."""
    pushed: dict[Stream, tuple[Image, float]] = {}
    over: set[Stream] = set()
    for lane in running:
        try:
            following = next(lane.frames, None)
            if following is None:
                over.add(lane.stream)
                continue
            image, lane.time = following
            lane.watching.before(lane.stream, lane.time)
            pushed[lane.stream] = image, lane.time
            lane.taken += 1
        except StrideError as error:
            lane.error = error
            over.add(lane.stream)
    while engine.catch_up():  # so that a watch that looks back decides on the next picture
        pass
    updates, errors = _push(engine, pushed)
    for lane in running:
        if lane.stream in errors:
            lane.error = errors[lane.stream]
            over.add(lane.stream)
        elif lane.stream in pushed:
            own = [update for update in updates if update.stream == lane.stream.name]
            try:
                if not lane.watching.after(lane.stream, own, lane.time):
                    over.add(lane.stream)
            except StrideError as error:
                lane.error = error
                over.add(lane.stream)
    return [lane.stream not in over for lane in running]


def _push(
    engine: ActivationEngine, pushed: dict[Stream, tuple[Image, float]]
) -> tuple[Sequence[ActivationUpdate], dict[Stream, StrideError]]:
    if not pushed:
        return (), {}
    try:
        return engine.push(pushed), {}
    except PushError as error:
        return error.updates, dict(error.errors)
    except StrideError as error:  # the only stream's
        if len(pushed) > 1:
            raise
        return (), {next(iter(pushed)): error}


def _finish(lane: _Lane, decide_every: int) -> None:
    """Decide on pictures that were waiting for more, close the stream, and pass on the decisions."""
    updates: Sequence[ActivationUpdate] = ()
    if lane.error is None and lane.taken % decide_every:
        try:
            updates = lane.stream.decide()
        except StrideError as error:
            lane.error = error
    if lane.error is None:
        lane.watching.end(lane.stream, updates)
    lane.stream.close()
