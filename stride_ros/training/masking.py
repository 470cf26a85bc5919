"""Slot labels and the choice of masked slots: what a training sample shows and what it must predict.

After section "Boundary-aware span masking" of the STRIDE paper (arXiv 2603.27593) and the authors' public
training code: a slot's label, four mask modes over the slots that may be masked, and an augmentation of the
unseen slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import ConfigError

INACTIVE, ACTIVE, MASKED = 0, 1, 2
INDEPENDENT, FULL, BOUNDARY, SPAN_AND_SCATTER = 0, 1, 2, 3
MODES = (INDEPENDENT, FULL, BOUNDARY, SPAN_AND_SCATTER)
MAX_REVEALED = 0.3  # maximum fraction of the slots that boundary-aware unmasking may reveal

Labels = NDArray[np.uint8]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Entry:
    """What is known about [start, end] (s, same clock as the slots); `shown` entries are never masked."""

    start: float
    end: float
    active: bool
    shown: bool = False


@dataclass(frozen=True)
class Window:
    """The target of one sample: true labels (W,), and which slots are masked (W,) and which are seen (W,)."""

    labels: Labels
    masked: Flags
    seen: Flags

    @property
    def tokens(self) -> Labels:
        """Slot tokens as the prompt shows them: 0 inactive, 1 active, 2 masked."""
        return np.where(self.masked, MASKED, self.labels).astype(np.uint8)


def check_modes(modes: Sequence[int]) -> tuple[int, ...]:
    """Return the mask modes as a tuple; ConfigError for an empty list or an unknown mode."""
    listed = isinstance(modes, Sequence) and not isinstance(modes, str)  # a checkpoint may contain anything
    if not listed or not modes or any(type(mode) is not int or mode not in MODES for mode in modes):
        said = list(modes) if listed else modes
        raise ConfigError(f"Mask modes {said} are not possible; use one or more of 0, 1, 2, 3.")
    return tuple(modes)


def slot_starts(now: float, slots: int, resolution: float) -> NDArray[np.float64]:
    """Start of each of the `slots` slots (s); the last one ends at `now`, the time of the newest frame."""
    return now - slots * resolution + np.arange(slots, dtype=np.float64) * resolution


def label_slots(
    starts: NDArray[np.float64], resolution: float, entries: Sequence[Entry]
) -> tuple[Labels, Flags]:
    """Labels and shown flags of slots, from the first entry that each slot touches (closed intervals).

    Slots that touch no entry are inactive and may be masked.
    """
    labels = np.zeros(len(starts), np.uint8)
    shown = np.zeros(len(starts), bool)
    open_slots = np.ones(len(starts), bool)
    for entry in entries:
        hit = open_slots & (starts + resolution >= entry.start) & (starts <= entry.end)
        labels[hit], shown[hit] = entry.active, entry.shown
        open_slots &= ~hit
    return labels, shown


def build_window(
    now: float,
    slots: int,
    resolution: float,
    entries: Sequence[Entry],
    modes: Sequence[int],
    rng: np.random.Generator,
) -> Window | None:
    """Label the window that ends at `now` (s since the context's first frame) and choose what to mask.

    A slot that ends before the first frame (0 s) is unseen: its label is inactive, whatever happened then.
    None if no seen slot may be masked, since there is nothing to learn then.
    """
    starts = slot_starts(now, slots, resolution)
    labels, shown = label_slots(starts, resolution, entries)
    seen = starts + resolution >= 0
    maskable = seen & ~shown
    if not maskable.any():
        return None
    masked = np.zeros(slots, bool)
    chosen, mode = choose_mask(labels[maskable], modes, rng)
    masked[maskable] = chosen
    if not seen.all():
        share = chosen.sum() if mode != BOUNDARY else (~chosen).sum()
        masked[~seen] = _mask_unseen(labels[~seen], mode, float(share) / len(chosen), modes, rng)
    return Window(np.where(seen, labels, INACTIVE).astype(np.uint8), masked, seen)


def choose_mask(
    labels: Labels,
    modes: Sequence[int],
    rng: np.random.Generator,
    mode: int | None = None,
    budget: int | None = None,
) -> tuple[Flags, int]:
    """Which of the n slots are masked (n,), and the mode used; `mode` and `budget` are drawn if not given.

    The budget counts masked slots in modes 0 and 3 and revealed slots in mode 2; mode 1 masks everything.
    """
    n = len(labels)
    if mode is None:
        mode = modes[int(rng.integers(len(modes)))]
    if mode == BOUNDARY and n == 1 and labels.any():
        mode = INDEPENDENT  # the only slot is the boundary: revealing it would leave nothing to learn
    if mode == INDEPENDENT:
        return _scatter(
            np.zeros(n, bool), int(rng.integers(1, n + 1)) if budget is None else budget, rng
        ), mode
    if mode == FULL:
        return np.ones(n, bool), mode
    if mode == BOUNDARY:
        limit = max(1, int(MAX_REVEALED * n))
        return ~_reveal_runs(labels, budget or int(rng.integers(1, limit + 1)), rng), mode
    return _span_and_scatter(labels, budget or int(rng.integers(1, n + 1)), rng), mode


def _scatter(masked: Flags, count: int, rng: np.random.Generator) -> Flags:
    """Mask `count` more slots, drawn from those that are not yet masked."""
    free = np.flatnonzero(~masked)
    masked[rng.choice(free, min(count, len(free)), replace=False)] = True
    return masked


def _reveal_runs(labels: Labels, budget: int, rng: np.random.Generator) -> Flags:
    """Reveal `budget` slots as separate runs, but never all slots at the edges of the active span."""
    n = len(labels)
    active = np.flatnonzero(labels)
    edges = {active[0] - 1, active[0], active[-1], active[-1] + 1} if len(active) else set()
    watched = [edge for edge in edges if 0 <= edge < n]
    while True:
        revealed = _draw_runs(n, budget, rng)
        if revealed is not None and not (watched and revealed[watched].all()):
            return revealed


def _draw_runs(n: int, budget: int, rng: np.random.Generator) -> Flags | None:
    """Draw `budget` of n slots as runs with a slot or more between them; None if a run does not fit."""
    revealed = np.zeros(n, bool)
    gaps = [(0, n)]
    while budget > 0:
        length = int(rng.integers(1, budget + 1))
        rooms = np.array([max(0, stop - start - length + 1) for start, stop in gaps])
        if not rooms.sum():
            return None
        # Every place is equally likely: places are numbered through all gaps.
        place = int(rng.integers(rooms.sum()))
        gap = int(np.searchsorted(np.cumsum(rooms), place, side="right"))
        start, stop = gaps.pop(gap)
        begin = start + place - int(rooms[:gap].sum())
        revealed[begin : begin + length] = True
        gaps += [(a, b) for a, b in ((start, begin - 1), (begin + length + 1, stop)) if a < b]
        budget -= length
    return revealed


def _span_and_scatter(labels: Labels, budget: int, rng: np.random.Generator) -> Flags:
    """Mask `budget` slots: a block over the onset or offset of the active span, and the rest anywhere."""
    n = len(labels)
    masked = np.zeros(n, bool)
    if budget == 1:
        return _scatter(masked, 1, rng)
    block = int(rng.integers(1, budget + 1))
    active = np.flatnonzero(labels)
    if len(active):
        first, last = int(active[0]), int(active[-1])
        inside = int(rng.integers(1, min(block, last - first + 1) + 1))
        at_onset = rng.random() < 0.5
        start = first - (block - inside) if at_onset else last - inside + 1
    else:
        start = int(rng.integers(n))
    masked[max(0, start) : min(n, start + block)] = True
    return _scatter(masked, budget - int(masked.sum()), rng)


def _mask_unseen(
    labels: Labels, seen_mode: int, share: float, modes: Sequence[int], rng: np.random.Generator
) -> Flags:
    """Mask the unseen slots in one of five equally likely ways; `share`: budget per seen slot."""
    n = len(labels)
    unseen = np.zeros(n, np.uint8)  # no events are known there
    way = int(rng.integers(5))
    if way == 0:
        return np.ones(n, bool)
    if way == 1:
        return np.zeros(n, bool)
    if way == 2:
        return _scatter(np.zeros(n, bool), int(rng.integers(1, n + 1)), rng)
    if way == 3:
        budget = max(1, round(share * n))
        if seen_mode == BOUNDARY:
            budget = min(budget, max(1, int(MAX_REVEALED * n)))
        return choose_mask(unseen, modes, rng, seen_mode, min(budget, n))[0]
    return choose_mask(unseen, modes, rng)[0]
