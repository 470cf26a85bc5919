"""What the engine asks of the prompt of one watch, whichever way its passes are run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.context import Context
from stride_ros.activation.denoising import Probabilities, SlotPass
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.prefix import Pair
from stride_ros.qwen3_vl.decoder import TokenBlock
from stride_ros.qwen3_vl.vision import PairFeatures


@dataclass(eq=False)
class FramePair:
    """Two prepared frames (H, W, 3) uint8 of one size, their times (s); a provisional one repeats one.

    features: the encoded pair, None where no prompt of the stream needs it, or none yet.
    """

    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    times: tuple[float, float]
    provisional: bool = False
    features: PairFeatures | None = None

    def encode_as(self, features: PairFeatures) -> None:
        """Its features, for all that keep this pair; its pixels are needed no more."""
        nothing = np.empty((0, 0, 3), np.uint8)
        self.images, self.features = (nothing, nothing), features


class PromptPasses(Protocol):
    """The prompt of one watch: takes in its frame pairs, and runs passes over the slots behind it.

    encoded: whether pairs must come with their features. timings: seconds that it spent by itself on `vision`
    and `append`, outside of the batches of the engine, since it was last cleared.
    """

    encoded: bool
    timings: dict[str, float]

    @property
    def recorded(self) -> bool:
        """Whether `replay` runs passes, for which blocks of `advance` must have been run."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of the state but for the encoded pairs."""

    @property
    def kept_pairs(self) -> Sequence[Pair | FramePair]:
        """Pairs that are still needed; other watches of the stream may keep the same ones."""

    def memory_limit(self, tokens: int) -> int:
        """Bytes of the state for a full context of frame pairs of that many tokens each."""

    def shift(self) -> None:
        """The context has just lost its oldest frames."""

    def advance(self, pair: FramePair | None) -> list[TokenBlock]:
        """Take in the next pair, or a provisional one that the next replaces; called at every frame.

        Returns the blocks that the engine has to run, in order.
        """

    def settle(self) -> None:
        """The blocks of `advance` were run, or will be with the next pass where none are recorded."""

    @property
    def waiting(self) -> Sequence[FramePair]:
        """Pairs that `fill` appends and that must be encoded before."""

    def fill(self) -> list[TokenBlock]:
        """Before a decision: the blocks that the engine has to run, in order, of what was left until now."""

    def ask(self, request: SlotPass) -> TokenBlock | None:
        """The block of a pass over the slots; None when what has been run answers it."""

    def replay(self, block: TokenBlock) -> Probabilities | None:
        """P(active) of the block from a recorded pass; None when it is to be run in the engine's batch."""

    def answer(self, values: Probabilities | None) -> Probabilities:
        """P(active) (W,) from the values of the block of `ask`; stale beyond the needed slots."""


# From the model, a query, the configuration and the watch's context, which is still empty.
PromptFactory = Callable[[ActivationModel, str, ActivationConfig, Context], PromptPasses]
