"""What a stage takes in memory, in the same parts for each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageMemory:
    """Bytes of one stage at its peak.

    weights: of the model; state: the most it keeps between decisions or tokens; working: intermediate
    results of the largest step, an estimate.
    """

    weights: int
    state: int
    working: int

    @property
    def total(self) -> int:
        return self.weights + self.state + self.working


def working_bytes(tokens: int, hidden: int, intermediate: int, item: int) -> int:
    """Bytes between two layers of a transformer that runs that many tokens of `item` bytes a number at once.

    The gated MLP holds two intermediate results beside its input, attention four of the hidden size.
    """
    return tokens * (2 * intermediate + 4 * hidden) * item
