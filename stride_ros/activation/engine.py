"""The engine: owns a model and serves all its streams and watches together, with one batch per push."""

from __future__ import annotations

import time as clock
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.catch_up import CatchUp
from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.engine_memory import EngineMemory
from stride_ros.activation.engine_work import EngineWork, Job
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.passes import FramePair, PromptFactory
from stride_ros.activation.stream import Stream, without_images
from stride_ros.activation.watch import ActivationUpdate, Watch
from stride_ros.errors import CapacityError, ConfigError, FrameError, StrideError, TimeError
from stride_ros.qwen3_vl.decoder import TokenBlock


class PushError(StrideError):
    """Frames of some streams could not be used; the other streams were served.

    errors: FrameError, TimeError or CapacityError by stream; updates: the decisions of the others.
    """

    def __init__(self, errors: Mapping[Stream, StrideError], updates: tuple[ActivationUpdate, ...]) -> None:
        self.errors, self.updates = dict(errors), updates
        told = "; ".join(f"{stream.name}: {error}" for stream, error in errors.items())
        super().__init__(f"Frames of {len(errors)} streams were left out: {told}")


class ActivationEngine:
    """Serves all streams and watches of one model. Not thread-safe.

    Each watch decides as it would in a session by itself: the same labels, whatever else the engine serves.
    Frames, appends and passes of one push run as one batch.

    memory_limit: bytes for the state of all streams and watches, None for no limit; the weights are the
    model's. keep_features: keep the frames in context of each stream for watches that look back. prompts:
    makes the prompt of a watch; for other ways to run the same passes.
    """

    def __init__(
        self,
        model: ActivationModel,
        config: ActivationConfig | None = None,
        memory_limit: int | None = None,
        *,
        keep_features: bool = True,
        prompts: PromptFactory = CachedPrompt,
    ) -> None:
        self.model, self.prompts, self.keep_features = model, prompts, keep_features
        self._config = config or ActivationConfig()
        self.check_trigger(self._config.trigger)
        self._streams: dict[str, Stream] = {}
        self.memory = EngineMemory(self, memory_limit)
        self._work = EngineWork(model, self._config)
        self._late = CatchUp(self._work.run, self._work.encode)

    @property
    def config(self) -> ActivationConfig:
        return self._config

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The open streams, in the order in which they were opened."""
        return tuple(self._streams.values())

    @property
    def window_slots(self) -> int:
        """Slots in the activation window (W)."""
        return self.model.window

    @property
    def resolution(self) -> float:
        """Duration of a slot in seconds."""
        return self.model.resolution

    @property
    def frame_max_tokens(self) -> int:
        """Maximum number of prompt tokens for a frame pair."""
        return min(self._config.frame_max_tokens, self.model.frame_max_tokens)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the state: keys and values of all watches, and the stored pairs."""
        return self.memory.bytes

    def open_stream(self, name: str, size: tuple[int, int] | None = None) -> Stream:
        """Open a new stream of frames.

        size: (height, width) of its frames in px, if known; otherwise memory is estimated for the largest.
        Raises ConfigError for a name that is taken, CapacityError when it does not fit into the engine's
        memory.
        """
        if name in self._streams:
            raise ConfigError(f"There is already a stream named {name}; use another name.")
        stream = Stream(self, name, size)
        self.memory.admit({stream: ()})
        self._streams[name] = stream
        return stream

    def update_config(self, config: ActivationConfig) -> None:
        """Apply thresholds, steps, trigger and span settings from the next decision on.

        Raises ConfigError, and changes nothing, for a setting that shapes the cached prompts.
        """
        self.check_trigger(config.trigger)
        if "seed" in self._config.live_changes(config):
            for stream in self.streams:
                for watch in stream.watches:
                    watch.draw_from(config.seed)
        self._config = self._work.config = config

    def push(self, frames: Mapping[Stream, tuple[Any, float]]) -> tuple[ActivationUpdate, ...]:
        """Take in the newest frame of each of these streams; return the decisions that they lead to.

        A frame is (H, W, 3) uint8 RGB, at least 32 x 32 pixels, and its time s, later than the previous one
        of its stream. There is no decision between two that are `decide_every` frames apart, nor, with
        odd_frame `wait`, before a pair is complete. Updates are in the order in which streams and watches
        were opened.

        A frame that cannot be used leaves its stream unchanged. The other streams are served, then PushError
        names those that failed; a push of one stream raises the plain FrameError, TimeError or CapacityError.
        After any other error, such as a full GPU, reset the streams.
        """
        begin = clock.perf_counter()
        errors: dict[Stream, StrideError] = {}
        taken: dict[Stream, FramePair | None] = {}
        for stream, (frame, time) in frames.items():
            try:
                self._check_open(stream)
                image, checked = stream.prepare(frame, time)
                self.memory.admit_frame(stream, (image.shape[0], image.shape[1]), checked)
            except (FrameError, TimeError, CapacityError, ConfigError) as error:
                errors[stream] = error
                continue
            self._late.join(stream)
            taken[stream] = stream.take(image, checked)
        if errors and len(frames) == 1:
            raise next(iter(errors.values()))
        self._work.add_time("preprocess", clock.perf_counter() - begin)
        self._work.ran = 0
        jobs, appends = self._advance(taken)
        self._work.add_time("total", clock.perf_counter() - begin)
        updates = self._work.decide(jobs, appends) if jobs else ()
        begin = clock.perf_counter()
        self._late.serve(taken, self._config, self._work.ran)
        self._work.add_time("total", clock.perf_counter() - begin)
        if errors:
            raise PushError(errors, updates)
        return updates

    def catch_up(self) -> bool:
        """Let a watch that looks back take in one more frame of the context, while no other watch waits.

        False if there was nothing to do. The watch decides from the stream's next frame on. Each push also
        does some of this work, as far as its decisions leave time.
        """
        before = dict(self._work.timings)
        did = self._late.step(self.streams, self._config)
        self._work.timings = before  # no decision waits for this
        return did

    def decide(self, stream: Stream) -> tuple[ActivationUpdate, ...]:
        """See `Stream.decide`."""
        begin = clock.perf_counter()
        self._check_open(stream)
        waiting = [
            watch
            for watch in stream.watches
            if watch.ready and not watch.finished and not watch.provisional and stream.half is not None
        ]
        if waiting and self._config.odd_frame == "repeat":
            pair = (
                self._work.encode([stream.provisional()])[0]
                if _need_features(waiting)
                else stream.provisional()
            )
            self._work.run([block for watch in waiting for block in watch.take(pair)], waiting)
        jobs = [
            (stream, watch)
            for watch in stream.watches
            if watch.ready and not watch.finished and stream.usable(watch) > watch.context.start
        ]
        self._work.add_time("total", clock.perf_counter() - begin)
        return self._work.decide(jobs) if jobs else ()

    def memory_for(
        self, size: tuple[int, int] | None, queries: Sequence[str], seconds: float | None = None
    ) -> int:
        """Maximum number of bytes that a stream with watches for these queries takes, however long it runs.

        size: (height, width) of its frames in px; None for the largest that the model is shown. seconds: the
        time that the frames in context cover; by default one second per frame. The prompt states the time of
        each pair, so longer times take a token or two more.
        """
        return self.memory.most(size, queries, seconds)

    # For streams

    def check_trigger(self, trigger: TriggerConfig) -> None:
        """Raise ConfigError for a trigger that the model's window cannot meet."""
        wanted, covered = trigger.min_active_seconds, self.model.past * self.model.resolution
        if wanted > covered:
            raise ConfigError(
                f"trigger.min_active_seconds is {wanted:g}, but the model's window covers {covered:g} s; "
                "use at most that."
            )

    def forget(self, stream: Stream) -> None:
        """Remove a stream that was closed."""
        self._streams.pop(stream.name, None)

    # One push

    def _advance(self, taken: Mapping[Stream, FramePair | None]) -> tuple[list[Job], list[TokenBlock]]:
        """Take in frames: encode them and append what cannot wait.

        Returns the watches that are due to decide, and the blocks to run with their first pass: what both
        read is then read once.
        """
        given: dict[Stream, FramePair] = {stream: pair for stream, pair in taken.items() if pair is not None}
        for stream, newest in ((stream, stream.newest) for stream in taken):
            for watch in stream.watches:
                if watch.ready and not watch.finished:
                    watch.add(newest)
        for stream in taken:
            if stream.half is not None and self._config.odd_frame == "repeat":
                due = (watch.is_due(stream.usable(watch), self._config) for watch in stream.watches)
                if any(due):
                    given[stream] = stream.provisional()
        given = self._encode_for(given)
        blocks: list[TokenBlock] = []
        served: list[Watch] = []
        for stream in taken:
            pair = given.get(stream)
            for watch in stream.watches:
                if watch.finished:
                    continue
                if watch.ready:
                    usable = pair
                    if pair is not None and pair.provisional:
                        usable = pair if watch.is_due(stream.usable(watch), self._config) else None
                    blocks += watch.take(usable)
                    served.append(watch)
                elif watch.catching_up and pair is not None and not pair.provisional:
                    watch.fall_behind(pair)
            if pair is not None and not pair.provisional:
                stream.keep(pair if pair.features is None else without_images(pair))
        self._work.ran += sum(len(block.ids) for block in blocks)
        jobs = [
            (stream, watch)
            for stream in self.streams
            if stream in taken
            for watch in stream.watches
            if watch.is_due(stream.usable(watch), self._config) and stream.usable(watch) > watch.context.start
        ]
        recorded = any(watch.passes.recordings is not None for watch in served)
        if not jobs or recorded:  # recorded passes read what was appended
            self._work.run(blocks, served)
            return jobs, []
        self._work.run((), served)
        return jobs, blocks

    def _encode_for(self, given: Mapping[Stream, FramePair]) -> dict[Stream, FramePair]:
        """The pairs, with features where a watch needs them now: one batch for each size."""
        wanting = [stream for stream in given if _need_features(w for w in stream.watches if w.begun)]
        encoded = self._work.encode([given[stream] for stream in wanting])
        return {**given, **dict(zip(wanting, encoded, strict=True))}

    def _check_open(self, stream: Stream) -> None:
        if self._streams.get(stream.name) is not stream:
            raise ConfigError(f"The stream {stream.name} is not open; open it with open_stream.")


def _need_features(watches: Iterable[Watch]) -> bool:
    return any(watch.passes.encoded and not watch.finished for watch in watches)
