"""End the reading of an image topic on which nothing but messages without a picture comes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stride_ros.bags.storage import BagMessage
from stride_ros.errors import FrameError, SourceError

MOST_BARREN = 100_000  # messages in a row without a picture: an hour of a camera that is broken
# One in this many is decoded to see whether it holds a picture; a prime, so that what alternates is seen.
_PROBED = 997


class Patience:
    """Counts messages since the last one with a picture.

    Those that are due are decoded by whoever reads them. Of the others some are probed: one in a thousand,
    and any that is longer than those that failed. After many pictures as many messages without one are put
    up with, so that the time that a recording takes stays in proportion to what it holds.
    """

    def __init__(self, topic: str, path: Path, probe: Callable[[BagMessage], object] | None = None) -> None:
        """`probe` raises FrameError for a message without a picture; None: all are decoded anyway."""
        self._name = f"{topic} of {path}"
        self._probe = probe
        self._seen = 0
        self._last = 0  # message with a picture, counted from 1
        self._longest = 0  # bytes of the probed ones that held no picture
        self._reason = ""

    def message(self, message: BagMessage) -> None:
        """A message came. SourceError when there were too many without a picture."""
        self._seen += 1
        barren = self._seen - self._last
        if barren < _PROBED:
            return
        if self._probe is not None and (barren % _PROBED == 0 or len(message.data) > self._longest):
            try:
                self._probe(message)
            except FrameError as error:
                self._longest = max(self._longest, len(message.data))
                self.failed(error)
            else:
                self.picture()
                return
        if barren > max(MOST_BARREN, self._last):
            raise SourceError(
                f"More than {barren - 1:,} messages in a row on {self._name} hold no picture that can be"
                f" used: {self._reason or 'record the camera again.'}"
            )

    def picture(self) -> None:
        """The newest message, or one shortly before it, has a picture."""
        self._last, self._longest = self._seen, 0

    def failed(self, error: FrameError) -> None:
        """A message has none."""
        self._reason = str(error)
