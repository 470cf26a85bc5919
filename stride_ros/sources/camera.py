"""A V4L2 camera as a source."""

from __future__ import annotations

from collections.abc import Iterator

from stride_ros.sources.container import decoded, open_container
from stride_ros.sources.frames import SourceFrame, scaled, thinned


class CameraSource:
    """A V4L2 camera, at its own pace."""

    live = True
    events = ()
    notes = ()

    def __init__(self, device: str, rate: float, seconds: float, size: tuple[int, int]) -> None:
        self.name = device
        self._rate, self._seconds, self._size = rate, seconds, size
        self._container = open_container(device, format="v4l2", options=_camera_options(rate, size))

    def frames(self) -> Iterator[SourceFrame]:
        with self._container as container:
            for image, time in thinned(decoded(container, self.name), self._rate):
                if self._seconds and time >= self._seconds:
                    return
                yield SourceFrame(scaled(image, self._size), time)


def _camera_options(rate: float, size: tuple[int, int]) -> dict[str, str]:
    options = {"framerate": f"{rate:g}"}
    if all(size):
        options["video_size"] = f"{size[0]}x{size[1]}"
    return options
