"""The prompt of one watch on a whole recording: a pair is encoded and appended when a decision needs it.

A live stream spreads the work that prepares the next window (`CachedPrompt`), so that no tick is late. With a
recording nothing has to be on time, and that preparation may be for a window that is never decided on. So
there is one cache; after a shift it starts over, and the next decision appends what is in context then. This
never takes more work than two caches do: a window that is decided on costs the same pairs, and any other
costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import Probabilities, SlotPass
from stride_ros.activation.graphs import RecordedPasses
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.passes import FramePair, PromptFactory
from stride_ros.activation.prefix import Pair, Prefix
from stride_ros.qwen3_vl.decoder import TokenBlock
from stride_ros.qwen3_vl.patches import CELL

_TOKENS_AT_ONCE = 1024  # tokens of a block; on a CPU larger ones are not faster, and take more memory


def prompts_for(model: ActivationModel, config: ActivationConfig) -> PromptFactory:
    """Choose how to run whole recordings.

    Work is deferred, unless there is a decision for each frame and its passes are replayed from recordings,
    which a deferred prompt does not do.
    """
    recorded = model.recorder is not None and config.cuda_graphs
    return CachedPrompt if recorded and config.decide_every == 1 else DeferredPrompt


class DeferredPrompt:
    """Keeps the frame pairs in context until a decision. See `PromptPasses`; passes are not recorded."""

    encoded = False
    recordings: RecordedPasses | None = None

    def __init__(
        self, model: ActivationModel, query: str, config: ActivationConfig, context: Context
    ) -> None:
        self._context, self._most = context, (config.max_frames + 1) // 2
        self._prefix = Prefix(model, query, config.position_scheme, self._most)
        self._pairs: deque[FramePair] = deque()
        self._first_pair = 0  # index of the first frame in self._pairs
        self._provisional: FramePair | None = None
        self.timings: dict[str, float] = {}
        self.pages = model.pages if model.paged else None

    @property
    def memory_bytes(self) -> int:
        """Bytes of keys and values."""
        return self._prefix.memory_bytes

    @property
    def kept_pairs(self) -> Sequence[FramePair]:
        """Pairs in context that are still needed; other watches of the stream may keep the same pairs."""
        return self._pairs

    def memory_limit(self, tokens: int) -> int:
        """Bytes of a full prompt, and of the pixels of pairs that are not yet encoded."""
        pixels = self._most * 2 * tokens * CELL * CELL * 3
        return self._prefix.bytes_for(tokens, self._context.seconds) + pixels

    def shift(self) -> None:
        """Start over, since every time and position in the prompt changes."""
        self._prefix.restart(self._context.start)
        self._forget(self._context.start)

    def advance(self, pair: FramePair | None) -> list[TokenBlock]:
        """Take in a pair; it is not processed until a decision needs it."""
        self._provisional = pair if pair is not None and pair.provisional else None
        if pair is not None and not pair.provisional:
            self._pairs.append(pair)
        return []

    def settle(self) -> None:
        """Do nothing, since nothing was run."""

    @property
    def waiting(self) -> list[FramePair]:
        """See `PromptPasses`."""
        return [pair for pair in self._missing() if pair.features is None]

    def fill(self) -> list[TokenBlock]:
        """See `PromptPasses`: blocks of a bounded size."""
        origin = self._context.time(self._context.start)
        blocks: list[TokenBlock] = []
        some: list[Pair] = []
        tokens = 0
        for pair in self._missing():
            assert pair.features is not None, "waiting pairs are encoded before they are appended"
            size = pair.features.rows * pair.features.columns
            if some and (tokens + size > _TOKENS_AT_ONCE or pair.provisional):
                blocks.append(self._prefix.append(some, origin))
                some, tokens = [], 0
            some.append(Pair(*pair.times, pair.features))
            tokens += size
        if some:
            blocks.append(self._prefix.append(some, origin, keep=self._provisional is None))
        self._provisional = None
        self._forget(min(self._context.next_start, self._prefix.next_frame))
        return blocks

    def ask(self, request: SlotPass) -> TokenBlock | None:
        """See `PromptPasses`."""
        return self._prefix.ask(request)

    def answer(self, values: Probabilities | None) -> Probabilities:
        """See `PromptPasses`."""
        return self._prefix.answer(values)

    def _missing(self) -> list[FramePair]:
        """The pairs that are not yet appended."""
        first = (self._prefix.next_frame - self._first_pair) // 2
        pairs = list(self._pairs)[first:]
        return pairs if self._provisional is None else [*pairs, self._provisional]

    def _forget(self, frame: int) -> None:
        """Drop the pairs before this frame."""
        while self._pairs and self._first_pair < frame:
            self._pairs.popleft()
            self._first_pair += 2
