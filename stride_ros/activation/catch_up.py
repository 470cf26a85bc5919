"""How watches that look back take in the context: in portions, so that no frame waits for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.passes import FramePair
from stride_ros.activation.stream import Stream, without_images
from stride_ros.activation.watch import Watch
from stride_ros.qwen3_vl.decoder import TokenBlock

_MOST = 2.25  # tokens per push, as a multiple of the mean that the ready watches need
_CARRIED = 0.25  # multiple of that mean: how much a push may use of what the previous one left
_TOKENS = 2048  # tokens per push for late watches, where there is no other watch to measure by
_SMOOTHING = 0.1  # smoothing factor of that mean
_PATIENCE = 4  # pushes with too little to spare before a late watch advances anyway


class CatchUp:
    """Serves late watches first come, first served: serving all at once would keep them all late for longer.

    run: runs blocks for watches; encode: computes the features of pairs.
    """

    def __init__(
        self,
        run: Callable[[Sequence[TokenBlock], Iterable[Watch]], None],
        encode: Callable[[Sequence[FramePair]], list[FramePair]],
    ) -> None:
        self._run, self._encode = run, encode
        self._typical = 0.0  # tokens run in a push for ready watches, passes included
        self._left = 0.0  # tokens that this push may still run
        self._step_tokens = 0  # tokens run in the newest step
        self._waited = 0  # pushes since then

    def serve(self, streams: Collection[Stream], config: ActivationConfig, ran: int) -> None:
        """Use what is left of a push in which `ran` tokens were run for ready watches."""
        if any(watch.ready for stream in streams for watch in stream.watches):
            if ran:  # with odd_frame `wait`, every other push runs little or nothing
                self._typical += (_SMOOTHING if self._typical else 1.0) * (ran - self._typical)
            carried = min(max(self._left, 0.0), _CARRIED * self._typical)
            self._left = _MOST * self._typical - ran + carried
        else:
            self._left = _TOKENS
        self._waited += 1
        while self._left >= self._step_tokens or self._waited > _PATIENCE:
            if not self.step(streams, config):
                return
            self._left -= self._step_tokens

    def step(self, streams: Iterable[Stream], config: ActivationConfig) -> bool:
        """Give the first late watch its next frame; False if no watch is late."""
        late = ((stream, watch) for stream in streams for watch in stream.watches if watch.backlog)
        stream, watch = next(late, (None, None))
        if stream is None or watch is None:
            return False
        if len(watch.backlog) > 2 * len(stream.kept_pairs):  # some of it has left the context in the meantime
            watch.look_back(stream.kept_pairs, config)
        self._step_tokens = self._waited = 0
        self._take_next(watch)
        return True

    def join(self, stream: Stream) -> None:
        """Let watches that have all pairs join the others, before the stream's next frame."""
        for watch in stream.watches:
            # The newest pair alone costs no more than the others have just run, and the next one comes soon.
            if watch.catching_up and len(watch.backlog) <= 2:
                while watch.backlog:
                    self._take_next(watch)
                watch.catching_up = False
                if stream.half is not None:
                    self._add(watch, stream.half[1], None)

    def _take_next(self, watch: Watch) -> None:
        time, pair = watch.backlog.popleft()
        if pair is not None and pair.features is None and watch.passes.encoded:
            pair = without_images(self._encode([pair])[0])
        self._add(watch, time, pair)

    def _add(self, watch: Watch, time: float, pair: FramePair | None) -> None:
        watch.add(time)
        blocks = watch.take(pair)
        self._run(blocks, [watch])
        self._step_tokens += sum(len(block.ids) for block in blocks)
