"""The one rule for the times of images: what counts as each image's stamp, and when a clock was set.

The node and every reader of a recording compare each stamp with the time at which the image was received: by
the robot's clock, or by the log time of the recording, which is when its recorder received it.
"""

from __future__ import annotations

from dataclasses import dataclass

from stride_ros.activation.cameras import Cameras
from stride_ros.activation.sampling import NANOSECONDS, REORDER_TOLERANCE_NS

# The difference between stamp and time of receipt may change by this much from one image to the next: cameras
# and networks are late, but not by a minute. It is longer than an activation window, so no open span outlasts
# it.
JUMP = 60 * NANOSECONDS
# A step between times of receipt that is longer than this is not a pause: their clock was set.
LONGEST_PAUSE = 86_400 * NANOSECONDS
_USUAL_STEP = NANOSECONDS  # between images, where the times of receipt do not tell
_END = 2**31 * NANOSECONDS  # limit of what a ROS 2 stamp can hold


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
    """What counts as an image's stamp (ns), and whether the clock was set just before it.

    `time`: ns since the first image, continuing where the clock was set. `received`: ns. `missing`: it has no
    usable stamp; the time of receipt is used. `odd`: its stamp is far from those before it, and is replaced
    by what the times of receipt say. `confirmed`: the previous image's stamp was odd, too, but this one shows
    that the clock was set. `is_foreign`: it belongs to another camera than the followed one. `is_timeless`:
    it has no stamp, and the clock of the times of receipt has not started. For the last two, no other field
    is valid.
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

    A stamp that departs from the times of receipt by more than JUMP is doubted: the clock was set only if the
    next one departs by as much. So one wrong stamp changes nothing, and no image is held back. Where several
    cameras with different clocks share a topic, one of them is followed.
    """

    def __init__(self) -> None:
        self._cameras = Cameras()
        self.reset()

    def reset(self) -> None:
        """Treat the next image as the first one."""
        self._cameras.reset()
        self._begun = False
        self._stamp = self._received = 0  # of the newest image
        self._shift = 0  # offset from stamps to times
        self._lead = 0  # the most by which stamps were ahead of the times of receipt since the clock was set
        self._doubted: int | None = None  # by how much a doubted stamp is ahead of its time of receipt
        self._interval = 0  # usual ns between stamps; 0: not known
        self._steps = self._waits = 0  # ns between recent stamps, and their times of receipt; decaying
        self._is_regular = False  # whether the newest image had a newer stamp of its own

    @property
    def cameras_differ(self) -> bool:
        """Whether images from several clocks arrive, of which one is followed."""
        return self._cameras.differ

    def is_back(self, stamp: int) -> bool:
        """Whether a stamp (ns) is older than those before by more than reordering explains."""
        return self._cameras.is_back(stamp)

    def read(self, stamp: int, received: int) -> Reading:
        """Judge the next image by its stamp and its time of receipt in ns."""
        missing, waited = not 0 < stamp < _END, received - self._received
        if missing:
            if received <= 0:
                return Reading(0, 0, received, missing=True, is_timeless=True)
            # However far the camera's clock is from the clock of the times of receipt.
            if self._begun and 0 <= waited <= LONGEST_PAUSE:
                return self._reading(self._stamp + self._elapsed(waited), received, None, missing)
            stamp = min(received, _END - 1)
        elif not self._cameras.accepts(stamp, received):
            return Reading(stamp, 0, received, is_foreign=True)
        if not self._begun:
            self._begun, self._shift, self._lead = True, stamp, stamp - received
            return self._reading(stamp, received, None, missing)
        ahead, step = stamp - received, stamp - self._stamp
        told = 0 < waited <= LONGEST_PAUSE  # whether the times of receipt tell how much later this image is
        if told:
            forward = step - waited > JUMP and ahead > self._lead + JUMP
            known = self._doubted is not None and abs(ahead - self._doubted) <= JUMP
            if (forward or step < -JUMP) and not (known or self._cameras.is_switch):
                self._doubted = ahead
                # A step of less than a day may come from a looping bag: if it is played fast, such an image
                # is left out, and the next one decides.
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
            # A pause does not make the camera a slow one.
            self._interval = min(step, self._interval * 5 // 4 or step)
            self._steps = self._steps * 9 // 10 + step
            self._waits = self._waits * 9 // 10 + waited

    def _elapsed(self, waited: int) -> int:
        """How much later (ns) an image is than the newest one, without its stamp.

        In a bag that is played fast without /clock, images are further apart than the times of receipt say;
        their usual interval then tells more, except after a pause.
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
        # An image that arrives out of order does not set the stream back.
        self._stamp = max(self._stamp, stamp) if jump is None else stamp
        self._received = received
        return Reading(stamp, stamp - self._shift, received, jump, missing, odd, confirmed)
