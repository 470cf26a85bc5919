"""The interface between the engine and the prompt of one watch, however its passes are run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import Probabilities, SlotPass
from stride_ros.activation.graphs import RecordedPasses
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.prefix import Pair
from stride_ros.qwen3_vl.decoder import TokenBlock
from stride_ros.qwen3_vl.paged_cache import PagePool
from stride_ros.qwen3_vl.vision import PairFeatures


@dataclass(eq=False)
class FramePair:
    """Two prepared frames (H, W, 3) uint8 of one size, and their times (s); a provisional pair repeats one.

    features: the encoded pair, None while no prompt of the stream needs it.
    """

    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    times: tuple[float, float]
    provisional: bool = False
    features: PairFeatures | None = None

    def encode_as(self, features: PairFeatures) -> None:
        """Set the features for all holders of this pair, and drop its pixels, which are no longer needed."""
        nothing = np.empty((0, 0, 3), np.uint8)
        self.images, self.features = (nothing, nothing), features


class PromptPasses(Protocol):
    """The prompt of one watch: takes in its frame pairs, and runs passes over the slots behind it.

    encoded: whether pairs must come with their features. timings: seconds that it spent on `vision` and
    `append` outside the engine's batches, since it was last cleared.
    """

    encoded: bool
    timings: dict[str, float]

    @property
    def recordings(self) -> RecordedPasses | None:
        """The recordings that run its passes, or None where the engine runs them in its batch.

        They run after the blocks of `advance`, and take what `ask` returns, which is then a block of all
        slots.
        """

    @property
    def pages(self) -> PagePool | None:
        """The pool of pages that it shares with others, if its keys and values are paged."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of the state without the encoded pairs."""

    @property
    def kept_pairs(self) -> Sequence[Pair | FramePair]:
        """Pairs that are still needed; other watches of the stream may keep the same pairs."""

    def memory_limit(self, tokens: int) -> int:
        """Bytes of the state for a full context of frame pairs with that many tokens each."""

    def shift(self) -> None:
        """Handle a shift: the context has just lost its oldest frames."""

    def advance(self, pair: FramePair | None) -> list[TokenBlock]:
        """Take in the next pair, or a provisional one that the next pair replaces; called for every frame.

        Returns the blocks that the engine has to run, in order.
        """

    def settle(self) -> None:
        """Note that the blocks of `advance` were run, or will run with the next pass if none are recorded."""

    @property
    def waiting(self) -> Sequence[FramePair]:
        """Pairs that `fill` appends and that must be encoded before it."""

    def fill(self) -> list[TokenBlock]:
        """The blocks of deferred work that the engine has to run, in order, before a decision."""

    def ask(self, request: SlotPass) -> TokenBlock | None:
        """The block of a pass over the slots; None when it is answered by what has already run."""

    def answer(self, values: Probabilities | None) -> Probabilities:
        """P(active) (W,) from the values of the block of `ask`; stale beyond the needed slots.

        Values of several passes are returned unchanged.
        """


# Called with the model, a query, the configuration and the watch's context, which is still empty.
PromptFactory = Callable[[ActivationModel, str, ActivationConfig, Context], PromptPasses]
