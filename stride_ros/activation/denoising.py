"""Masked diffusion over the slots of one decision: retention, schedule, and what a step unmasks.

`denoise` is a generator that asks for passes and is sent their result, so that one loop can run it for one
query, run many queries in step, or run it against another way to compute the same pass.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.window import ACTIVE, INACTIVE, MASKED, History, Labels, SlotWindow

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class SlotPass:
    """A request for P(active) of the masked slots, or of all seen ones, given these labels.

    labels: (W,) 0 inactive, 1 active, 2 masked; needed: slots from this index on need no answer.
    """

    labels: Labels
    needed: int


@dataclass(frozen=True)
class Denoised:
    """Outcome of one diffusion. labels (W,) 0 or 1; probabilities (W,) P(active) from the pass that decided
    each slot, 0 where no pass did; passes: how many were run."""

    labels: Labels
    probabilities: Probabilities
    passes: int


def denoise(
    window: SlotWindow,
    completed_until: float,
    history: History | None,
    config: ActivationConfig,
    rng: np.random.Generator,
) -> Generator[SlotPass, Probabilities, Denoised]:
    """Denoise one window as in STRIDE (arXiv 2603.27593, the sections on inference).

    completed_until: end of the last completed span (s), -inf if none. history: the previous decision, None to
    denoise everything afresh. Yields passes, wants P(active) (W,) for each, returns the outcome.
    """
    labels = window.initial_labels(completed_until)
    decided = np.zeros(len(labels), dtype=np.float32)
    passes = 0
    undecided = bool((labels == MASKED).any())
    if undecided and history is not None and config.confidence_threshold is not None:
        baseline = yield SlotPass(labels.copy(), len(labels))
        passes += 1
        retain(labels, decided, baseline, history.consensus(window), config.confidence_threshold)
    masked = (labels == MASKED).nonzero()[0]
    for budget in schedule(window.seen_count, config.unmasking_steps):
        if len(masked) == 0:
            break
        if budget == 0:
            continue
        probabilities = yield SlotPass(labels.copy(), int(masked[-1]) + 1)
        passes += 1
        chosen = select(probabilities[masked], min(budget, len(masked)), config.selection, rng)
        slots = masked[chosen]
        labels[slots] = np.where(probabilities[slots] > 0.5, ACTIVE, INACTIVE)
        decided[slots] = probabilities[slots]
        masked = (labels == MASKED).nonzero()[0]
    return Denoised(labels, decided, passes)


def retain(
    labels: Labels, decided: Probabilities, baseline: Probabilities, agreed: Labels, threshold: float
) -> None:
    """Give slots back their agreed label of the previous decision where the baseline pass is near it.

    Changes `labels` and `decided` in place.
    """
    distance = np.abs(baseline - agreed.astype(np.float32))
    kept = (agreed != MASKED) & (distance < 1 - threshold)
    labels[kept] = agreed[kept]
    decided[kept] = baseline[kept]


def schedule(slots: int, steps: int) -> list[int]:
    """How many slots each step unmasks: `slots` split evenly, the remainder to the first steps."""
    base, remainder = divmod(slots, steps)
    return [base + (step < remainder) for step in range(steps)]


def select(
    probabilities: Probabilities, count: int, selection: str, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Indices of the `count` slots to unmask among the masked ones, whose P(active) is given.

    `topk`: the most confident, ties to the earlier slot. `pool`: drawn evenly from twice as many of the most
    confident.
    """
    confidence = np.maximum(probabilities, 1 - probabilities)
    order = np.argsort(-confidence, kind="stable")
    if selection == "topk":
        return order[:count]
    return rng.choice(order[: 2 * count], count, replace=False)
