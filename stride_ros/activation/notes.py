"""Sentences about what was odd in a stream of images: the node logs them, a replay lists them."""

from __future__ import annotations

import threading
from collections import Counter

from stride_ros.activation.clock import Reading
from stride_ros.errors import KeyFrameError

_MAX_OCCASIONS = 1000  # a node may run for years


class StreamNotes:
    """Counts odd images and records what happened to the stream.

    One thread may read the stamps while another decodes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._told: set[str] = set()  # kinds that were reported
        self._occasions: list[str] = []
        self._more = 0  # further occurrences
        self._images = 0
        self.unusable: Exception | None = None  # the first reason why an image could not be used

    @property
    def images(self) -> int:
        """Number of images so far."""
        return self._images

    def count(self, kind: str) -> int:
        """Number of images of a kind.

        Kinds are unusable, crowded, abandoned, late, missing, timeless, odd and foreign; "early" are the
        unusable images that came before a video's key frame.
        """
        return self._counts[kind]

    def received(self) -> None:
        """Count an image that arrived."""
        with self._lock:
            self._images += 1

    def read(self, reading: Reading) -> None:
        """Count what the clock says about an image."""
        with self._lock:
            if reading.is_foreign or reading.is_timeless:
                self._counts["foreign" if reading.is_foreign else "timeless"] += 1
                return
            self._counts["missing"] += reading.missing
            self._counts["odd"] += reading.odd - reading.confirmed

    def late(self) -> None:
        """Count an image that arrived out of order, or a second time."""
        with self._lock:
            self._counts["late"] += 1

    def reject(self, error: Exception) -> None:
        """Count an image that cannot be used."""
        with self._lock:
            self._counts["unusable"] += 1
            self._counts["early"] += isinstance(error, KeyFrameError)
            self.unusable = self.unusable or error

    def crowded(self, count: int) -> None:
        """Count images that came faster than they could be decoded."""
        with self._lock:
            self._images += count
            self._counts["crowded"] += count

    def abandoned(self, count: int) -> None:
        """Count images that were still in a video decoder when watching ended or restarted."""
        with self._lock:
            self._images += count
            self._counts["abandoned"] += count

    def happened(self, sentence: str) -> None:
        """Record what happened to the stream as a whole."""
        with self._lock:
            if len(self._occasions) < _MAX_OCCASIONS:
                self._occasions.append(sentence)
            else:
                self._more += 1

    def sentences(self) -> list[str]:
        """All sentences: what happened, in order, and one for each kind of image."""
        with self._lock:
            more = [f"The stream restarted {self._more} more times."] if self._more else []
            happened = [*self._occasions, *more]
        return happened + self.counts()

    def counts(self) -> list[str]:
        """One sentence for each kind of image."""
        with self._lock:
            return [self._sentence(kind) for kind in _KINDS if self._counts[kind]]

    def left_out(self) -> list[str]:
        """One sentence for each kind of image that was not used."""
        with self._lock:
            return [self._sentence(kind) for kind in _KINDS if kind not in _USED and self._counts[kind]]

    def news(self) -> list[str]:
        """The sentences about kinds of images that were first seen since the last call."""
        with self._lock:
            found = [kind for kind in _KINDS if self._counts[kind] and kind not in self._told]
            self._told.update(found)
            return [self._sentence(kind) for kind in found]

    def _sentence(self, kind: str) -> str:
        count = self._counts[kind]
        one, many = _KINDS[kind]
        told = (one if count == 1 else many).format(reason=self.unusable)
        return f"{count} of {self._images} images {told}"


_FOREIGN = "left out: other images on the topic follow another clock, as those of a second camera do."
_KINDS = {  # the rest of a sentence about one image, and about several
    "unusable": ("could not be used: {reason}",) * 2,
    "crowded": (
        "came faster than the video could be decoded and was skipped; lower the camera's rate or size.",
        "came faster than the video could be decoded and were skipped; lower the camera's rate or size.",
    ),
    "abandoned": (
        "was not decoded yet when watching ended or restarted and was skipped.",
        "were not decoded yet when watching ended or restarted and were skipped.",
    ),
    "late": (
        "came out of order or twice and was skipped.",
        "came out of order or twice and were skipped.",
    ),
    "missing": (
        "has no stamp; the time it was received was used.",
        "have no stamp; the times they were received were used.",
    ),
    "timeless": (
        "has no stamp and came before the clock had started; it was skipped.",
        "have no stamp and came before the clock had started; they were skipped.",
    ),
    "odd": (
        "has a stamp far from the others; the time it was received was used.",
        "have stamps far from the others; the times they were received were used.",
    ),
    "foreign": (f"was {_FOREIGN}", f"were {_FOREIGN}"),
}
_USED = ("missing", "odd")  # kinds of images that are used nevertheless
