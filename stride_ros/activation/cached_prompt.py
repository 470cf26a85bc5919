"""The cached prompt of one watch: a frame pair is appended once, and a pass runs changed slots only.

There are two caches: the active one, and an upcoming one that begins where the context will begin after the
next shift. Both take the same encoded pairs, the upcoming one at an even pace behind, so that a shift is a
swap and costs nothing. A cache takes memory as it fills and gives it back when its prompt starts over: both
together take most just before a shift, when the active one is full and the upcoming one holds what will be
left. Encoded pairs are shared with the other watches of the stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import Probabilities, SlotPass
from stride_ros.activation.graphs import RecordedPasses, Recorder
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.passes import FramePair
from stride_ros.activation.prefix import Pair, Prefix
from stride_ros.qwen3_vl.decoder import TokenBlock
from stride_ros.qwen3_vl.kv_cache import KVCache


class CachedPrompt:
    """Keeps the prompt of a live stream in caches. See `PromptPasses`.

    recorder: of slot passes; left out, it is that of the model's device, if there is one and the
    configuration wants CUDA graphs.
    """

    encoded = True
    waiting: Sequence[FramePair] = ()

    def __init__(
        self,
        model: ActivationModel,
        query: str,
        config: ActivationConfig,
        context: Context,
        recorder: Recorder | None = None,
    ) -> None:
        self._context = context
        self._recorder = recorder or (model.recorder if config.cuda_graphs else None)
        most = (config.max_frames + 1) // 2
        self._kept = (config.max_frames - config.dropped_per_shift) // 2  # pairs in context after a shift

        def filled(cache: KVCache) -> _Cache:
            prefix = Prefix(model, query, config.position_scheme, most, cache)
            return _Cache(prefix, model.recorded_passes(self._recorder) if self._recorder else None)

        caches, self._pages = model.new_caches(2)
        self._active, self._upcoming = map(filled, caches)
        self._upcoming.prefix.restart(context.next_start)
        self._pairs: deque[Pair] = deque()
        self._first_pair = 0  # index of the first frame in self._pairs
        self.timings: dict[str, float] = {}

    @property
    def memory_bytes(self) -> int:
        """Bytes of keys and values, and of the pages that wait for some."""
        spare = self._pages.free_bytes if self._pages is not None else 0
        return self._active.prefix.memory_bytes + self._upcoming.prefix.memory_bytes + spare

    @property
    def recorded(self) -> bool:
        """Whether passes are recorded and replayed."""
        return self._active.usable_recordings is not None

    @property
    def recordings(self) -> int:
        """How many slot passes are recorded, 0 where they are not or where recording failed."""
        return self._active.recordings + self._upcoming.recordings

    @property
    def kept_pairs(self) -> Sequence[Pair]:
        """Encoded pairs that are still needed; other watches of the stream may keep the same ones."""
        return self._pairs

    def memory_limit(self, tokens: int) -> int:
        """Bytes just before a shift: of a full prompt, and of what will be left of it."""
        prefix, seconds = self._active.prefix, self._context.seconds
        return prefix.bytes_for(tokens, seconds) + prefix.bytes_for(tokens, seconds, self._kept)

    def shift(self) -> None:
        """Swap the caches; what is missing from the new active one is appended with the next pair."""
        self._active, self._upcoming = self._upcoming, self._active
        self._upcoming.prefix.restart(self._context.next_start)

    def advance(self, pair: FramePair | None) -> list[TokenBlock]:
        """See `PromptPasses`: both caches take their share."""
        provisional = None
        if pair is not None:
            if pair.provisional:
                provisional = _encoded(pair)
            else:
                self._pairs.append(_encoded(pair))
        origin = self._context.time(self._context.start)
        missing = self._pairs_from(self._active.prefix.next_frame)
        blocks = [self._active.prefix.append(missing, origin)] if missing else []
        if provisional is not None:
            blocks.append(self._active.prefix.append([provisional], origin, keep=False))
        return [*blocks, *self._catch_up()]

    def settle(self) -> None:
        """Drop pairs that no cache needs any more, and record a pass ahead of need."""
        needed = min(self._upcoming.prefix.next_frame, self._context.next_start + self._context.drop_frames)
        while self._pairs and self._first_pair < needed:
            self._pairs.popleft()
            self._first_pair += 2
        self._active.prepare()
        if not self._context.frames_to_shift:  # it is about as long as when it will be used
            self._upcoming.prepare()

    def fill(self) -> list[TokenBlock]:
        """Nothing is left until a decision."""
        return []

    def ask(self, request: SlotPass) -> TokenBlock | None:
        """See `PromptPasses`: a recorded pass runs all slots, an ordinary one those that differ."""
        return self._active.prefix.ask(request, whole=self._active.usable_recordings is not None)

    def replay(self, block: TokenBlock) -> Probabilities | None:
        """See `PromptPasses`."""
        recorded = self._active.usable_recordings
        return None if recorded is None else recorded.run([block])[0]

    def answer(self, values: Probabilities | None) -> Probabilities:
        """See `PromptPasses`."""
        return self._active.prefix.answer(values)

    def _catch_up(self) -> list[TokenBlock]:
        """Appends to the upcoming prompt: an even share of what it will need by the next shift."""
        context, prefix = self._context, self._upcoming.prefix
        needed = (context.start + context.max_frames - prefix.next_frame) // 2
        share = -(-needed // (context.frames_to_shift + 1))
        pairs = self._pairs_from(prefix.next_frame)[: max(0, share)]
        return [prefix.append(pairs, context.time(context.next_start))] if pairs else []

    def _pairs_from(self, frame: int) -> list[Pair]:
        return list(self._pairs)[(frame - self._first_pair) // 2 :]


class _Cache:
    """A prompt in its cache, and the recorded passes over its slots."""

    def __init__(self, prefix: Prefix, recorded: RecordedPasses | None) -> None:
        self.prefix, self._recorded = prefix, recorded

    @property
    def usable_recordings(self) -> RecordedPasses | None:
        if self._recorded is not None and not self._recorded.usable:
            self._recorded = None  # and with it the memory of what was recorded
            self.prefix.forget_slots()  # recorded passes leave no keys and values of slots
        return self._recorded

    @property
    def recordings(self) -> int:
        return len(self._recorded) if self._recorded is not None else 0

    def prepare(self) -> None:
        """Record the pass over a prompt as long as it is now."""
        recorded = self.usable_recordings
        if recorded is not None and self.prefix.begun:
            recorded.prepare([self.prefix.placeholder()])


def _encoded(pair: FramePair) -> Pair:
    assert pair.features is not None, "a cached prompt takes encoded pairs"
    return Pair(*pair.times, pair.features)
