"""Pack many activation windows of a stream into one sequence: each window sees its own past.

The frames are read once. A window is a branch after the frames: it attends to the frames up to its own tick
and to itself, and its positions continue from there, so that every branch is computed exactly as if its
prompt were alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stride_ros.activation.positions import pair_positions
from stride_ros.activation.prompt import Prompt, pair_time
from stride_ros.training.examples import IGNORED
from stride_ros.training.masking import Entry, Window, build_window
from stride_ros.training.tiny.clips import Clip
from stride_ros.world.story import WorldEvent

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """A packed batch.

    ids (B, L), positions (3, B, L), allowed (B, 1, L, L), labels (B, L) with -100 where there is no target,
    for each video token in order its row in the feature tables, and facts (F, 4): at the end of a frame pair
    (sequence, token), whether the query is true in its first and in its second frame.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    allowed: torch.Tensor
    labels: torch.Tensor
    visual: torch.Tensor
    rows: torch.Tensor
    facts: torch.Tensor


@dataclass
class PackedSequence:
    """A sequence under construction.

    `cut[i]`: how many of the frames token i sees; `branch[i]`: 0 for the frames.
    """

    ids: list[int]
    positions: list[NDArray[np.int64]]
    cut: list[int]
    branch: list[int]
    labels: list[int]
    rows: list[int]
    facts: list[tuple[int, bool, bool]]

    def add(
        self, ids: Ids, positions: NDArray[np.int64], cut: int, branch: int, labels: Sequence[int]
    ) -> None:
        self.ids += ids.tolist()
        self.positions.append(positions)
        self.cut += [cut] * len(ids)
        self.branch += [branch] * len(ids)
        self.labels += labels


