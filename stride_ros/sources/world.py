"""The synthetic world as a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stride_ros.sources.frames import SourceFrame


class WorldSource:
    """The synthetic table top with ground truth."""

    live = False
    own_rate: float | None = None
    notes: Sequence[str] = ()

    def __init__(self, seed: int, seconds: float, rate: float, size: tuple[int, int]) -> None:
        from stride_ros.world import World

        self._world = World(seed, seconds, (size[0] or 640, size[1] or 480), rate)
        self.name = f"world {seed}"
        self.events = self._world.events

    def frames(self) -> Iterator[SourceFrame]:
        for i in range(int(self._world.seconds * self._world.fps) + 1):
            time = i / self._world.fps
            yield SourceFrame(self._world.frame(time), time)
