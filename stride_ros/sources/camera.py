"""A V4L2 camera as a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stride_ros.errors import SourceError
from stride_ros.sources.container import choose_stream, open_container
from stride_ros.sources.frames import SourceFrame, scaled
from stride_ros.sources.pictures import ReadingLog, clock_of, pictures

if TYPE_CHECKING:
    from stride_ros.world import WorldEvent


class CameraSource:
    """A V4L2 camera, at its own rate."""

    live = True
    own_rate: float | None = None
    events: tuple[WorldEvent, ...] = ()

    def __init__(self, device: str, rate: float, seconds: float, size: tuple[int, int]) -> None:
        self.name = device
        self.notes: Sequence[str] = ()
        self._rate, self._seconds, self._size = rate, seconds, size
        self._container = open_container(device, format="v4l2", options=_camera_options(rate, size))

    def frames(self) -> Iterator[SourceFrame]:
        log, due = ReadingLog(self.name), 0.0
        with self._container as container:
            stream = choose_stream(container)
            try:
                for picture in pictures(container, stream, clock_of(container, stream), log):
                    if self._seconds and picture.time >= self._seconds:
                        return
                    if picture.time + 1e-6 < due:
                        continue
                    due = max(due + 1 / self._rate, picture.time)
                    yield SourceFrame(scaled(picture.rgb(), self._size), picture.time)
            finally:
                self.notes = log.notes()
        if not log.pictures:
            raise SourceError(
                f"{self.name} sends no pictures ({log.reason}); check the camera and its cable."
            )


def _camera_options(rate: float, size: tuple[int, int]) -> dict[str, str]:
    options = {"framerate": f"{rate:g}"}
    if all(size):
        options["video_size"] = f"{size[0]}x{size[1]}"
    return options
