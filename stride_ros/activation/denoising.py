"""Masked diffusion over the slots of one decision: retention, schedule, and what a step unmasks.

`denoise` is a generator that yields requests for passes and is sent their results, so that one loop can run
it for one query, run many queries in step, or compare it with another way to compute the same pass.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.window import ACTIVE, INACTIVE, MASKED, History, Labels, SlotWindow

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class SlotPass:
    """A request for P(active) of the masked slots, or of all seen slots, given these labels.

    labels: (W,) 0 inactive, 1 active, 2 masked; needed: slots from this index on need no answer. budgets:
    with budgets, a request for as many passes; each unmasks that many slots as `reveal` does, and the next
    one continues from there.
    """

    labels: Labels
    needed: int
    budgets: tuple[int, ...] = ()


# P(active) (W,); (passes, W) for a request with budgets, or None where its passes must be requested one by
# one.
Answer = Probabilities | None


@dataclass(frozen=True)
class Denoised:
    """Outcome of one diffusion.

    labels: (W,) 0 or 1; probabilities: (W,) P(active) from the pass that decided each slot, 0 where none did;
    passes: how many were run.
    """

    labels: Labels
    probabilities: Probabilities
    passes: int


def denoise(
    window: SlotWindow,
    completed_until: float,
    history: History | None,
    config: ActivationConfig,
    rng: np.random.Generator,
    at_once: bool = False,
) -> Generator[SlotPass, Answer, Denoised]:
    """Denoise one window as in STRIDE (arXiv 2603.27593, the sections on inference).

    completed_until: end of the last completed span (s), -inf if none. history: the previous decision, None to
    denoise everything afresh. at_once: request all steps at once, where what they unmask follows from
    P(active) alone. Yields passes, expects P(active) (W,) for each, returns the outcome.
    """
    labels = window.initial_labels(completed_until)
    decided = np.zeros(len(labels), dtype=np.float32)
    passes = 0
    known: list[Probabilities] = []  # answers for the next steps
    at_once = at_once and config.selection == "topk"
    masked = int((labels == MASKED).sum())
    if masked and history is not None and config.confidence_threshold is not None:
        baseline = yield SlotPass(labels.copy(), len(labels))
        assert baseline is not None
        passes += 1
        retain(labels, decided, baseline, history.consensus(window), config.confidence_threshold)
        left = int((labels == MASKED).sum())
        if at_once and left == masked:  # it is also the first step
            known.append(baseline)
        masked = left
    budgets = _budgets(schedule(window.seen_count, config.unmasking_steps), masked)
    for step, budget in enumerate(budgets):
        if at_once and not known:
            answers = yield SlotPass(labels.copy(), len(labels), budgets[step:])
            known, at_once = ([], False) if answers is None else (list(answers), True)
        if known:
            probabilities = known.pop(0)
        else:
            answer = yield SlotPass(labels.copy(), int((labels == MASKED).nonzero()[0][-1]) + 1)
            assert answer is not None
            probabilities = answer
        passes += 1
        reveal(labels, decided, probabilities, budget, config.selection, rng)
    return Denoised(labels, decided, passes)


def _budgets(schedule: Sequence[int], masked: int) -> tuple[int, ...]:
    """How many slots each pass unmasks, leaving out steps with nothing to do."""
    budgets = []
    for budget in schedule:
        if budget and masked:
            budgets.append(min(budget, masked))
            masked -= budgets[-1]
    return tuple(budgets)


def reveal(
    labels: Labels,
    decided: Probabilities,
    probabilities: Probabilities,
    budget: int,
    selection: str = "topk",
    rng: np.random.Generator | None = None,
) -> None:
    """Give `budget` of the masked slots their labels; changes `labels` and `decided` in place."""
    masked = (labels == MASKED).nonzero()[0]
    slots = masked[select(probabilities[masked], budget, selection, rng)]
    labels[slots] = np.where(probabilities[slots] > 0.5, ACTIVE, INACTIVE)
    decided[slots] = probabilities[slots]


def retain(
    labels: Labels, decided: Probabilities, baseline: Probabilities, agreed: Labels, threshold: float
) -> None:
    """Restore the agreed label of the previous decision in slots where the baseline pass is close to it.

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
    probabilities: Probabilities, count: int, selection: str, rng: np.random.Generator | None
) -> NDArray[np.int64]:
    """Indices of the `count` slots to unmask among the masked ones, given their P(active).

    `topk`: the most confident; of equals, the earlier slot. `pool`: drawn uniformly from the `2 * count` most
    confident.
    """
    confidence = np.maximum(probabilities, 1 - probabilities)
    order = np.argsort(-confidence, kind="stable")
    if selection == "topk":
        return order[:count]
    assert rng is not None, "draws need a generator"
    return rng.choice(order[: 2 * count], count, replace=False)
