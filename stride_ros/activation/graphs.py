"""Slot passes that are recorded once and replayed: CUDA graphs, which launch hundreds of kernels at once.

A recording serves any watches of a model. It is made when more watches or longer prompts than before are
decided on together, checked against ordinary passes, and used from then on. If recording or the check fails,
all passes run the ordinary way from then on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from stride_ros.activation.denoising import Probabilities, reveal
from stride_ros.activation.fixed_pass import FixedPass, SlotRows
from stride_ros.activation.recorder import TOLERANCE, Recorder, give_up, reason
from stride_ros.activation.window import Labels
from stride_ros.qwen3_vl.decoder import TokenBlock
from stride_ros.qwen3_vl.paged_cache import PageAttention

_MOST_WATCHES = 32  # maximum number of watches in one recording

Ordinary = Callable[[Sequence[TokenBlock]], list[NDArray[np.float32]]]
# Arguments: the number of watches, and the number of pages of each prompt.
MakeFixed = Callable[[int, int], FixedPass]


@dataclass
class _Recording:
    """One recording; checked: pages of the longest prompt it was checked with."""

    fixed: FixedPass
    replay: Callable[[], None]
    checked: int = 0


class RecordedPasses:
    """The recordings of slot passes over the pages of one pool, shared by all watches of a model.

    There is one for 1, 2, 4, 8, ... watches and for a few numbers of pages; numbers in between are served by
    the next larger one. Each is checked before its first use, and again when prompts have become twice as
    long.

    make_fixed: makes a pass to record; attention: the attention with which it reads pages; ordinary: runs
    blocks without recordings and returns P(active) (wanted,) of each; relied: is told whether that attention
    is correct, so that others can use it.
    """

    def __init__(
        self,
        recorder: Recorder,
        make_fixed: MakeFixed,
        attention: PageAttention,
        ordinary: Ordinary,
        relied: Callable[[PageAttention | None], None],
    ) -> None:
        self._relied, self._reliable = relied, False
        self._recorder, self._make_fixed, self._ordinary = recorder, make_fixed, ordinary
        self._attention, self._generation = attention, attention.generation
        self._recordings: dict[tuple[int, int], _Recording] = {}
        self._lock = threading.Lock()  # engines in other threads may share the model

    @property
    def count(self) -> int:
        """Number of recordings in use."""
        return len(self._recordings) if self.usable else 0

    @property
    def usable(self) -> bool:
        return self._recorder.failure is None

    @torch.inference_mode()
    def run(self, rows: Sequence[SlotRows]) -> list[NDArray[np.float32]] | None:
        """P(active) (passes, W) of each watch; None when recordings cannot be used.

        A watch gets as many passes as it has budgets, or one without budgets. The host waits once for up to
        32 watches.
        """
        found: list[NDArray[np.float32]] = []
        for first in range(0, len(rows), _MOST_WATCHES):
            batch = rows[first : first + _MOST_WATCHES]
            with self._lock:
                answers = self._run(batch)
            if answers is None:
                return None
            found += [answers[: row.passes, index] for index, row in enumerate(batch)]
        return found

    def _run(self, rows: Sequence[SlotRows]) -> NDArray[np.float32] | None:
        """P(active) (passes, places, W); these watches have the first places."""
        if self._attention.generation != self._generation:
            self._generation = self._attention.generation
            self._recordings.clear()
        used = max(row.pages for row in rows)
        room = max(used, *(-(-row.cache.room // row.cache.part) for row in rows))
        key = (1 << (len(rows) - 1).bit_length(), _rounded(room))
        if key not in self._recordings and not self._record(key, rows):
            return None
        recording = self._recordings[key]
        if used >= 2 * recording.checked:  # longer prompts than any so far
            if not self._check(recording.fixed, recording.replay, rows):
                return None
            recording.checked = used
            self._reliable |= used > 1  # attention over several pages is correct
            self._relied(self._attention if self._reliable else None)
        recording.fixed.fill(rows)
        passes = max(row.passes for row in rows)
        for _ in range(passes):
            recording.replay()
        return recording.fixed.answers(passes)

    def _record(self, key: tuple[int, int], rows: Sequence[SlotRows]) -> bool:
        """Make a recording; on failure return False and use no recordings any more."""
        try:
            fixed = self._make_fixed(*key)
            fixed.fill(rows)
            self._recordings[key] = _Recording(fixed, self._recorder.record(fixed.run))
        except Exception as error:  # whatever the cause: passes work without recordings
            self._give_up(f"capturing one failed ({reason(error)})")
            return False
        return True

    def _check(self, fixed: FixedPass, replay: Callable[[], None], rows: Sequence[SlotRows]) -> bool:
        """Compare with ordinary passes over the same prompts; on failure return False and drop recordings.

        The first comparison uses arbitrary labels, since slots that are all masked would hide many errors.
        """
        self._relied(None)  # ordinary passes must not use what is being checked
        rng = np.random.default_rng(len(rows))
        mixed = [fixed.relabelled(row, rng.integers(0, 3, len(row.labels), np.uint8)) for row in rows]
        for checked in (mixed, rows):
            try:
                fixed.erase()  # nothing of earlier runs is left: a replay must do everything by itself
                fixed.fill(checked)
                replay()
                (answers,) = fixed.answers(1)
                labels = fixed.labels()
            except Exception as error:
                self._give_up(f"replaying one failed ({reason(error)})")
                return False
            expected = np.stack(self._ordinary([row.block for row in checked]))
            difference = float(np.abs(answers[: len(rows)] - expected).max())
            if not difference <= TOLERANCE[fixed.dtype]:  # also true for NaN
                self._give_up(f"a replay was off by {difference:.3g} in P(active)")
                return False
            if any((labels[i] != _unmasked(row, answers[i])).any() for i, row in enumerate(checked)):
                self._give_up("a replay unmasked other slots")
                return False
        return True

    def _give_up(self, why: str) -> None:
        self._relied(None)
        self._recordings.clear()
        give_up(self._recorder, why)


def replayed(asked: Mapping[int, tuple[RecordedPasses, SlotRows]]) -> dict[int, Probabilities]:
    """P(active) (W,) of each of these watches, (passes, W) with budgets.

    Watches whose passes cannot be replayed are left out. Those of one model run together.
    """
    found: dict[int, Probabilities] = {}
    for recorded in dict.fromkeys(recorded for recorded, _ in asked.values()):
        rows = {index: row for index, (of, row) in asked.items() if of is recorded}
        for (index, row), answers in zip(rows.items(), recorded.run(list(rows.values())) or (), strict=False):
            found[index] = answers if row.budgets else answers[0]
    return found


def _rounded(count: int) -> int:
    """The smallest of 1, 2, 3, 4, 6, 8, 12, 16, ... that is not below the number."""
    power = 1 << max(0, count - 1).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


def _unmasked(row: SlotRows, probabilities: Probabilities) -> Labels:
    """The labels of a watch after its first pass."""
    labels: Labels = row.labels.copy()
    if row.budgets:
        reveal(labels, np.zeros_like(probabilities), probabilities, row.budgets[0])
    return labels
