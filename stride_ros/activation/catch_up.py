"""How watches that look back take in what is in context: in portions, so that no push takes much longer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.passes import FramePair
from stride_ros.activation.stream import Stream, without_images
from stride_ros.activation.watch import Watch
from stride_ros.qwen3_vl.decoder import TokenBlock

_SHARE = 1.2  # tokens of late watches a push, by those that the others need
_TOKENS = 2048  # a push, where no other watch was there to be measured by
_SMOOTHING = 0.1  # of the mean of tokens a push


class CatchUp:
    """Serves late watches one after the other, the first that came first: all at once might never be done.

    run: runs blocks for a watch, and says how many tokens they had; encode: gives pairs their features.
    """

    def __init__(
        self,
        run: Callable[[Sequence[TokenBlock], Iterable[Watch]], int],
        encode: Callable[[Sequence[FramePair]], list[FramePair]],
    ) -> None:
        self._run, self._encode = run, encode
        self._typical = 0.0  # tokens run in a push for watches that are ready
        self._step = 0.0  # tokens of a step of a late watch, as the last ones were

    def note(self, tokens: int) -> None:
        """So many tokens were run in a push for watches that are ready."""
        if tokens:
            self._typical += (_SMOOTHING if self._typical else 1.0) * (tokens - self._typical)

    def serve(self, streams: Iterable[Stream], config: ActivationConfig) -> None:
        """Let the late watches of these streams take in a bounded share of what is in context."""
        late = [(stream, watch) for stream in streams for watch in stream.watches if watch.catching_up]
        left = budget = _SHARE * self._typical or _TOKENS
        for stream, watch in late:
            if watch.next_frame < stream.first_frame:  # nothing that it has is in context any more
                watch.look_back(stream.first_frame, stream.kept_pairs, config)
            while watch.backlog:
                if left < min(self._step, budget):
                    return
                left -= self._noted(self._feed(watch))
            if stream.half is not None and left < min(self._step, budget):
                return  # with the pair that the next frame completes
            watch.catching_up = False
            if stream.half is not None:
                left -= self._noted(self._join(stream, watch, config))

    def _noted(self, tokens: int) -> int:
        self._step = max(tokens, 0.5 * (self._step + tokens))
        return tokens

    def _feed(self, watch: Watch) -> int:
        """Give a late watch the next frame; the tokens that were run for it."""
        pair = watch.backlog[0]
        if watch.frames % 2 == 0:
            watch.add(pair.times[0])
            return self._run(watch.take(None), [watch])
        watch.backlog.popleft()
        if pair.features is None and watch.passes.encoded:
            pair = without_images(self._encode([pair])[0])
        watch.add(pair.times[1])
        return self._run(watch.take(pair), [watch])

    def _join(self, stream: Stream, watch: Watch, config: ActivationConfig) -> int:
        """A late watch has all pairs: on with the others, with the frame that waits for its partner."""
        assert stream.half is not None
        watch.add(stream.half[1])
        pair = None
        if config.odd_frame == "repeat" and watch.is_due(stream.usable(watch), config):
            pair = stream.provisional()
            if watch.passes.encoded:
                pair = self._encode([pair])[0]
        return self._run(watch.take(pair), [watch])
