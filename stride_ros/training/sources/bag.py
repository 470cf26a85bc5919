"""A rosbag as training data, so that a model learns the events of a user's own robot."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.intake import Intake
from stride_ros.bags.reader import BagReader
from stride_ros.errors import FrameError, SourceError

CACHE_BYTES = 1 << 30  # bytes of decoded images


class ImageCache:
    """Decoded images of several recordings, the least recently used of which are dropped."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        """`limit`: bytes that all images may have together; the newest one is always kept."""
        self._limit, self._bytes = limit, 0
        self._images: OrderedDict[tuple[str, int], NDArray[np.uint8]] = OrderedDict()

    def get(self, key: tuple[str, int]) -> NDArray[np.uint8] | None:
        """The image with this key (recording, number), or None."""
        image = self._images.get(key)
        if image is not None:
            self._images.move_to_end(key)
        return image

    def put(self, key: tuple[str, int], image: NDArray[np.uint8]) -> None:
        """Keep an image that is not there yet."""
        self._images[key] = image
        self._bytes += image.nbytes
        while self._bytes > self._limit and len(self._images) > 1:
            self._bytes -= self._images.popitem(last=False)[1].nbytes


class BagVideo:
    """The images of one topic (see recording.Video); times are in s from its first image, by header stamp.

    `topic` None takes the only image topic. `until` (s) leaves out what follows, of `whole` s. `cache` may
    serve several bags. `notes` say what is odd about the bag, `unusable` how many images were left out.
    SourceError when bag or topic cannot be used.
    """

    def __init__(
        self,
        path: Path,
        topic: str | None = None,
        until: float | None = None,
        cache: ImageCache | None = None,
    ) -> None:
        self.path = path
        times: list[int] = []
        logged: list[int] = []
        intake = Intake(rate=1.0)  # only its clock is used: every image has its time
        with BagReader(path, topic) as bag:
            self.topic = bag.image.topic
            for message, reading in bag.images(intake, packets=True):
                times.append(reading.time)
                logged.append(message.log_time)
            self.notes = [*bag.notes, *intake.notes.sentences()]
        self.name = f"{path} {self.topic}"
        if not times:
            raise SourceError(
                f"No image on {self.topic} in {path} can be used; choose a different topic or bag."
            )
        # Samples of a recording overlap: decoding images again would take most of the training time.
        self._cache = cache if cache is not None else ImageCache()
        order = np.argsort(times, kind="stable")
        self._times = (np.array(times)[order] - min(times)) / 1e9
        self._logged = np.array(logged)[order]
        self._bad: dict[int, FrameError] = {}
        self.whole = float(self._times[-1])
        self.start, self.end = 0.0, self.whole if until is None else min(until, self.whole)

    def read(self, times: Sequence[float]) -> tuple[list[NDArray[np.uint8]], list[float]]:
        """The images nearest to `times` (s), each at most once; undecodable ones are left out.

        FrameError if none is left.
        """
        nearest = np.abs(self._times[:, None] - np.asarray(times)[None, :]).argmin(axis=0)
        indices: list[int] = list(dict.fromkeys(nearest.tolist()))
        cached = {index: self._cache.get((self.name, index)) for index in indices}
        images = {index: image for index, image in cached.items() if image is not None}
        decoded = self._decode([index for index in indices if index not in images])
        for index, image in decoded.items():
            self._cache.put((self.name, index), image)
        images |= decoded
        indices = [index for index in indices if index in images]
        if not indices:
            raise next(iter(self._bad.values()))
        return [images[index] for index in indices], [float(self._times[index]) for index in indices]

    @property
    def unusable(self) -> list[str]:
        """A sentence about requested images that were left out so far; empty if there are none."""
        bad = list(self._bad.values())
        return [f"{len(bad)} images of {self.name} could not be used: {bad[0]}"] if bad else []

    def _decode(self, indices: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        images: dict[int, NDArray[np.uint8]] = {}
        indices = [index for index in indices if index not in self._bad]
        if not indices:
            return images
        with BagReader(self.path, self.topic) as bag:
            found = bag.images_at({int(self._logged[index]) for index in indices})
        for index in indices:
            image = found[int(self._logged[index])]
            if isinstance(image, FrameError):
                self._bad[index] = image
            else:
                images[index] = np.ascontiguousarray(image)
        return images
