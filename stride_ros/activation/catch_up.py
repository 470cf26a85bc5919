"""How watches that look back take in what is in context: in portions, so that no frame waits for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.passes import FramePair
from stride_ros.activation.stream import Stream, without_images
from stride_ros.activation.watch import Watch
from stride_ros.qwen3_vl.decoder import TokenBlock

_SHARE = 1.25  # tokens of late watches a push, by those that the others usually need
_TOKENS = 2048  # the same where no other watch is there to be measured by
_SMOOTHING = 0.1  # of the mean of tokens a push


class CatchUp:
    """Serves late watches, the one that came first first: all at once would all be late for longer.

    run: runs blocks for watches; encode: gives pairs their features.
    """

    def __init__(
        self,
        run: Callable[[Sequence[TokenBlock], Iterable[Watch]], None],
        encode: Callable[[Sequence[FramePair]], list[FramePair]],
    ) -> None:
        self._run, self._encode = run, encode
        self._typical = 0.0  # tokens run in a push for watches that are ready, passes included

    def pushed(self, tokens: int) -> None:
        """A push is over, in which so many tokens were run for watches that are ready."""
        self._typical += (_SMOOTHING if self._typical else 1.0) * (tokens - self._typical)

    def serve(self, streams: Collection[Stream], config: ActivationConfig) -> None:
        """Run a share of a push. One watch at most gets ready, since its first decision takes most passes."""
        measured = self._typical and any(watch.ready for stream in streams for watch in stream.watches)
        left = _SHARE * self._typical if measured else _TOKENS
        for stream, watch in _late(streams):
            while left > 0:
                left -= self._step(stream, watch, config)
                if not watch.catching_up:
                    return

    def step(self, streams: Iterable[Stream], config: ActivationConfig) -> bool:
        """Run one pair for the first late watch; whether there still are late ones."""
        for stream, watch in _late(streams):
            self._step(stream, watch, config)
            break
        return bool(_late(streams))

    def _step(self, stream: Stream, watch: Watch, config: ActivationConfig) -> int:
        """Give a late watch its next pair, or let it join the others; the tokens that were run for it."""
        tokens = 0
        if watch.backlog:
            pair = watch.backlog.popleft()
            if pair.features is None and watch.passes.encoded:
                pair = without_images(self._encode([pair])[0])
            for time, completed in zip(pair.times, (None, pair), strict=True):
                watch.add(time)
                tokens += self._take(watch, completed)
        if not watch.backlog:
            watch.catching_up = False
            tokens += self._join(stream, watch, config)
        return tokens

    def _join(self, stream: Stream, watch: Watch, config: ActivationConfig) -> int:
        """A watch has all pairs: on with the others, with the frame that waits for its partner."""
        if stream.half is None:
            return 0
        watch.add(stream.half[1])
        pair = None
        if config.odd_frame == "repeat" and watch.is_due(stream.usable(watch), config):
            pair = stream.provisional()
            if watch.passes.encoded:
                pair = self._encode([pair])[0]
        return self._take(watch, pair)

    def _take(self, watch: Watch, pair: FramePair | None) -> int:
        blocks = watch.take(pair)
        self._run(blocks, [watch])
        return sum(len(block.ids) for block in blocks)


def _late(streams: Iterable[Stream]) -> list[tuple[Stream, Watch]]:
    return [
        (stream, watch)
        for stream in streams
        for watch in stream.watches
        if watch.catching_up and not watch.finished
    ]
