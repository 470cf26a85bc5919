"""Pictures for events: the frame at the onset, which may arrive before or after the span."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from stride_ros.activation.sampling import NANOSECONDS

_KEPT = 32  # thumbnails of each camera
_WANTED = 1000  # waiting events of each camera
_NEAR = 2 * NANOSECONDS  # maximum ns from the onset at which another frame may stand in
_PATIENCE = 5 * NANOSECONDS  # ns after the onset at which its own frame is no longer waited for


@dataclass
class _Camera:
    kept: OrderedDict[int, bytes] = field(default_factory=OrderedDict)  # JPEG by stamp
    wanted: OrderedDict[str, int] = field(default_factory=OrderedDict)  # stamp by the event's key


class EventPictures:
    """Keeps the newest thumbnails of each camera, and calls `found(key, jpeg)` for waiting events."""

    def __init__(self, found: Callable[[str, bytes], None]) -> None:
        self._found = found
        self._cameras: dict[str, _Camera] = {}

    @property
    def wanted(self) -> int:
        """Number of events that are waiting for their frame."""
        return sum(len(camera.wanted) for camera in self._cameras.values())

    def frame(self, name: str, stamp: int, jpeg: bytes) -> None:
        """Take the thumbnail of a camera's frame."""
        camera = self._cameras.setdefault(name, _Camera())
        camera.kept[stamp] = jpeg
        while len(camera.kept) > _KEPT:
            camera.kept.popitem(last=False)
        for key, wanted in list(camera.wanted.items()):
            if wanted == stamp or abs(stamp - wanted) > _PATIENCE:
                del camera.wanted[key]
                self._give(camera, key, wanted)

    def want(self, name: str, stamp: int, key: str) -> None:
        """Look for the picture of an event that began at the frame with this stamp."""
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