class Packer:
    """Builds packed sequences with the checkpoint's own prompt, for pairs of `rows` x `columns` cells.

    The window is written `copies` times. `unsettled`: see Recipe.
    """

    def __init__(
        self,
        prompt: Prompt,
        slots: int,
        resolution: float,
        modes: Sequence[int],
        rows: int,
        columns: int,
        copies: int = 2,
        unsettled: tuple[float, float] = (0.5, 2.5),
    ) -> None:
        self._prompt = prompt
        self.unsettled = unsettled
        self._slots, self._resolution, self._modes = slots, resolution, modes
        self._rows, self._columns, self._copies = rows, columns, copies

    def sequence(
        self,
        clip: Clip,
        query: str,
        first: int,
        count: int,
        ticks: Sequence[int],
        table_offset: int,
        rng: np.random.Generator,
    ) -> PackedSequence:
        """Pack `count` frames of a clip from `first`, and a window at each of `ticks` (frames since `first`).

        `table_offset`: row of the clip's first pair in the feature tables; rows go pair 0, frame 0 twice,
        pair 1, ...
        """
        sequence = PackedSequence([], [], [], [], [], [], [])
        events = clip.events_for(query)
        holds = holding(events, clip.times)
        origin = float(clip.times[first])
        position, ends = 0, [(0, 0)]  # after each pair: tokens so far and the next position
        for pair in range(count // 2):
            k = first + 2 * pair
            ids = self._pair_ids(clip, k, k + 1, origin, query if pair == 0 else None)
            positions, position = self._positions(len(ids), position)
            sequence.add(ids, positions, 0, 0, [IGNORED] * len(ids))
            sequence.rows += self.table_rows(table_offset, k, twice=False)
            ends.append((len(sequence.ids), position))
            sequence.facts.append((len(sequence.ids) - 1, bool(holds[k]), bool(holds[k + 1])))
        for branch, tick in enumerate(ticks, 1):
            window = self._window(clip, events, first, tick, rng)
            if window is not None:
                self._add_window(sequence, clip, query, first, tick, branch, ends, table_offset, window)
        return sequence

    def _window(
        self, clip: Clip, events: Sequence[WorldEvent], first: int, tick: int, rng: np.random.Generator
    ) -> Window | None:
        origin, now = float(clip.times[first]), float(clip.times[first + tick])
        if self._slots == 1:  # one decision per frame: nothing is settled
            entries = [Entry(event.start, event.end, active=True) for event in events]
        else:
            seconds = self._slots * self._resolution
            entries = window_entries(events, origin, now, seconds, self.unsettled, rng)
        relative = [Entry(e.start - origin, e.end - origin, e.active, e.shown) for e in entries]
        return build_window(now - origin, self._slots, self._resolution, relative, self._modes, rng)

    def _add_window(
        self,
        sequence: PackedSequence,
        clip: Clip,
        query: str,
        first: int,
        tick: int,
        branch: int,
        ends: list[tuple[int, int]],
        table_offset: int,
        window: Window,
    ) -> None:
        cut, position = ends[(tick + 1) // 2]
        if tick % 2 == 0:  # no complete pair yet: the newest frame stands in for its partner
            k = first + tick
            ids = self._pair_ids(clip, k, k, float(clip.times[first]), query if tick == 0 else None)
            positions, position = self._positions(len(ids), position)
            sequence.add(ids, positions, cut, branch, [IGNORED] * len(ids))
            sequence.rows += self.table_rows(table_offset, k, twice=True)
        slots = self._prompt.slot_ids[window.tokens]
        asked = np.where(window.masked, window.labels.astype(np.int64), IGNORED)
        copies = np.tile(slots, self._copies)
        positions = np.tile(np.arange(position, position + len(copies)), (3, 1))
        conditioning = [IGNORED] * (len(copies) - len(slots))
        sequence.add(copies, positions, cut, branch, conditioning + asked.tolist())

    def _pair_ids(self, clip: Clip, first: int, second: int, origin: float, query: str | None) -> Ids:
        time = pair_time(float(clip.times[first]), float(clip.times[second]), origin)
        return self._prompt.pair(time, self._rows * self._columns, query)

    def _positions(self, count: int, position: int) -> tuple[NDArray[np.int64], int]:
        return pair_positions(count, self._rows, self._columns, position)

    @property
    def video_id(self) -> int:
        """Token id of the video placeholders."""
        return self._prompt.video_id

    def table_rows(self, offset: int, frame: int, twice: bool) -> list[int]:
        """Rows in the feature tables of a pair of a clip whose first pair is at `offset`."""
        tokens = self._rows * self._columns
        start = (2 * (offset + frame) + twice) * tokens
        return list(range(start, start + tokens))

    def collate(self, sequences: Sequence[PackedSequence]) -> Batch:
        """Pad sequences to one length; padding attends only to itself."""
        length = max(len(sequence.ids) for sequence in sequences)
        size = len(sequences)
        ids = torch.zeros((size, length), dtype=torch.long)
        positions = torch.zeros((3, size, length), dtype=torch.long)
        labels = torch.full((size, length), IGNORED)
        cut = torch.zeros((size, length), dtype=torch.long)
        branch = torch.full((size, length), -1)
        for i, sequence in enumerate(sequences):
            n = len(sequence.ids)
            ids[i, :n] = torch.tensor(sequence.ids)
            positions[:, i, :n] = torch.from_numpy(np.concatenate(sequence.positions, axis=1))
            labels[i, :n] = torch.tensor(sequence.labels)
            cut[i, :n] = torch.tensor(sequence.cut)
            branch[i, :n] = torch.tensor(sequence.branch)
        order = torch.arange(length)
        causal = order[:, None] >= order[None, :]
        same = branch[:, :, None] == branch[:, None, :]
        past = (branch[:, None, :] == 0) & (order[None, None, :] < cut[:, :, None])
        allowed = (causal & same) | past
        rows = torch.tensor([row for sequence in sequences for row in sequence.rows])
        facts = torch.tensor([(i, *fact) for i, sequence in enumerate(sequences) for fact in sequence.facts])
        visual = ids == self._prompt.video_id
        return Batch(ids, positions, allowed[:, None], labels, visual, rows, facts)


def holding(events: Sequence[WorldEvent], times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether one of the events is going on at each of `times` (s)."""
    result = np.zeros(len(times), bool)
    for event in events:
        result |= (times >= event.start) & (times <= event.end)
    return result


def window_entries(
    events: Sequence[WorldEvent],
    origin: float,
    now: float,
    seconds: float,
    unsettled: tuple[float, float],
    rng: np.random.Generator,
) -> list[Entry]:
    """The entries that a window of `seconds` up to `now` should predict (s), as in a session.

    Usually everything up to the end of the last completed event is settled, and the next event is the answer;
    sometimes nothing is settled, and the first event in view is the answer. Later events are inactive until
    their turn.
    """
    view = max(origin, now - seconds)
    over = [event for event in events if view - 2.0 <= event.end < now - rng.uniform(*unsettled)]
    settled = float("-inf")
    draw = rng.random()
    if over and draw < 0.75:
        settled = over[-1].end + rng.uniform(-1.6, 0.4)
        rest = [event for event in events if event.start > over[-1].start]
    else:
        rest = [event for event in events if event.end >= view]
        if rest and draw < 0.9:  # an inactive beginning that may extend a little into a long event
            begin = rest[0].start
            reach = begin + max(0.0, 0.2 * (rest[0].end - begin) - 2.0)
            settled = rng.uniform(min(view - 2.0, reach), reach)
    entries = [Entry(float("-inf"), settled, active=False, shown=True)] if settled > view else []
    return entries + [Entry(event.start, event.end, active=True) for event in rest[:1]]


def language_model_inputs(model: Any, batch: Batch, tables: Sequence[torch.Tensor]) -> dict[str, Any]:
    """Arguments of the language model: token embeddings with the pairs' features, and DeepStack's features.

    tables: [tokens, deepstack 0, ...], each (rows, hidden).
    """
    embedded = model.get_input_embeddings()(batch.ids).clone()
    embedded[batch.visual] = tables[0][batch.rows].to(embedded.dtype)
    return {
        "inputs_embeds": embedded,
        "position_ids": batch.positions,
        "attention_mask": batch.allowed,
        "visual_pos_masks": batch.visual,
        "deepstack_visual_embeds": [table[batch.rows].to(embedded.dtype) for table in tables[1:]],
        "use_cache": False,
    }
