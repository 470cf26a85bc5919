"""Pictures for events: the frame at the onset, which may come before or after the span."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from stride_ros.activation.sampling import NANOSECONDS

_KEPT = 32  # thumbnails of each camera
_WANTED = 1000  # events of each camera that wait for theirs
_NEAR = 2 * NANOSECONDS  # ns from the onset that a frame may stand in for its own
_PATIENCE = 5 * NANOSECONDS  # ns by which frames are newer when its own is no longer waited for


@dataclass
class _Camera:
    kept: OrderedDict[int, bytes] = field(default_factory=OrderedDict)  # JPEG by stamp
    wanted: OrderedDict[str, int] = field(default_factory=OrderedDict)  # stamp by the event's key


class EventPictures:
    """Keeps the newest thumbnails of each camera, and calls `found(key, jpeg)` for events that want one."""

    def __init__(self, found: Callable[[str, bytes], None]) -> None:
        self._found = found
        self._cameras: dict[str, _Camera] = {}

    @property
    def wanted(self) -> int:
        """Number of events that wait for their frame."""
        return sum(len(camera.wanted) for camera in self._cameras.values())

    def frame(self, name: str, stamp: int, jpeg: bytes) -> None:
        """A frame of a camera came, as a thumbnail."""
        camera = self._cameras.setdefault(name, _Camera())
        camera.kept[stamp] = jpeg
        while len(camera.kept) > _KEPT:
            camera.kept.popitem(last=False)
        for key, wanted in list(camera.wanted.items()):
            if wanted == stamp or abs(stamp - wanted) > _PATIENCE:
                del camera.wanted[key]
                self._give(camera, key, wanted)

    def want(self, name: str, stamp: int, key: str) -> None:
        """An event began at the frame with this stamp."""
        camera = self._cameras.setdefault(name, _Camera())
        if stamp in camera.kept:
            self._found(key, camera.kept[stamp])
            return
        camera.wanted[key] = stamp
        while len(camera.wanted) > _WANTED:
            camera.wanted.popitem(last=False)

    def _give(self, camera: _Camera, key: str, wanted: int) -> None:
        nearest = min(camera.kept, key=lambda stamp: abs(stamp - wanted))
        if abs(nearest - wanted) <= _NEAR:
            self._found(key, camera.kept[nearest])
