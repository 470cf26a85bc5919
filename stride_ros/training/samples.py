"""From annotated events to training samples: which part of a video is shown, and what its window is given.

Each event gives up to three samples, cut before, inside and after it. A beginning known to be inactive is
shown as such, just as a live session treats everything up to the last completed span. Follows the STRIDE
paper (arXiv 2603.27593) and the preparation script of the authors' public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stride_ros.training.masking import Entry

CONTEXT_SECONDS = 128.0  # maximum s of video shown before and after the event
CLIP_SECONDS = (8.0, 256.0)  # preferred length of the shown part, s
SHORTEST_SECONDS = 1.0
AFTER_PREFIX_SECONDS = 4.0  # minimum s of video shown after the inactive beginning
PREVIOUS_SHARE, PREVIOUS_SECONDS = (
    0.8,
    2.0,
)  # an earlier event is settled after this share and these s
CURRENT_SHARE, CURRENT_SECONDS = (
    0.2,
    2.0,
)  # the beginning may extend into this fraction of the event, less these s
MINIMAL_PREFIX = 0.5  # how often the beginning ends as early as possible
WHOLE_CONTEXT, NO_PREFIX = (
    0.2,
    0.1,
)  # how often the video starts as early as possible, or where the beginning ends
TRIES = 30


@dataclass(frozen=True)
class Event:
    """An event that a query asks about, from `start` to `end` (s in the video). `text`: its sentence."""

    start: float
    end: float
    text: str = ""


@dataclass(frozen=True)
class Cut:
    """A part of a video [start, end] (s), and the known entries of its activation window."""

    start: float
    end: float
    entries: tuple[Entry, ...]


def cut_samples(
    events: Sequence[Event],
    video_start: float,
    video_end: float,
    rng: np.random.Generator,
    window: float = float("inf"),
) -> list[Cut]:
    """Up to three cuts for each event of one query, in a video from `video_start` to `video_end` (s).

    Later events count as inactive, since the sample asks for this one. In a short `window` (s), that would
    contradict what it shows once this event has left it; the video then ends before the next event.
    """
    cuts = []
    for event in events:
        others = [other for other in events if other is not event]
        following = min((other.start for other in others if other.start > event.start), default=video_end)
        bounds = [
            (video_start, event.start),
            (event.start, event.end),
            (event.end, min(event.end + CONTEXT_SECONDS, video_end, max(event.end + window, following))),
        ]
        for low, high in bounds:
            cut = _cut(event, others, low, high, video_start, video_end, rng) if low < high else None
            if cut is not None:
                cuts.append(cut)
    return cuts


def prefix_bounds(event: Event, others: Sequence[Event], video_start: float) -> tuple[float, float]:
    """Earliest and latest end (s) of the inactive beginning: after earlier events, a little into this one."""
    latest = event.start + max(0.0, CURRENT_SHARE * (event.end - event.start) - CURRENT_SECONDS)
    settled = [
        min(other.end, other.start + PREVIOUS_SHARE * (other.end - other.start) + PREVIOUS_SECONDS)
        for other in others
        if other.end <= latest
    ]
    return min(max([video_start, *settled]), latest), latest


def _cut(
    event: Event,
    others: Sequence[Event],
    low: float,
    high: float,
    video_start: float,
    video_end: float,
    rng: np.random.Generator,
) -> Cut | None:
    """A cut that ends in [low, high], or None if no attempt fits."""
    earliest, latest = prefix_bounds(event, others, video_start)
    first = max(video_start, event.start - CONTEXT_SECONDS)
    shortest, longest = CLIP_SECONDS[0], min(CLIP_SECONDS[1], video_end - video_start)
    for _ in range(TRIES):
        settled = earliest if rng.random() < MINIMAL_PREFIX else float(rng.uniform(earliest, latest))
        start, shown = _start(first, settled, latest, rng)
        after_prefix = settled + AFTER_PREFIX_SECONDS if shown else float("-inf")
        last = min(high, start + longest)
        begin = max(low, start + shortest, after_prefix)
        if begin > last:  # this part of the video is short, but a short clip is better than none
            begin = max(low, after_prefix)
        if begin <= last and begin - start >= SHORTEST_SECONDS:
            end = float(rng.uniform(begin, last))
            prefix = (Entry(start, settled, active=False, shown=True),) if shown else ()
            return Cut(start, end, (*prefix, Entry(event.start, event.end, active=True)))
    return None


def _start(first: float, settled: float, latest: float, rng: np.random.Generator) -> tuple[float, bool]:
    """The start of the video (s), and whether its beginning up to `settled` is shown as inactive."""
    if settled <= first:
        return float(rng.uniform(first, latest)), False
    draw = rng.random()
    if draw < WHOLE_CONTEXT:
        return first, True
    if draw < WHOLE_CONTEXT + NO_PREFIX:
        return settled, False
    return float(rng.uniform(first, settled)), True


def quiet_cut(video_start: float, video_end: float, rng: np.random.Generator) -> Cut | None:
    """A part of a video without events of the query; None for a very short video."""
    room = video_end - video_start
    if room < SHORTEST_SECONDS:
        return None
    length = float(rng.uniform(min(CLIP_SECONDS[0], room), min(CONTEXT_SECONDS, room)))
    start = float(rng.uniform(video_start, video_end - length))
    return Cut(start, start + length, ())
