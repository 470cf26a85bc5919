"""Draw the training material of stride-tiny's stages from clips: pairs, streams with windows, sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stride_ros.response.config import ResponseConfig
from stride_ros.response.frame_cache import evenly
from stride_ros.response.request import make_request, nanoseconds, stamped
from stride_ros.training.examples import IGNORED, SentenceExamples
from stride_ros.training.tiny.clips import Clip
from stride_ros.training.tiny.packing import Batch, PackedSequence, Packer, holding
from stride_ros.training.tiny.vision import encode_clip
from stride_ros.world.story import WorldEvent
from stride_ros.world.vocabulary import HAND, HELD, ON_TABLE, TAKEN, all_queries, query_for

RESPONSE = ResponseConfig()  # what the responder is shown for an event
# The hardest queries: a hand that brings or takes a thing looks much like one that holds it up, and a hand at
# a thing may take it or leave it.
HARD = {kind: query_for(kind, "") for kind in (HELD, TAKEN)}


@dataclass(frozen=True)
class StreamKind:
    """Streams of `frames` (minimum, maximum) frames with `ticks` windows each; `share` of the batches."""

    frames: tuple[int, int]
    ticks: int
    share: float


class Drawer:
    """Draws training material from clips of equal length, whose pairs are encoded once."""

    def __init__(
        self, clips: Sequence[Clip], packer: Packer, sentences: SentenceExamples, rng: np.random.Generator
    ) -> None:
        self._clips, self._packer, self._sentences, self._rng = clips, packer, sentences, rng
        self._length = len(clips[0].frames)
        self._world = world = clips[0].world.config
        self._queries = all_queries(world.colours, world.shapes, world.kinds)
        self._hard = [query for kind, query in HARD.items() if kind in world.kinds]
        self._holds = [
            np.stack([holding(clip.events_for(query), clip.times) for query in self._queries], axis=1)
            for clip in clips
        ]

    def _pick(self, items: Sequence[Any]) -> Any:
        return items[int(self._rng.integers(len(items)))]

    def pairs(self, count: int) -> Batch:
        """Single frame pairs, each with a query that is true in it half the time."""
        return self._packer.collate([self._pair() for _ in range(count)])

    def _pair(self) -> PackedSequence:
        c = int(self._rng.integers(len(self._clips)))
        k = int(self._rng.integers(self._length - 1))
        true = np.flatnonzero(self._holds[c][k] | self._holds[c][k + 1])
        wanted = true if len(true) and self._rng.random() < 0.5 else np.arange(len(self._queries))
        query = self._queries[int(self._pick(wanted.tolist()))]
        return self._packer.sequence(self._clips[c], query, k, 2, [], c * self._length, self._rng)

    def streams(self, count: int, kind: StreamKind) -> Batch:
        """Streams of one kind."""
        return self._packer.collate([self._stream(kind) for _ in range(count)])

    def _stream(self, kind: StreamKind) -> PackedSequence:
        c = int(self._rng.integers(len(self._clips)))
        clip = self._clips[c]
        frames = 2 * int(self._rng.integers(kind.frames[0] // 2, kind.frames[1] // 2 + 1))
        first = int(self._rng.integers(self._length - frames + 1))
        begin, end = clip.times[first], clip.times[first + frames - 1]
        present = [event for event in clip.world.events if event.end > begin and event.start < end]
        query = self._query(present)
        late = self._packer.unsettled[1] - 0.3
        weights = _tick_weights(query, present, clip.times[first : first + frames], late)
        ticks = sorted(self._rng.choice(frames, min(kind.ticks, frames), replace=False, p=weights).tolist())
        return self._packer.sequence(clip, query, first, frames, ticks, c * self._length, self._rng)

    def _query(self, present: Sequence[WorldEvent]) -> str:
        """A query about a stream: mostly about its events, otherwise about a similar object or anything."""
        draw = self._rng.random()
        if present and self._hard and draw < 0.1:
            # No draw if there is no choice, so that stride-tiny's own recipe keeps its sequence of draws.
            return str(self._pick(self._hard)) if len(self._hard) > 1 else self._hard[0]
        if present and draw < 0.72:
            query: str = self._pick(self._balanced(present)).query
            return query
        things = [event.subject for event in present if event.kind == ON_TABLE]
        if not things or draw > 0.88:
            return str(self._pick(self._queries))
        colour, shape = self._pick(things).split()
        if self._rng.random() < 0.5:
            return query_for(ON_TABLE, f"{self._pick(self._world.colours)} {shape}")
        return query_for(ON_TABLE, f"{colour} {self._pick(self._world.shapes)}")

    def _balanced(self, events: Sequence[WorldEvent]) -> list[WorldEvent]:
        """All events, or half the time those of one kind, so that rare kinds are learned, too."""
        if self._rng.random() < 0.5:
            return list(events)
        kind = self._pick(sorted({event.kind for event in events}))
        return [event for event in events if event.kind == kind]

    def sentences(self, count: int) -> Batch:
        """Prompts of the responder at onsets, with the sentences to say as labels."""
        drawn = [self._sentence() for _ in range(count)]
        length = max(len(example.ids) for example, _ in drawn)
        ids = torch.zeros((count, length), dtype=torch.long)
        positions = torch.zeros((3, count, length), dtype=torch.long)
        labels = torch.full((count, length), IGNORED)
        for i, (example, _) in enumerate(drawn):
            n = len(example.ids)
            ids[i, :n] = torch.from_numpy(example.ids)
            positions[:, i, :n] = torch.from_numpy(example.positions)
            labels[i, :n] = torch.from_numpy(example.text_labels)
        rows = torch.tensor([row for _, rows in drawn for row in rows])
        causal = torch.ones((length, length), dtype=torch.bool).tril().expand(count, 1, length, length)
        return Batch(ids, positions, causal, labels, ids == self._packer.video_id, rows, torch.empty(0, 4))

    def _sentence(self) -> tuple[Any, list[int]]:
        """A responder's example and the table rows of its frames.

        It is as at an onset, now and then late or with more of what came before, with and without history.
        """
        rng = self._rng
        while True:
            c = int(rng.integers(len(self._clips)))
            clip = self._clips[c]
            event = self._pick(
                self._balanced([e for e in clip.world.events if e.start < clip.times[-1] - 3.0])
            )
            told = (
                event.start + rng.uniform(0.3, 2.5) + (rng.uniform(0.0, 6.0) if rng.random() < 0.2 else 0.0)
            )
            began = event.start + rng.uniform(-1.0, 0.6)
            before = 2.0 if rng.random() < 0.7 else rng.uniform(0.0, 6.0)
            shown = (clip.times >= began - before) & (clip.times <= min(told, event.end + 0.5))
            if shown.any():
                break
        inside = np.flatnonzero(shown).tolist()
        indices = [inside[i] for i in evenly(len(inside), RESPONSE.max_frames)]
        frames = stamped(RESPONSE, [clip.frames[i] for i in indices], clip.times[indices].tolist())
        earlier = [other.text for other in clip.world.events if other.end < event.start]
        remembered = int(rng.integers(0, 3))
        config = replace(RESPONSE, history=remembered)
        if rng.random() >= 0.9:
            config = replace(config, system_prompt="")
        request = make_request(config, event.query, frames, nanoseconds(began), earlier)
        example = self._sentences.build(request, event.text)
        rows: list[int] = []
        for place in range(0, len(indices), 2):
            twice = place + 1 >= len(indices)
            rows += self._packer.table_rows(c * self._length, indices[place], twice)
        return example, rows


def _tick_weights(
    query: str, present: Sequence[WorldEvent], times: NDArray[np.float64], late: float
) -> NDArray[np.float64]:
    """How likely each frame is to be a tick.

    Decisions are hard when something begins or ends (until `late` s after), and, about things in a hand,
    whenever there is a hand.
    """
    weights = np.full(len(times), 0.2)
    for event in present:
        if query in HARD.values():
            if event.kind in (HAND, *HARD):
                weights[(times >= event.start - 1.5) & (times <= event.end + late - 0.7)] = 1.0
        else:
            for edge, after in ((event.start, 2.2), (event.end, late)):
                weights[(times >= edge - 1.2) & (times <= edge + after)] = 1.0
    normed: NDArray[np.float64] = weights / weights.sum()
    return normed


def encode_tables(visual: nn.Module, clips: Sequence[Clip]) -> list[torch.Tensor]:
    """Features of all pairs of all clips as tables (rows, hidden), [tokens, deepstack 0, ...].

    They are in half precision; rows run over clips, frames, the two kinds of pair (see `encode_clip`) and
    tokens.
    """
    encoded = [[x.reshape(-1, x.shape[-1]) for x in encode_clip(visual, clip)] for clip in clips]
    return [
        torch.from_numpy(np.concatenate([features[i] for features in encoded]).astype(np.float16))
        for i in range(len(encoded[0]))
    ]


def settle_scale(visual: Any, clips: Sequence[Clip], target: float) -> None:
    """Scale the mergers so that features have the standard deviation `target`.

    Larger ones would drown what the language model adds to them, such as their time.
    """
    features: list[NDArray[np.float32]] = encode_clip(visual, clips[0])
    mergers = [visual.merger, *visual.deepstack_merger_list]
    with torch.no_grad():
        for merger, values in zip(mergers, features, strict=True):
            merger.linear_fc2.weight.mul_(target / values.std())
            merger.linear_fc2.bias.mul_(target / values.std())
