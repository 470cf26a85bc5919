"""The first part of a frame's path: judge the stamp of each image, and choose the frames that are due.

It needs only the stamps, so that only due images are ever decoded. A node runs it where images arrive, a
replay where it reads them; `stride_ros.activation.frame_path` takes the frames it chooses.
"""

from __future__ import annotations

import struct

from stride_ros.activation.clock import ImageClock, Reading
from stride_ros.activation.notes import StreamNotes
from stride_ros.activation.sampling import NANOSECONDS, Sampler, Verdict
from stride_ros.errors import FrameError


def cdr_stamp(data: bytes) -> int:
    """The header stamp (ns) of a serialised image, read without deserialising it; FrameError if cut off."""
    try:
        # Four bytes of encapsulation, the second of which gives the byte order, then the stamp.
        seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    except (struct.error, IndexError) as error:
        raise FrameError("An image message is cut off; check its publisher or recorder.") from error
    return int(seconds) * NANOSECONDS + int(nanoseconds)


class Intake:
    """Takes the images of one stream, in the order in which they were received."""

    def __init__(self, rate: float, notes: StreamNotes | None = None) -> None:
        """`rate`: frames to choose per second, may be set at any time; `notes`: records what is odd."""
        self.notes = notes or StreamNotes()
        self._sampler = Sampler(rate)
        self._clock = ImageClock()

    @property
    def rate(self) -> float:
        """Frames to choose per second."""
        return self._sampler.rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._sampler.rate = rate

    @property
    def cameras_differ(self) -> bool:
        """Whether images from several clocks arrive, of which one is followed."""
        return self._clock.cameras_differ

    def reset(self) -> None:
        """Treat the next image as the first one."""
        self._clock.reset()
        self._sampler.reset()

    def is_back(self, stamp: int) -> bool:
        """Whether a stamp (ns) is older than those before by more than reordering explains."""
        return self._clock.is_back(stamp)

    def read(self, stamp: int, received: int) -> Reading | None:
        """Judge an image by its stamp and its time of receipt in ns; None for one that must be left out."""
        self.notes.received()
        reading = self._clock.read(stamp, received)
        self.notes.read(reading)
        return None if reading.is_foreign or reading.is_timeless else reading

    def reject(self, error: Exception) -> None:
        """Count an image whose stamp cannot be read."""
        self.notes.received()
        self.notes.reject(error)

    def is_due(self, reading: Reading) -> bool:
        """Whether to use an image that was read; the first one after a clock was set is due."""
        if reading.jump is not None:
            self._sampler.reset()
        verdict = self._sampler.offer(reading.stamp)
        if verdict in (Verdict.LATE, Verdict.DUPLICATE):
            self.notes.late()
        return verdict is Verdict.KEEP
