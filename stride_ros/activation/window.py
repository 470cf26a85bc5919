"""The times of the slots of the activation window, and what is known about them before denoising."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INACTIVE, ACTIVE, MASKED = 0, 1, 2
_SEEN_TOLERANCE = 0.1  # s; a slot that ends this little before the first frame still counts as seen

Labels = NDArray[np.uint8]
Times = NDArray[np.float64]


@dataclass(frozen=True)
class SlotWindow:
    """The slots at one decision: their starts and ends (W,) in session time (s), and which are unseen."""

    starts: Times
    ends: Times
    unseen: NDArray[np.bool_]
    resolution: float

    @classmethod
    def at(cls, newest: float, origin: float, past: int, future: int, resolution: float) -> SlotWindow:
        """The window of a decision on frames from `origin` to `newest` (session times, s).

        The last of the `past` slots ends at the newest frame. The sums are ordered as in training (relative
        to the context first, then shifted), so that boundaries agree to the last bit.
        """
        last = newest - origin
        steps = np.arange(past + future, dtype=np.float64)
        starts: Times = last - past * resolution + steps * resolution
        ends: Times = starts + resolution
        return cls(starts + origin, ends + origin, ends + _SEEN_TOLERANCE < 0, resolution)

    @property
    def seen_count(self) -> int:
        return int(np.count_nonzero(~self.unseen))

    @property
    def first_seen_start(self) -> float:
        """Start of the first slot in view (s); 0 when there is none."""
        seen = np.flatnonzero(~self.unseen)
        return float(self.starts[seen[0]]) if len(seen) else 0.0

    def initial_labels(self, completed_until: float) -> Labels:
        """Masked slots, except the settled ones: unseen, or up to the end of the last completed span."""
        labels = np.full(len(self.starts), MASKED, dtype=np.uint8)
        labels[(self.ends <= completed_until) | self.unseen] = INACTIVE
        return labels


@dataclass(frozen=True)
class History:
    """The seen slots of the previous decision: starts (n,) in session time (s) and labels (n,)."""

    starts: Times
    labels: Labels

    @classmethod
    def of(cls, window: SlotWindow, labels: Labels) -> History:
        return cls(window.starts[~window.unseen], labels[~window.unseen])

    def consensus(self, window: SlotWindow) -> Labels:
        """The label (W,) that all overlapping earlier slots agree on; MASKED where there is none."""
        overlaps = (window.starts[:, None] < self.starts + window.resolution) & (
            self.starts < window.ends[:, None]
        )
        active = (overlaps & (self.labels == ACTIVE)).any(axis=1)
        inactive = (overlaps & (self.labels == INACTIVE)).any(axis=1)
        agreed = np.full(len(window.starts), MASKED, dtype=np.uint8)
        agreed[active & ~inactive] = ACTIVE
        agreed[inactive & ~active] = INACTIVE
        agreed[window.unseen] = MASKED
        return agreed
