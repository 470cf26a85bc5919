"""One rule for the times of images: what counts as the stamp of each, and where a clock was set.

The node and every reader of a recording judge stamps by it, beside the time at which each image was received:
by the robot's clock, or by the log of the recording, which is when its recorder received it.
"""

from __future__ import annotations

from dataclasses import dataclass

from stride_ros.activation.cameras import Cameras
from stride_ros.activation.sampling import NANOSECONDS, REORDER_TOLERANCE_NS

# Stamps and times of receipt may differ by this much more or less from one image to the next: cameras and
# networks are late, but not by a minute. It is longer than an activation window: nothing open spans it.
JUMP = 60 * NANOSECONDS
# A step of the times of receipt that is longer than this is not a pause: the clock that tells them was set.
LONGEST_PAUSE = 86_400 * NANOSECONDS
_USUAL_STEP = NANOSECONDS  # between images where the times of receipt do not say
_END = 2**31 * NANOSECONDS  # of what a ROS 2 stamp can say


@dataclass(frozen=True)
class Jump:
    """The clock was set: `by` ns forward (negative: back) between two images that are `step` ns apart."""

    by: int
    step: int

    def __str__(self) -> str:
        if self.by < 0:
            return f"the clock went back by {-(self.by + self.step) / 1e9:.1f} s"
        return f"the clock went forward by {self.by / 1e9:.1f} s"


@dataclass(frozen=True)
class Reading:
    """What counts as an image's stamp (ns), and whether the clock was set before it.

    `time`: ns since the first image, counted on where the clock was set. `received`: ns. `missing`: it has no
    usable stamp, the time of receipt is taken. `odd`: its stamp is far from those before it; what the times
    of receipt say replaces it. `confirmed`: as was that of the image before, but this one shows that the
    clock was set. `is_foreign`: it is of another camera than the one that is followed. `is_timeless`: it has
    no stamp, and the clock that tells the time of receipt has not started. Of these two nothing else holds.
    """

    stamp: int
    time: int
    received: int
    jump: Jump | None = None
    missing: bool = False
    odd: bool = False
    confirmed: bool = False
    is_foreign: bool = False
    is_timeless: bool = False


class ImageClock:
    """Reads the stamps of one stream of images in the order in which they were received.

    A stamp that departs from the times of receipt by more than JUMP is doubted: only when the next one
    departs by as much has the clock been set. So one wrong stamp changes nothing, and no image is held back.
    Where several cameras with clocks of their own are on one topic, one of them is followed.
    """

    def __init__(self) -> None:
        self._cameras = Cameras()
        self.reset()

    def reset(self) -> None:
        """Take the next image as the first one."""
        self._cameras.reset()
        self._begun = False
        self._stamp = self._received = 0  # of the newest image
        self._shift = 0  # from stamps to times
        self._lead = 0  # most that stamps have been ahead of the times of receipt since the clock was set
        self._doubted: int | None = None  # how far a doubted stamp is ahead of the time of receipt
        self._interval = 0  # usual ns between stamps; 0: not known
        self._steps = self._waits = 0  # ns between recent stamps, and between their times of receipt; faded
        self._is_regular = False  # whether the newest image came with a newer stamp of its own

    @property
    def cameras_differ(self) -> bool:
        """Whether images of several clocks arrive, of which one is followed."""
        return self._cameras.differ

    def is_back(self, stamp: int) -> bool:
        """Whether a stamp (ns) is older than those before by more than images get out of order."""
        return self._cameras.is_back(stamp)

    def read(self, stamp: int, received: int) -> Reading:
        """Judge the next image by its stamp and its time of receipt in ns."""
        missing, waited = not 0 < stamp < _END, received - self._received
        if missing:
            if received <= 0:
                return Reading(0, 0, received, missing=True, is_timeless=True)
            # However far the camera's clock is from that which tells the times of receipt.
            if self._begun and 0 <= waited <= LONGEST_PAUSE:
                return self._reading(self._stamp + self._elapsed(waited), received, None, missing)
            stamp = min(received, _END - 1)
        elif not self._cameras.accepts(stamp, received):
            return Reading(stamp, 0, received, is_foreign=True)
        if not self._begun:
            self._begun, self._shift, self._lead = True, stamp, stamp - received
            return self._reading(stamp, received, None, missing)
        ahead, step = stamp - received, stamp - self._stamp
        told = 0 < waited <= LONGEST_PAUSE  # whether the times of receipt say how much later this image is
        if told:
            forward = step - waited > JUMP and ahead > self._lead + JUMP
            known = self._doubted is not None and abs(ahead - self._doubted) <= JUMP
            if (forward or step < -JUMP) and not (known or self._cameras.is_switch):
                self._doubted = ahead
                # A step of less than a day may be that of a bag that loops: if it is played fast, such an
                # image is left out, and the next one tells.
                elapsed = self._elapsed(waited) if abs(step) > LONGEST_PAUSE else waited
                return self._reading(self._stamp + elapsed, received, None, missing, odd=True)
        else:
            forward, known = step > LONGEST_PAUSE, False
        self._doubted = None
        if forward or step <= -REORDER_TOLERANCE_NS:
            later = self._elapsed(waited) if told else _USUAL_STEP
            jump = Jump(step - later, later)
            self._shift += jump.by
            self._lead = ahead
            return self._reading(stamp, received, jump, missing, confirmed=known)
        self._lead = max(self._lead, ahead)
        self._learn(step, waited)
        return self._reading(stamp, received, None, missing)

    def _learn(self, step: int, waited: int) -> None:
        if self._is_regular and step > 0:
            # A pause makes no slow camera.
            self._interval = min(step, self._interval * 5 // 4 or step)
            self._steps = self._steps * 9 // 10 + step
            self._waits = self._waits * 9 // 10 + waited

    def _elapsed(self, waited: int) -> int:
        """How much later (ns) an image is than the newest one, without its stamp.

        A bag that is played fast, without /clock, has images that are further apart than the times of receipt
        say; their usual interval tells more then, except after a pause.
        """
        is_fast = self._waits < self._steps // 2
        return self._interval if is_fast and waited < 4 * self._interval else waited

    def _reading(
        self,
        stamp: int,
        received: int,
        jump: Jump | None,
        missing: bool,
        odd: bool = False,
        confirmed: bool = False,
    ) -> Reading:
        self._is_regular = not (missing or odd) and (jump is not None or stamp > self._stamp)
        # An image that comes out of order does not set the stream back.
        self._stamp = max(self._stamp, stamp) if jump is None else stamp
        self._received = received
        return Reading(stamp, stamp - self._shift, received, jump, missing, odd, confirmed)
