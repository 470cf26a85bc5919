"""One query that is watched for on one stream: its state, and how it decides."""

from __future__ import annotations

import itertools
import zlib
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import Answer, Denoised, Probabilities, SlotPass, denoise
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.passes import FramePair, PromptFactory
from stride_ros.activation.spans import Span, SpanEvent, SpanPublisher, SpanTracker, extract_spans
from stride_ros.activation.window import History, Labels, SlotWindow
from stride_ros.qwen3_vl.decoder import TokenBlock

UNSEEN = 255  # label that decisions report for a slot before the first frame

Decision = Generator[SlotPass, Answer, "ActivationUpdate"]


@dataclass(frozen=True)
class ActivationUpdate:
    """One decision for one watch.

    time: time of the newest frame it saw (s). labels (W,): 0 inactive, 1 active, 255 unseen. probabilities
    (W,): P(active) from the pass that decided the slot, 0 where no pass did. slot_starts (W,): s, stream
    time. resolution: seconds per slot. steps: passes over the window, including the baseline. events:
    published changes of spans, in order. timings: seconds for `preprocess`, `vision`, `append` (its share, by
    tokens, of the pass that it ran with), `denoise` and `total`, since the engine's previous decision, of all
    streams and watches together. passes: the labels after each diffusion at this time; there are several
    after a completed span. query, stream, watch: the query, and the names of the stream and the watch.
    """

    time: float
    labels: NDArray[np.uint8]
    probabilities: Probabilities
    slot_starts: NDArray[np.float64]
    resolution: float
    steps: int
    events: tuple[SpanEvent, ...]
    timings: dict[str, float]
    passes: tuple[NDArray[np.uint8], ...]
    query: str
    stream: str = ""
    watch: str = ""

    @property
    def newest_probability(self) -> float:
        """P(active) of the slot that ends with the newest frame."""
        newest = np.searchsorted(self.slot_starts, self.time - self.resolution / 2) - 1
        return float(self.probabilities[newest])


class Watch:
    """A query with an id and a trigger on one stream; created by `Stream.watch`.

    id: unique on its stream; query; trigger; finished: whether its one event is over (only with multi_event
    off); ready: whether it decides; a watch that looks back does so once it has caught up.
    """

    def __init__(
        self,
        stream: str,
        id: str,
        query: str,
        trigger: TriggerConfig | None,
        model: ActivationModel,
        config: ActivationConfig,
        prompts: PromptFactory,
    ) -> None:
        self.id, self.query, self.trigger = id, query, trigger
        self._stream, self._model, self._prompts = stream, model, prompts
        self._ids = itertools.count(1)
        self.begin(config)

    def begin(self, config: ActivationConfig) -> None:
        """Restart; span ids continue."""
        self.context = Context(config.max_frames, config.dropped_per_shift)
        self.passes = self._prompts(self._model, self.query, config, self.context)
        self._tracker = SpanTracker()
        self._publisher = SpanPublisher(self.query, self._ids)
        self._history: History | None = None
        self.draw_from(config.seed)
        self.finished = False
        self.frames = 0  # since its beginning
        self.decided = 0  # frames at its last decision
        self.provisional = False  # whether the newest frame is in the prompt as a provisional pair
        self.begun = False  # with the stream's next pair
        self.catching_up = False  # it looks back, and has not yet taken in all frames of the stream
        self.backlog: deque[tuple[float, FramePair | None]] = deque()  # frames that it still has to take in

    def look_back(self, pairs: Iterable[FramePair], config: ActivationConfig) -> None:
        """Restart, and first take in what is in the stream's context."""
        self.begin(config)
        self.begun = self.catching_up = True
        for pair in pairs:
            self.fall_behind(pair)

    def fall_behind(self, pair: FramePair) -> None:
        """Remember a pair to take in later; at its first frame only the time is known."""
        self.backlog += zip(pair.times, (None, pair), strict=True)

    @property
    def ready(self) -> bool:
        """Whether it decides."""
        return self.begun and not self.catching_up

    def count_on(self, earlier: Watch) -> None:
        """Continue the span ids of an earlier watch; call this before the first decision."""
        self._ids = earlier._ids
        self._publisher = SpanPublisher(self.query, self._ids)

    def draw_from(self, seed: int) -> None:
        """Seed its random draws, which depend on its id and not on other watches."""
        self._rng = np.random.default_rng([seed, zlib.crc32(self.id.encode())])

    def add(self, time: float) -> bool:
        """Add a new frame's time (s); return whether the oldest frames left the context for it."""
        self.frames += 1
        self.provisional = False
        shifted = self.context.add(time)
        if shifted:
            self.passes.shift()
        return shifted

    def take(self, pair: FramePair | None) -> list[TokenBlock]:
        """Take in the pair of the newest frame, None while the frame waits; return the blocks to run."""
        self.provisional = pair is not None and pair.provisional
        return self.passes.advance(pair)

    def is_due(self, usable: int, config: ActivationConfig) -> bool:
        """Whether it decides at the newest frame, when `usable` frames may be used."""
        if self.finished or not self.ready or self.frames % config.decide_every:
            return False
        return config.odd_frame == "repeat" or usable != self.decided

    def end_spans(self, now: float) -> list[SpanEvent]:
        """The OFFSET of each open published span."""
        return self._publisher.finish(self._tracker.open_spans, now)

    def decide(
        self, usable: int, config: ActivationConfig, now: float, timings: dict[str, float]
    ) -> Decision:
        """Decide on the first `usable` frames.

        Denoises, finds and tracks spans, and repeats that after each completed span.

        `now`: time of the newest of them (s).
        """
        model = self._model
        origin = self.context.time(self.context.start)
        architecture = model.architecture
        window = SlotWindow.at(now, origin, architecture.past, architecture.future, model.resolution)
        completed: list[Span] = []
        retracted: list[Span] = []
        passes: list[NDArray[np.uint8]] = []
        steps = 0
        for attempt in range(config.max_triggers + 1):
            if attempt:
                self._history = None
            outcome: Denoised = yield from denoise(
                window,
                self._tracker.completed_until,
                self._history,
                config,
                self._rng,
                at_once=self.passes.recordings is not None,
            )
            self._history = History.of(window, outcome.labels)
            passes.append(_reported(outcome.labels, window))
            steps += outcome.passes
            found = extract_spans(
                outcome.labels, outcome.probabilities, window, config.span_mode, config.max_gap
            )
            over, dropped = self._tracker.update(found, window.first_seen_start, now, config.margin_seconds)
            completed += over
            retracted += dropped
            if not over:
                break
            if not config.multi_event:
                self.finished = True
                # The one event is over: other spans that were found continue only if they are already
                # published.
                self._tracker.open_spans = [span for span in self._tracker.open_spans if span.span_id]
                break
        trigger = self.trigger or config.trigger
        events = self._publisher.events(completed, retracted, self._tracker.open_spans, trigger, now)
        self.decided = usable
        return ActivationUpdate(
            time=now,
            labels=passes[-1],
            probabilities=outcome.probabilities,
            slot_starts=window.starts,
            resolution=window.resolution,
            steps=steps,
            events=tuple(events),
            timings=timings,
            passes=tuple(passes),
            query=self.query,
            stream=self._stream,
            watch=self.id,
        )


def _reported(labels: Labels, window: SlotWindow) -> NDArray[np.uint8]:
    return np.where(window.unseen, np.uint8(UNSEEN), labels)
