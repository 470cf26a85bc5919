"""Clips of the synthetic world as the model sees them: small frames, one per second, kept in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from stride_ros.qwen3_vl.patches import prepare
from stride_ros.world.story import WorldConfig, WorldEvent
from stride_ros.world.vocabulary import COLOURS, HELD, KINDS, SHAPES, TOUCH, all_queries
from stride_ros.world.world import USUAL, World

RENDER_SIZE = (
    240,
    180,
)  # (width, height): drawn small, then scaled down to the model's size like a camera's image
FRAMES = 140
_TOUCH = re.compile(r"The (\w+ \w+) touches the (\w+ \w+)\.")


@dataclass(frozen=True)
class Clip:
    """Frames (N, H, W, 3) uint8 RGB at `times` (N,) s, and all events."""

    seed: int
    frames: NDArray[np.uint8]
    times: NDArray[np.float64]
    world: World

    def events_for(self, query: str) -> tuple[WorldEvent, ...]:
        return self.world.events_for(query)


def sample_times(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Frame times (s) of a stream at one frame per second: exact, with jitter, or a little slower."""
    start = rng.uniform(0.0, 1.0)
    style = rng.random()
    if style < 0.5:
        return start + np.arange(count, dtype=np.float64)
    if style < 0.8:  # a sampler that takes the nearest image of a camera
        return start + np.arange(count) + rng.uniform(0.0, 0.12, count)
    # a sampler that waits at least a second after the last frame taken
    return start + np.cumsum(np.ones(count) + rng.uniform(0.0, 0.12, count))


def render_clip(seed: int, frame_max_tokens: int, count: int = FRAMES, config: WorldConfig = USUAL) -> Clip:
    """Render a clip; the same arguments give the same pixels."""
    rng = np.random.default_rng([0x711, seed])
    times = sample_times(count, rng)
    world = make_world(seed, count, config)
    frames = np.stack([prepare(world.frame(float(t)), frame_max_tokens) for t in times])
    return Clip(seed, frames, times, world)


def make_world(seed: int, count: int = FRAMES, config: WorldConfig = USUAL) -> World:
    """The world of a clip; long enough for the slowest sampler."""
    return World(seed=seed, seconds=1.2 * count + 2.0, size=RENDER_SIZE, config=config)


def load_clips(
    seeds: range,
    frame_max_tokens: int,
    cache: Path | None,
    count: int = FRAMES,
    config: WorldConfig = USUAL,
) -> list[Clip]:
    """Render the clips of `seeds`, or read those that are already in the folder `cache`."""
    return list(_each_clip(seeds, frame_max_tokens, cache, count, config))


def _each_clip(
    seeds: range, frame_max_tokens: int, cache: Path | None, count: int, config: WorldConfig
) -> Iterator[Clip]:
    kind = "" if config == USUAL else f"-{crc32(repr(config).encode()):08x}"
    for seed in seeds:
        file = cache / f"{seed}-{frame_max_tokens}-{count}{kind}.npz" if cache else None
        if file is not None and file.is_file():
            stored = np.load(file)
            yield Clip(seed, stored["frames"], stored["times"], make_world(seed, count, config))
            continue
        clip = render_clip(seed, frame_max_tokens, count, config)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}.part")  # several runs may write to one cache
            with part.open("wb") as stream:
                np.savez(stream, frames=clip.frames, times=clip.times)
            part.replace(file)
        yield clip


def facts() -> tuple[str, ...]:
    """The facts that a frame can show, for the vision tower: usual queries, and objects' parts in events."""
    things = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    return all_queries() + tuple(f"{role} {thing}" for role in (HELD, TOUCH, "touched") for thing in things)


def frame_facts(clip: Clip) -> NDArray[np.float32]:
    """Which of `facts()` are true at each frame, (N, F) of 0 and 1."""
    index = {name: i for i, name in enumerate(facts())}
    table = np.zeros((len(clip.times), len(index)), np.float32)
    for event in clip.world.events:
        now = (clip.times >= event.start) & (clip.times <= event.end)
        if event.kind not in KINDS:
            continue
        names = [event.query]
        if event.kind == HELD:
            names.append(f"{HELD} {event.subject}")
        if touch := _TOUCH.fullmatch(event.text):
            names += [f"{TOUCH} {touch[1]}", f"touched {touch[2]}"]
        for name in names:
            table[now, index[name]] = 1.0
    return table
