"""A recording as a source."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stride_ros.activation.notes import StreamNotes
from stride_ros.bags.reader import BagReader
from stride_ros.errors import SourceError
from stride_ros.sources.frames import SourceFrame, scaled

if TYPE_CHECKING:
    from stride_ros.world import WorldEvent


class BagSource:
    """The images of one topic of a bag, at the times of their stamps, reduced to `rate`."""

    live = False
    events: tuple[WorldEvent, ...] = ()

    def __init__(
        self,
        path: Path,
        rate: float,
        seconds: float,
        size: tuple[int, int],
        image_topic: str | None,
        topic_option: str,
    ) -> None:
        self.name = str(path)
        self.notes: list[str] = []
        self._rate, self._seconds, self._size = rate, seconds, size
        self._topic, self._option = image_topic, topic_option
        # A bag that cannot be read fails now instead of later in a thread; the first reader continues with
        # it.
        self._opened: BagReader | None = self._open()
        self._unused = weakref.finalize(self, self._opened.close)
        self.own_rate = self._opened.rate

    def frames(self) -> Iterator[SourceFrame]:
        notes, shown = StreamNotes(), False
        with self._take() as bag:
            try:
                for image, time in bag.frames(self._rate, notes):
                    if self._seconds and time >= self._seconds:
                        return
                    shown = True
                    yield SourceFrame(scaled(image, self._size), time)
            finally:
                self.notes = [*bag.notes, *notes.sentences()]
        if not shown:
            reason = notes.unusable or "it contains no complete picture."
            raise SourceError(f"No image on {bag.image.topic} of {self.name} can be used: {reason}")

    def _take(self) -> BagReader:
        bag, self._opened = self._opened, None
        self._unused.detach()
        return bag or self._open()

    def _open(self) -> BagReader:
        return BagReader(self.name, self._topic, option=self._option)
