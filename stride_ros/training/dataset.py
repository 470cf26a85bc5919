"""The training set: samples cut from recordings, loaded as examples and grouped into batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from stride_ros.errors import FrameError, SourceError
from stride_ros.response.config import ResponseConfig
from stride_ros.response.request import make_request, nanoseconds, stamped
from stride_ros.terminal import tell_notes
from stride_ros.training.examples import IGNORED, Example, SentenceExamples, WindowExamples
from stride_ros.training.samples import CONTEXT_SECONDS, Cut, Event, cut_samples, quiet_cut
from stride_ros.training.sources.recording import Recording

RESPONSE = ResponseConfig()  # what the responder is shown for an event
POST_SECONDS = 2.0  # maximum s after the start of an event at which it is asked
LOAD_TRIES = 8
PAD_TO = 8  # lengths are rounded up to a multiple, so that fewer shapes occur


@dataclass(frozen=True)
class Sample:
    """One sample from a recording: a window (`cut`), or the sentence of an event."""

    recording: Recording
    cut: Cut | None = None
    event: Event | None = None


@dataclass(frozen=True)
class Sampling:
    """How frames are taken from a part of a video: up to `fps` per second and `max_frames` in total."""

    fps: float = 1.0
    max_frames: int = 512

    def times(self, start: float, end: float) -> list[float]:
        """An even number of times (s) up to `end`.

        They have the rate `fps`, as in a live stream, or are spread over a part that is too long for that.
        """
        count = 2 * max(1, int((end - start) * self.fps + 1) // 2)
        if count > self.max_frames:
            return [float(time) for time in np.linspace(start, end, 2 * (self.max_frames // 2))]
        return [max(start, end - k / self.fps) for k in range(count - 1, -1, -1)]


def make_samples(
    recordings: Sequence[Recording], sentences: bool, seed: int, wanted: int = 0, window: float = math.inf
) -> list[Sample]:
    """Cut every recording into samples; `sentences` adds one for each event with a text.

    A query without events gives parts in which nothing happens. Recordings are cut again until there are
    `wanted` samples, so that training on little data does not repeat the same cuts. `window` (s) is the
    length of the activation window.
    """
    rng = np.random.default_rng([0x5A, seed])
    samples: list[Sample] = []
    while True:
        before = len(samples)
        for recording in recordings:
            samples += _samples_of(recording, sentences, rng, window)
        if len(samples) >= wanted or len(samples) == before:
            return samples


def _samples_of(
    recording: Recording, sentences: bool, rng: np.random.Generator, window: float
) -> list[Sample]:
    video = recording.video
    cuts = cut_samples(recording.events, video.start, video.end, rng, window)
    if not recording.events:
        parts = max(1, math.ceil((video.end - video.start) / CONTEXT_SECONDS))  # a cut is not longer
        found = (quiet_cut(video.start, video.end, rng) for _ in range(parts))
        cuts = [quiet for quiet in found if quiet]
    told = [event for event in recording.events if event.text] if sentences else []
    return [Sample(recording, cut) for cut in cuts] + [Sample(recording, event=event) for event in told]


class StrideDataset(Dataset[Example]):
    """Samples as examples.

    Masks, wordings and frame times depend only on the seed, the epoch and the sample, so that resumed
    training continues exactly as it would have.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        windows: WindowExamples,
        sentences: SentenceExamples,
        sampling: Sampling,
        seed: int = 0,
        report: Callable[[str], None] = lambda sentence: tell_notes([sentence]),
    ) -> None:
        self._samples = samples
        self._windows, self._sentences, self._sampling = windows, sentences, sampling
        self._seed, self._epoch = seed, 0
        self._report = report
        self._broken: set[str] = set()

    def set_epoch(self, epoch: int) -> None:
        """Make new random draws for this epoch; called by the sampler."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def lengths(self) -> list[int]:
        """Length of each sample in frames, which determines its number of tokens."""
        return [
            len(self._sampling.times(sample.cut.start, sample.cut.end)) if sample.cut else 4
            for sample in self._samples
        ]

    @property
    def unreadable(self) -> int:
        """Number of videos that could not be decoded; their samples are replaced by others."""
        return len(self._broken)

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([self._seed, self._epoch, index])
        for _ in range(LOAD_TRIES):
            sample = self._samples[index]
            if sample.recording.video.name not in self._broken:
                try:
                    example = self._load(sample, rng)
                    if example is not None:
                        return example
                except (SourceError, FrameError) as error:
                    self._broken.add(sample.recording.video.name)
                    self._report(f"{sample.recording.video.name} is left out: {error}")
            index = int(rng.integers(len(self._samples)))
        raise SourceError(f"{LOAD_TRIES} training samples in a row cannot be read; check the videos.")

    def _load(self, sample: Sample, rng: np.random.Generator) -> Example | None:
        recording = sample.recording
        query = recording.queries[int(rng.integers(len(recording.queries)))]
        if sample.event is not None:
            return self._load_sentence(query, sample.event, recording, rng)
        assert sample.cut is not None
        images, times = recording.video.read(self._sampling.times(sample.cut.start, sample.cut.end))
        return self._windows.build(query, images, times, sample.cut.entries, rng)

    def _load_sentence(
        self, query: str, event: Event, recording: Recording, rng: np.random.Generator
    ) -> Example:
        start = max(recording.video.start, event.start - RESPONSE.pre_seconds)
        end = min(recording.video.end, event.start + rng.uniform(0.5, POST_SECONDS))
        count = max(1, round((end - start) * self._sampling.fps) + 1)
        images, times = recording.video.read(np.linspace(start, end, count).tolist())
        earlier = [other.text for other in recording.events if other.text and other.start < event.start]
        request = make_request(
            RESPONSE,
            query,
            stamped(RESPONSE, images, times),
            nanoseconds(event.start),
            earlier[-int(rng.integers(1, 3)) :],
        )
        return self._sentences.build(request, event.text)


class Collator:
    """Pads examples to one length, on the right."""

    def __init__(self, pad_id: int, video_id: int) -> None:
        self._pad, self._video = pad_id, video_id

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        longest = max(len(example.ids) for example in examples)
        shape = (len(examples), math.ceil(longest / PAD_TO) * PAD_TO)
        ids = torch.full(shape, self._pad)
        seen = torch.zeros(shape, dtype=torch.long)
        slots, words = torch.full(shape, IGNORED), torch.full(shape, IGNORED)
        positions = torch.zeros((3, *shape), dtype=torch.long)
        for row, example in enumerate(examples):
            n = len(example.ids)
            ids[row, :n] = torch.from_numpy(example.ids)
            seen[row, :n] = 1
            slots[row, :n] = torch.from_numpy(example.slot_labels)
            words[row, :n] = torch.from_numpy(example.text_labels)
            positions[:, row, :n] = torch.from_numpy(example.positions)
        return {
            "input_ids": ids,
            "attention_mask": seen,
            "position_ids": positions,
            "mm_token_type_ids": 2 * (ids == self._video).long(),
            "pixel_values_videos": torch.from_numpy(np.concatenate([example.pixels for example in examples])),
            "video_grid_thw": torch.tensor([example.grid for example in examples]),
            "slot_labels": slots,
            "text_labels": words,
        }


class LengthGroupedSampler(Sampler[int]):
    """Makes global batches of samples of similar length, which need little padding.

    The set is shuffled and split into as many piles as a batch has samples; each pile is sorted by length,
    and batch k takes the k-th longest of each. The longest batch comes first, so that a lack of memory shows
    at once; the others come in random order. Each epoch is shuffled differently, and passed on to `on_epoch`.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        global_batch: int,
        seed: int,
        on_epoch: Callable[[int], None] = lambda epoch: None,
    ) -> None:
        self._lengths, self._batch, self._seed = lengths, global_batch, seed
        self._on_epoch = on_epoch
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the shuffle; called by the trainer."""
        self._epoch = epoch
        self._on_epoch(epoch)

    def __len__(self) -> int:
        return math.ceil(len(self._lengths) / self._batch) * self._batch

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self._seed, self._epoch])
        count = len(self._lengths)
        order = rng.permutation(count).tolist()
        # The last batch is filled with repeated samples.
        order += [order[i % count] for i in range(len(self) - count)]
        rounds = len(order) // self._batch
        piles = [
            sorted(order[i * rounds : (i + 1) * rounds], key=self._by_length) for i in range(self._batch)
        ]
        batches = list(zip(*piles, strict=True))
        for index in [0, *(1 + rng.permutation(rounds - 1))]:
            yield from batches[index]

    def _by_length(self, index: int) -> int:
        return -self._lengths[index]
