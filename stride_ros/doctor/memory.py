"""The parts of the memory that a stage takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageMemory:
    """Bytes of one stage at its peak.

    weights: those of the model; state: the maximum kept between decisions or tokens; working: intermediate
    results of the largest step, an estimate.
    """

    weights: int
    state: int
    working: int

    @property
    def total(self) -> int:
        return self.weights + self.state + self.working


def working_bytes(tokens: int, hidden: int, intermediate: int, item: int) -> int:
    """Bytes between two layers of a transformer that runs `tokens` at once, with `item` bytes per number.

    The gated MLP holds two intermediate results besides its input; attention holds four of the hidden size.
    """
    return tokens * (2 * intermediate + 4 * hidden) * item
