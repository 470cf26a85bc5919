"""How watches that look back take in what is in context: in portions, so that no push takes much longer.

A late watch fills one cache only, and joins the others when the stream has just shifted, as the upcoming
cache of everybody is empty then. So it begins where the context will begin at the first shift by which it can
be done; only where a shift is far away it begins with the context as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.passes import FramePair
from stride_ros.activation.stream import Stream, without_images
from stride_ros.activation.watch import Watch
from stride_ros.qwen3_vl.decoder import TokenBlock
from stride_ros.qwen3_vl.patches import CELL

_MOST = 2.0  # tokens of a push, by those that watches that are ready usually need
_TOKENS = 2048  # of late watches a push, where no other watch was there to be measured by
_SMOOTHING = 0.1  # of the mean of tokens a push
_CARRIED = 0.3  # of that mean: what a push may take over that an earlier one has left
_PATIENCE = 4  # pushes without a step, since one is larger than what is left
_SAFETY = 1.25  # of the pushes that it will take
_PAIR_TEXT = 12  # tokens of a pair beside the video: its time, and what encloses it


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
        self._left = 0.0  # tokens that may still be run in this push
        self._refused = 0  # pushes in a row that had something to do and did nothing

    def serve(self, streams: Iterable[Stream], config: ActivationConfig, ran: int) -> None:
        """Let the late watches of these streams take in a bounded share of what is in context.

        ran: tokens that were run in this push for watches that are ready.
        """
        if ran:
            self._typical += (_SMOOTHING if self._typical else 1.0) * (ran - self._typical)
        late = [(stream, watch) for stream in streams for watch in stream.watches if watch.catching_up]
        if not late:
            return
        carried = min(max(0.0, self._left), _CARRIED * self._typical)
        self._left = _MOST * self._typical - ran + carried if self._typical else float(_TOKENS)
        joined = waits = served = False
        for place, (stream, watch) in enumerate(late):
            if not self._on_time(stream, watch):
                watch.look_back(self._aim(stream, place), config)
            while (pair := stream.kept_pair(watch.next_frame)) is not None:
                if not self._may_run(pair):
                    waits = True
                    break
                self._left -= self._feed(watch, pair)
                served = True
            # One a push, as its first decision takes several passes; each in its turn.
            if pair is None and not joined and watch.start == stream.first_frame:
                joined = stream.half is None or self._may_run(stream.provisional())
                if joined:
                    watch.join()
                    self._left -= self._join(stream, watch, config)
        self._refused = self._refused + 1 if waits and not served else 0

    def _on_time(self, stream: Stream, watch: Watch) -> bool:
        """Whether a watch can still join where it is going to begin."""
        if not watch.frames or watch.start < stream.first_frame:
            return False
        early_enough = stream.frames_to_shift >= 0.75 * stream.drop_frames - 2
        return watch.start > stream.first_frame or early_enough

    def _aim(self, stream: Stream, before: int) -> int:
        """The frame at which a late watch best begins, with so many others before it."""
        kept, drop, left = len(stream.kept_pairs), stream.drop_frames, stream.frames_to_shift
        newest = stream.kept_pair(stream.first_frame)
        share = (_MOST - 1) * self._typical or float(_TOKENS)
        rate = share / _tokens(newest) - 0.5 * (before + 1) if newest is not None else 0.0
        rate = max(rate, 0.01) / _SAFETY  # pairs a push, with those that come meanwhile taken off

        if left - kept / rate >= 0.75 * drop:
            return stream.first_frame
        shifts = 1
        while max(0, kept - shifts * drop // 2) / rate > left + (shifts - 1) * drop:
            shifts += 1
        return stream.first_frame + shifts * drop

    def _may_run(self, pair: FramePair) -> bool:
        return self._left >= _tokens(pair) or self._refused >= _PATIENCE

    def _feed(self, watch: Watch, pair: FramePair) -> int:
        """Give a late watch its next pair; the tokens that were run for it."""
        if pair.features is None and watch.passes.encoded:
            pair = without_images(self._encode([pair])[0])
        tokens = 0
        for time, completed in zip(pair.times, (None, pair), strict=True):
            watch.add(time)
            tokens += self._run(watch.take(completed), [watch])
        self._refused = 0
        return tokens

    def _join(self, stream: Stream, watch: Watch, config: ActivationConfig) -> int:
        """A late watch has all pairs: on with the others, with the frame that waits for its partner."""
        if stream.half is None:
            return 0
        watch.add(stream.half[1])
        pair = None
        if config.odd_frame == "repeat" and watch.is_due(stream.usable(watch), config):
            pair = stream.provisional()
            if watch.passes.encoded:
                pair = self._encode([pair])[0]
        return self._run(watch.take(pair), [watch])


def _tokens(pair: FramePair) -> int:
    """Tokens of a pair in a prompt, about."""
    if pair.features is not None:
        return pair.features.rows * pair.features.columns + _PAIR_TEXT
    height, width, _ = pair.images[0].shape
    return int(height // CELL * (width // CELL)) + _PAIR_TEXT
