"""Decisions over a live stream: vision runs once, every query has its own cached prompt."""

from __future__ import annotations

import itertools
import math
import time as clock
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import Denoised, Probabilities, SlotPass, denoise
from stride_ros.activation.engine import CachedEngine, FramePair, PassEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.spans import Span, SpanEvent, SpanPublisher, SpanTracker, extract_spans
from stride_ros.activation.window import History, Labels, SlotWindow
from stride_ros.errors import ConfigError, QueryError, TimeError
from stride_ros.qwen3_vl import patches as frames

UNSEEN = 255  # label of a slot before the first frame, in what a decision reports

EngineFactory = Callable[[ActivationModel, Sequence[str], ActivationConfig, Context], PassEngine]
_Decision = Generator[SlotPass, Probabilities, "ActivationUpdate"]


@dataclass(frozen=True)
class ActivationUpdate:
    """One decision for one query.

    time: of the newest frame it saw (s). labels (W,): 0 inactive, 1 active, 255 unseen. probabilities (W,):
    P(active) from the pass that decided the slot, 0 where no pass did. slot_starts (W,): s, session time.
    resolution: s a slot. steps: passes over the window, the baseline included. events: published changes of
    spans, in order. timings: seconds for `preprocess`, `vision`, `append`, `denoise` and `total`, since the
    previous decision, of all queries together. passes: the labels after each diffusion at this time; there
    are several after a completed span.
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


class _Watch:
    """What one query remembers between decisions."""

    def __init__(self, query: str, ids: Iterator[int], seed: int) -> None:
        self.query = query
        self.tracker = SpanTracker()
        self.publisher = SpanPublisher(query, ids)
        self.history: History | None = None
        self.rng = np.random.default_rng(seed)
        self.finished = False


class ActivationStream:
    """Watches one stream of frames for several queries. Not thread-safe.

    Deterministic: the same frames, times, configuration and seed give the same updates. Span ids count from 1
    over all queries and go on after a reset. Raises QueryError for a query that cannot be used, ConfigError
    for no query at all or a trigger that the model's window cannot meet.
    """

    def __init__(
        self,
        model: ActivationModel,
        queries: Sequence[str],
        config: ActivationConfig | None = None,
        engine: EngineFactory = CachedEngine,
    ) -> None:
        self._model = model
        self._engine_factory = engine
        self._ids = itertools.count(1)
        self._half: tuple[NDArray[np.uint8], float] | None = None  # a frame that waits for its partner
        self._config = config or ActivationConfig()
        self._check_config(self._config)
        self._queries = self._check_queries(queries)
        self._begin()

    @property
    def queries(self) -> tuple[str, ...]:
        return self._queries

    @property
    def config(self) -> ActivationConfig:
        return self._config

    @property
    def window_slots(self) -> int:
        """Slots in the activation window (W)."""
        return self._model.window

    @property
    def resolution(self) -> float:
        """Seconds of a slot."""
        return self._model.resolution

    @property
    def context_frames(self) -> int:
        """Frames in context now."""
        return len(self._context)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the stream's state: keys and values of all queries, encoded pairs still needed."""
        return self._engine.memory_bytes

    def memory_limit(self, height: int, width: int) -> int:
        """Bytes the stream's state takes at most with camera frames of this size, however long it runs."""
        tokens = min(self._config.frame_max_tokens, self._model.frame_max_tokens)
        return self._engine.memory_limit(*frames.model_size(height, width, tokens))

    @property
    def finished(self) -> bool:
        """Whether every query has had its one event (only with multi_event off)."""
        return all(watch.finished for watch in self._watches)

    def push(self, frame: Any, time: float) -> tuple[ActivationUpdate, ...]:
        """Take in a frame; the decisions it leads to, one for each query that is not finished, or none.

        frame: (H, W, 3) uint8 RGB, at least 32 x 32 pixels; time: s, later than the previous one. There is no
        decision between two that are `decide_every` frames apart, nor, with odd_frame `wait`, before a pair
        is complete. Raises FrameError and TimeError; the stream is then as it was before. After any other
        error, such as a full GPU, reset it.
        """
        begin = clock.perf_counter()
        if self.finished:
            return ()
        time = self._check_time(time)
        tokens = min(self._config.frame_max_tokens, self._model.frame_max_tokens)
        size = (self._half[0].shape[0], self._half[0].shape[1]) if self._half else None
        image = frames.prepare(frame, tokens, size)
        self._newest = time
        if self._context.add(time):
            self._engine.shift()
        self._frames += 1
        self._preprocess += clock.perf_counter() - begin
        due = self._frames % self._config.decide_every == 0
        pair = None
        if self._half is not None:
            pair = FramePair((self._half[0], image), (self._half[1], time))
            self._half = None
        else:
            self._half = (image, time)
            if due and self._config.odd_frame == "repeat":
                pair = FramePair((image, image), (time, time), provisional=True)
        self._engine.advance(pair)
        self._provisional = pair is not None and pair.provisional
        self._total += clock.perf_counter() - begin
        if not due or (self._config.odd_frame == "wait" and self._usable == self._decided):
            return ()
        return self.decide()

    def decide(self) -> tuple[ActivationUpdate, ...]:
        """Decide on the frames so far, whatever `decide_every` says: at a stream's end, or to ask again.

        No decision without a usable frame: with odd_frame `wait` that takes a pair.
        """
        begin = clock.perf_counter()
        if self._half is not None and self._config.odd_frame == "repeat" and not self._provisional:
            image, time = self._half
            self._engine.advance(FramePair((image, image), (time, time), provisional=True))
            self._provisional = True
        if self._usable <= self._context.start:
            return ()
        newest = self._context.time(self._usable - 1)
        origin = self._context.time(self._context.start)
        architecture = self._model.architecture
        window = SlotWindow.at(newest, origin, architecture.past, architecture.future, self._model.resolution)
        watches = {index: watch for index, watch in enumerate(self._watches) if not watch.finished}
        timings: dict[str, float] = {}
        decisions = {
            index: self._decision(watch, window, newest, timings) for index, watch in watches.items()
        }
        ready = clock.perf_counter()
        before = sum(self._engine.timings.values())
        updates = self._run(decisions)
        end = clock.perf_counter()
        timings.update({"preprocess": self._preprocess, "vision": 0.0, "append": 0.0, **self._engine.timings})
        inside = sum(self._engine.timings.values()) - before  # an engine may encode when it is asked, too
        timings.update(denoise=end - ready - inside, total=self._total + end - begin)
        self._decided = self._usable
        self._clear_timings()
        return updates

    def close(self) -> tuple[SpanEvent, ...]:
        """End the stream: open published spans are over. The stream is then empty, as if it were new."""
        return self.reset()

    def reset(self) -> tuple[SpanEvent, ...]:
        """Forget the stream, e.g. when time has jumped; the OFFSET of every open published span."""
        events: list[SpanEvent] = []
        for watch in self._watches:
            events += watch.publisher.finish(watch.tracker.open_spans, self._newest)
        self._begin()
        return tuple(events)

    def set_queries(self, queries: Sequence[str]) -> tuple[SpanEvent, ...]:
        """Watch for something else from now on; returns what `reset` does. QueryError changes nothing."""
        checked = self._check_queries(queries)
        events = self.reset()
        self._queries = checked
        self._begin()
        return events

    def update_config(self, config: ActivationConfig) -> None:
        """Apply thresholds, steps, trigger and span settings from the next decision on.

        ConfigError, and nothing changed, for a setting that shapes the cached prompt.
        """
        self._check_config(config)
        if "seed" in self._config.live_changes(config):
            for watch in self._watches:
                watch.rng = np.random.default_rng(config.seed)
        self._config = config

    def _begin(self) -> None:
        config = self._config
        self._context = Context(config.max_frames, config.dropped_per_shift)
        self._engine = self._engine_factory(self._model, self._queries, config, self._context)
        self._watches = [_Watch(query, self._ids, config.seed) for query in self._queries]
        self._frames = 0  # since the beginning of the stream
        self._decided = 0  # usable frames at the last decision
        self._half = None
        self._provisional = False  # whether the engine has that frame as a provisional pair
        self._newest = -math.inf
        self._clear_timings()

    def _clear_timings(self) -> None:
        self._preprocess = self._total = 0.0
        self._engine.timings.clear()

    @property
    def _usable(self) -> int:
        """Frames of the stream that a decision may use now."""
        return self._frames - (self._half is not None and self._config.odd_frame == "wait")

    def _check_queries(self, queries: Sequence[str]) -> tuple[str, ...]:
        if isinstance(queries, str) or not queries:
            raise QueryError("There is nothing to watch for; pass a list of at least one query.")
        checked = tuple(self._model.prompt.check_query(query) for query in queries)
        if len(set(checked)) < len(checked):
            raise QueryError("A query is listed twice; list each one once.")
        return checked

    def _check_config(self, config: ActivationConfig) -> None:
        wanted, covered = config.trigger.min_active_seconds, self._model.past * self._model.resolution
        if wanted > covered:
            raise ConfigError(
                f"trigger.min_active_seconds is {wanted:g}, but the model's window covers {covered:g} s; "
                "use at most that."
            )

    def _check_time(self, time: Any) -> float:
        try:
            value = float(time)
        except (TypeError, ValueError) as error:
            raise TimeError(f"A frame's time is {time!r}; pass seconds as a number.") from error
        if not math.isfinite(value):
            raise TimeError(f"A frame's time is {value}; pass a finite number of seconds.")
        if value <= self._newest:
            raise TimeError(
                f"A frame's time is {value:.6f} s after one of {self._newest:.6f} s; push frames in order or "
                "reset."
            )
        return value

    def _run(self, decisions: dict[int, _Decision]) -> tuple[ActivationUpdate, ...]:
        """Run the decisions of all queries in step, so that each pass serves all that still need one."""
        updates: dict[int, ActivationUpdate] = {}
        requests: dict[int, SlotPass] = {}

        def resume(index: int, answer: Probabilities | None) -> None:
            try:
                decision = decisions[index]
                requests[index] = next(decision) if answer is None else decision.send(answer)
            except StopIteration as done:
                requests.pop(index, None)
                updates[index] = done.value

        for index in decisions:
            resume(index, None)
        while requests:
            for index, answer in self._engine.answer(requests).items():
                resume(index, answer)
        return tuple(updates[index] for index in sorted(updates))

    def _decision(
        self, watch: _Watch, window: SlotWindow, now: float, timings: dict[str, float]
    ) -> _Decision:
        """Decide for one query: denoise, find spans, track them, and once more after each completed span."""
        config = self._config
        completed: list[Span] = []
        retracted: list[Span] = []
        passes: list[NDArray[np.uint8]] = []
        steps = 0
        for attempt in range(config.max_triggers + 1):
            if attempt:
                watch.history = None
            outcome: Denoised = yield from denoise(
                window, watch.tracker.completed_until, watch.history, config, watch.rng
            )
            watch.history = History.of(window, outcome.labels)
            passes.append(_reported(outcome.labels, window))
            steps += outcome.passes
            found = extract_spans(
                outcome.labels, outcome.probabilities, window, config.span_mode, config.max_gap
            )
            over, dropped = watch.tracker.update(found, window.first_seen_start, now, config.margin_seconds)
            completed += over
            retracted += dropped
            if not over:
                break
            if not config.multi_event:
                watch.finished = True
                # The one event is over: what was found beside it only goes on if it is already announced.
                watch.tracker.open_spans = [span for span in watch.tracker.open_spans if span.span_id]
                break
        open_spans = watch.tracker.open_spans
        events = watch.publisher.events(completed, retracted, open_spans, config.trigger, now)
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
            query=watch.query,
        )


def _reported(labels: Labels, window: SlotWindow) -> NDArray[np.uint8]:
    return np.where(window.unseen, np.uint8(UNSEEN), labels)
