"""The stamps of a recorded stream beside its log times: missing or wrong ones, clocks that were set."""

from __future__ import annotations

from dataclasses import dataclass

from stride_ros.activation.sampling import NANOSECONDS, REORDER_TOLERANCE_NS

# Stamps and log times may differ by this much more or less from one image to the next: cameras and networks
# are late, but not by a minute. It is longer than an activation window, so that nothing open spans it.
JUMP = 60 * NANOSECONDS
# A step of the log that is longer than this is no pause of a recording: its clock was set.
LONGEST_PAUSE = 86_400 * NANOSECONDS
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

    `time`: ns since the first image, counted on where the clock was set. `missing`: it has no usable stamp,
    the log time is taken. `odd`: its stamp is far from those before it; what the log says replaces it.
    `confirmed`: as was that of the image before, but this one shows that the clock was set.
    """

    stamp: int
    time: int
    jump: Jump | None = None
    missing: bool = False
    odd: bool = False
    confirmed: bool = False


class StampClock:
    """Reads the stamps of one stream in the order of its log.

    A stamp that departs from the log by more than JUMP is doubted: only when the next one departs by as much
    has the clock been set. So one wrong stamp changes nothing, and no image has to be held back.
    """

    def __init__(self, period: int = NANOSECONDS) -> None:
        """`period`: ns between images where the log does not say."""
        self._period = period
        self._begun = False
        self._stamp = self._log_time = 0  # of the newest image
        self._shift = 0  # from stamps to times
        self._lead = 0  # most that stamps have been ahead of the log since the clock was set
        self._doubted: int | None = None  # how far a doubted stamp is ahead of the log

    def read(self, stamp: int, log_time: int) -> Reading:
        """Judge the next image by its stamp and log time in ns."""
        missing = not 0 < stamp < _END
        if missing:
            stamp = min(max(log_time, 0), _END - 1)
        if not self._begun:
            self._begun, self._shift, self._lead = True, stamp, stamp - log_time
            return self._reading(stamp, log_time, None, missing)
        ahead, step, waited = stamp - log_time, stamp - self._stamp, log_time - self._log_time
        told = 0 < waited <= LONGEST_PAUSE  # whether the log says how much later this image is
        if told:
            forward = step - waited > JUMP and ahead > self._lead + JUMP
            known = self._doubted is not None and abs(ahead - self._doubted) <= JUMP
            if (forward or step < -JUMP) and not known:
                self._doubted = ahead
                return self._reading(self._stamp + waited, log_time, None, missing, odd=not missing)
        else:
            forward, known = step > LONGEST_PAUSE, False
        self._doubted = None
        if forward or step < -REORDER_TOLERANCE_NS:
            later = waited if told else self._period
            jump = Jump(step - later, later)
            self._shift += jump.by
            self._lead = ahead
            return self._reading(stamp, log_time, jump, missing, confirmed=known)
        self._lead = max(self._lead, ahead)
        return self._reading(stamp, log_time, None, missing)

    def _reading(
        self,
        stamp: int,
        log_time: int,
        jump: Jump | None,
        missing: bool,
        odd: bool = False,
        confirmed: bool = False,
    ) -> Reading:
        # An image that comes out of order does not set the stream back.
        self._stamp = max(self._stamp, stamp) if jump is None else stamp
        self._log_time = log_time
        return Reading(stamp, stamp - self._shift, jump, missing, odd, confirmed)


class Tally:
    """Counts what was odd about the images of a recording, to be told at the end."""

    def __init__(self) -> None:
        self.images = self.late = self.missing = self.odd = 0
        self.bad: list[Exception] = []
        self.jumps: list[str] = []  # where the clock was set

    def read(self, reading: Reading) -> None:
        """Count what a clock said about an image."""
        self.missing += reading.missing
        self.odd += reading.odd - reading.confirmed

    def notes(self) -> list[str]:
        """One sentence for each kind."""
        notes = [f"{jump}; times count on from there." for jump in self.jumps]
        if self.bad:
            notes.append(f"{self._of(len(self.bad))} could not be used: {self.bad[0]}")
        if self.late:
            notes.append(f"{self._of(self.late)} came out of order or twice and {_be(self.late)} skipped.")
        if self.missing:
            have = "has" if self.missing == 1 else "have"
            notes.append(f"{self._of(self.missing)} {have} no stamp; the log time was used.")
        if self.odd:
            have = "has a stamp" if self.odd == 1 else "have stamps"
            notes.append(f"{self._of(self.odd)} {have} far from the others; the log time was used.")
        return notes

    def _of(self, count: int) -> str:
        return f"{count} of {self.images} images"


def _be(count: int) -> str:
    return "was" if count == 1 else "were"
