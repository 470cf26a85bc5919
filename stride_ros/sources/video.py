"""A video file as a source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stride_ros.sources.container import decoded, open_container
from stride_ros.sources.frames import SourceFrame, scaled, thinned


class VideoSource:
    """A video file: every frame at its own time, thinned to `rate`."""

    live = False
    events = ()
    notes = ()

    def __init__(self, path: Path, rate: float, seconds: float, size: tuple[int, int]) -> None:
        self.name = str(path)
        self._rate, self._seconds, self._size = rate, seconds, size
        open_container(self.name).close()  # a file that cannot be read fails now, not in a thread later

    def frames(self) -> Iterator[SourceFrame]:
        with open_container(self.name) as container:
            for image, time in thinned(decoded(container, self.name), self._rate):
                if self._seconds and time >= self._seconds:
                    return
                yield SourceFrame(scaled(image, self._size), time)
