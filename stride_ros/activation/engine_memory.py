"""How much memory an engine's streams and watches take, how much they can take, and what its limit admits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stride_ros.activation.context import Context
from stride_ros.activation.passes import FramePair
from stride_ros.activation.prefix import Pair
from stride_ros.errors import CapacityError
from stride_ros.qwen3_vl.paged_cache import PagePool
from stride_ros.qwen3_vl.patches import CELL, model_size

if TYPE_CHECKING:
    from stride_ros.activation.engine import ActivationEngine
    from stride_ros.activation.stream import Stream


class EngineMemory:
    """The memory of one engine's state, without the model's weights. `limit`: bytes, None for no limit."""

    def __init__(self, engine: ActivationEngine, limit: int | None) -> None:
        self._engine, self._limit = engine, limit

    @property
    def bytes(self) -> int:
        """Bytes of the state: keys and values of all watches, free pages of their pools, and stored pairs."""
        sizes: dict[int, int] = {}  # several watches share pairs
        total = 0
        pools: dict[PagePool, None] = {}
        for stream in self._engine.streams:
            pairs: list[Pair | FramePair] = list(stream.kept_pairs)
            for watch in stream.watches:
                total += watch.passes.memory_bytes
                if watch.passes.pages is not None:
                    pools[watch.passes.pages] = None
                pairs += [pair for _, pair in watch.backlog if pair is not None]
                pairs += watch.passes.kept_pairs
            for pair in pairs:
                if pair.features is not None:
                    sizes[id(pair.features)] = pair.features.memory_bytes
                if isinstance(pair, FramePair):
                    sizes |= {id(image): image.nbytes for image in pair.images}
        return total + sum(sizes.values()) + sum(pool.free_bytes for pool in pools)

    def most(self, size: tuple[int, int] | None, queries: Sequence[str], seconds: float | None = None) -> int:
        """See `ActivationEngine.memory_for`."""
        engine, config = self._engine, self._engine.config
        tokens = self._tokens(size)
        pair = engine.model.feature_bytes(tokens)
        if not queries:  # no watch needs features, so pixels are kept
            pair = max(pair, 2 * tokens * CELL * CELL * 3)
        empty = Context(config.max_frames, config.dropped_per_shift, seconds)
        prompts = (engine.prompts(engine.model, query, config, empty) for query in queries)
        return config.max_frames // 2 * pair + sum(prompt.memory_limit(tokens) for prompt in prompts)

    def admit(self, wanted: Mapping[Stream, Sequence[str]]) -> None:
        """Raise CapacityError unless these streams, with watches for these queries, fit beside the others."""
        if self._limit is None:
            return
        others = {s: s.queries for s in self._engine.streams if s not in wanted}
        needed, taken = (
            sum(self.most(stream.size, queries, stream.seconds) for stream, queries in streams.items())
            for streams in (wanted, others)
        )
        free = self._limit - taken
        if needed > free:
            raise CapacityError([stream.name for stream in wanted], needed, max(0, free))

    def admit_frame(self, stream: Stream, size: tuple[int, int], time: float) -> None:
        """Check that a frame fits that is larger than the stream was opened for, or much later.

        size: px of the model; time: s. Raises CapacityError, and changes nothing then.
        """
        if self._limit is None:
            return
        covered, before = stream.covered(time), (stream.size, stream.seconds)
        larger = size[0] // CELL * (size[1] // CELL) > self._tokens(stream.size)
        if not larger and covered <= stream.seconds:
            return
        if larger:
            stream.size = size
        while covered > stream.seconds:  # with one more digit
            stream.seconds *= 10
        try:
            self.admit({stream: stream.queries})
        except CapacityError:
            stream.size, stream.seconds = before
            raise

    def _tokens(self, size: tuple[int, int] | None) -> int:
        """Video tokens of a frame pair of this camera size (px)."""
        most = self._engine.frame_max_tokens
        if size is None:
            return most
        height, width = model_size(*size, most)
        return height // CELL * (width // CELL)
