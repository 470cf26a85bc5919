"""The cached prompt of one watch: each frame pair is appended once, and a pass runs only changed slots.

There are two caches: the active one, and an upcoming one that begins where the context will begin after the
next shift. Both take the same encoded pairs. The upcoming one catches up at an even pace, so that a shift is
only a swap and costs nothing. A cache takes memory as it fills and frees it when its prompt starts over.
Together they take the most memory just before a shift, when the active one is full and the upcoming one holds
what will remain. Encoded pairs are shared with the other watches of the stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import Probabilities, SlotPass
from stride_ros.activation.graphs import RecordedPasses
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.passes import FramePair
from stride_ros.activation.prefix import Pair, Prefix
from stride_ros.activation.recorder import Recorder
from stride_ros.qwen3_vl.decoder import TokenBlock


class CachedPrompt:
    """Keeps the prompt of a live stream in caches. See `PromptPasses`.

    recorder: records slot passes; by default that of the model's device, if it has one and the configuration
    enables CUDA graphs.
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
        recorder = recorder or (model.recorder if config.cuda_graphs else None)
        self._recorded = model.recorded_passes(recorder) if recorder is not None else None
        most = (config.max_frames + 1) // 2
        self._kept = (config.max_frames - config.dropped_per_shift) // 2  # pairs in context after a shift

        paged = model.paged or recorder is not None  # recorded passes read pages
        self.pages = model.pages if paged else None
        self._active, self._upcoming = (
            Prefix(model, query, config.position_scheme, most, model.new_cache(paged)) for _ in range(2)
        )
        self._upcoming.restart(context.next_start)
        self._pairs: deque[Pair] = deque()
        self._first_pair = 0  # index of the first frame in self._pairs
        self.timings: dict[str, float] = {}

    @property
    def memory_bytes(self) -> int:
        """Bytes of keys and values."""
        return self._active.memory_bytes + self._upcoming.memory_bytes

    @property
    def recordings(self) -> RecordedPasses | None:
        """See `PromptPasses`."""
        if self._recorded is not None and not self._recorded.usable:
            self._recorded = None
            self._active.forget_slots()  # recorded passes leave no keys and values of slots
            self._upcoming.forget_slots()
        return self._recorded

    @property
    def kept_pairs(self) -> Sequence[Pair]:
        """Encoded pairs that are still needed; other watches of the stream may keep the same ones."""
        return self._pairs

    def memory_limit(self, tokens: int) -> int:
        """Bytes just before a shift: those of a full prompt, and of the part that will remain."""
        prefix, seconds = self._active, self._context.seconds
        return prefix.bytes_for(tokens, seconds) + prefix.bytes_for(tokens, seconds, self._kept)

    def shift(self) -> None:
        """Swap the caches; what the new active one still lacks is appended with the next pair."""
        self._active, self._upcoming = self._upcoming, self._active
        self._upcoming.restart(self._context.next_start)

    def advance(self, pair: FramePair | None) -> list[TokenBlock]:
        """See `PromptPasses`: both caches take the pair."""
        provisional = None
        if pair is not None:
            if pair.provisional:
                provisional = _encoded(pair)
            else:
                self._pairs.append(_encoded(pair))
        origin = self._context.time(self._context.start)
        missing = self._pairs_from(self._active.next_frame)
        blocks = [self._active.append(missing, origin)] if missing else []
        if provisional is not None:
            blocks.append(self._active.append([provisional], origin, keep=False))
        return [*blocks, *self._catch_up()]

    def settle(self) -> None:
        """Drop pairs that no cache needs any more."""
        needed = min(self._upcoming.next_frame, self._context.next_start + self._context.drop_frames)
        while self._pairs and self._first_pair < needed:
            self._pairs.popleft()
            self._first_pair += 2

    def fill(self) -> list[TokenBlock]:
        """Return no blocks: nothing is deferred until a decision."""
        return []

    def ask(self, request: SlotPass) -> TokenBlock | None:
        """See `PromptPasses`: a recorded pass runs all slots, an ordinary one only those that differ."""
        return self._active.ask(request, whole=self.recordings is not None)

    def answer(self, values: Probabilities | None) -> Probabilities:
        """See `PromptPasses`."""
        return self._active.answer(values)

    def _catch_up(self) -> list[TokenBlock]:
        """Append to the upcoming prompt an even share of what it will need by the next shift."""
        context, prefix = self._context, self._upcoming
        needed = (context.start + context.max_frames - prefix.next_frame) // 2
        share = -(-needed // (context.frames_to_shift + 1))
        pairs = self._pairs_from(prefix.next_frame)[: max(0, share)]
        return [prefix.append(pairs, context.time(context.next_start))] if pairs else []

    def _pairs_from(self, frame: int) -> list[Pair]:
        return list(self._pairs)[(frame - self._first_pair) // 2 :]


def _encoded(pair: FramePair) -> Pair:
    assert pair.features is not None, "a cached prompt takes encoded pairs"
    return Pair(*pair.times, pair.features)
