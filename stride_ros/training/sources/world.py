"""The synthetic world as training data: unlimited clips, drawn as needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stride_ros.training.samples import Event
from stride_ros.training.sources.recording import Recording
from stride_ros.world import World

CLIP_SECONDS = 90.0
SIZE = (320, 240)  # (width, height)
NEGATIVES = 2  # queries per clip without events


class WorldVideo:
    """One clip of the world as a video (see recording.Video)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.name = f"world {world.seed}"
        self.start, self.end = 0.0, world.seconds

    def read(self, times: Sequence[float]) -> tuple[list[NDArray[np.uint8]], list[float]]:
        """Frames exactly at `times` (s)."""
        return [self._world.frame(time) for time in times], list(times)


def world_recordings(
    seed: int, clips: int, seconds: float = CLIP_SECONDS, size: tuple[int, int] = SIZE
) -> Iterator[Recording]:
    """All queries of `clips` clips from `seed` on, and a few without events in their clip."""
    for number in range(seed, seed + clips):
        world = World(seed=number, seconds=seconds, size=size)
        video = WorldVideo(world)
        for query in world.queries:
            events = tuple(Event(event.start, event.end, event.text) for event in world.events_for(query))
            yield Recording(video, (query,), events)
        rng = np.random.default_rng([0x4E, number])
        absent = world.negative_queries
        for index in rng.permutation(len(absent))[:NEGATIVES]:
            yield Recording(video, (absent[int(index)],), ())
