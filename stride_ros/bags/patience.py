"""Stop reading an image topic on which only messages without pictures arrive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stride_ros.bags.storage import BagMessage
from stride_ros.errors import FrameError, SourceError

MOST_BARREN = 100_000  # messages in a row without a picture: an hour of a broken camera
# One in this many is decoded to check for a picture; a prime, so that alternating messages are all seen.
_PROBED = 997


class Patience:
    """Counts messages since the last one with a picture.

    Due messages are decoded by the reader. Some of the others are probed: one in a thousand, and any that is
    longer than those that failed. After many pictures, as many messages without one are tolerated, so that
    the reading time stays proportional to the content.
    """

    def __init__(self, topic: str, path: Path, probe: Callable[[BagMessage], object] | None = None) -> None:
        """`probe` raises FrameError for a message without a picture; None if all are decoded anyway."""
        self._name = f"{topic} of {path}"
        self._probe = probe
        self._seen = 0
        self._last = 0  # number of the last message with a picture, counted from 1
        self._longest = 0  # maximum bytes of probed messages without a picture
        self._reason = ""

    def message(self, message: BagMessage) -> None:
        """Count a message. SourceError if there were too many without a picture."""
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
                f"More than {barren - 1:,} messages in a row on {self._name} contain no usable picture: "
                f"{self._reason or 'record the camera again.'}"
            )

    def picture(self) -> None:
        """Note that the newest message, or one shortly before it, has a picture."""
        self._last, self._longest = self._seen, 0

    def failed(self, error: FrameError) -> None:
        """Note that a message has no picture."""
        self._reason = str(error)
