"""One event as the log keeps it."""

from __future__ import annotations

from dataclasses import dataclass

OPEN, OFFSET, RETRACTED = "open", "offset", "retracted"  # as in the record of a run


@dataclass(frozen=True)
class Pose:
    """Where the robot was: position in m and orientation (x, y, z, w) in `frame` at the time `stamp_ns`."""

    frame: str
    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]
    stamp_ns: int = 0


@dataclass(frozen=True)
class Event:
    """One event of one watch on one camera. Times are ns on the clock of the images.

    `key`: unique in the log; an event that is put again under its key replaces the former one. `origin`:
    the recording, as its path was given, or the robot. `camera`: empty where there is one without a name.
    `end_ns`: None while the event goes on; an open one with an end is over, but nobody saw it end.
    `confidence`: 0 to 1. `sentence`: the final commentary. `onset_ns`: stamp of the frame at which the
    trigger was met. `latest_ns`: the end as far as it was known. `stamp_ns`: of the newest frame that a
    decision about it saw. `first_ns`: stamp of the first image of the recording, from which its times are
    counted. `model`: what decided; `speaker`: what wrote the sentence. `status`: "ok", "error" or "skipped"
    as soon as there is a final answer, and `error` says why. `shown_ns`: stamps of the frames that the
    speaker was shown.
    """

    key: str
    span_id: int
    watch: str
    camera: str
    query: str
    origin: str
    start_ns: int
    end_ns: int | None
    confidence: float
    state: str
    sentence: str = ""
    has_picture: bool = False
    pose: Pose | None = None
    onset_ns: int | None = None
    latest_ns: int | None = None
    stamp_ns: int | None = None
    first_ns: int | None = None
    frame_id: str = ""
    model: str = ""
    respond: bool = True
    status: str = ""
    error: str = ""
    speaker: str = ""
    shown_ns: tuple[int, ...] = ()

    @property
    def known_end_ns(self) -> int:
        """The end, or how far it was known while nobody saw it end."""
        if self.end_ns is not None:
            return self.end_ns
        return self.latest_ns if self.latest_ns is not None else self.start_ns


def event_key(origin: str, camera: str, watch: str, span_id: int) -> str:
    """The key of an event: span ids are unique for one watch on one camera of one recording or robot."""
    return f"{origin}/{camera}/{watch}/{span_id}"
