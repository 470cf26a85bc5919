"""One event of the log."""

from __future__ import annotations

from dataclasses import dataclass, replace

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

    `key`: unique in the log; an event put again under its key replaces the previous one. `origin`: the
    recording, by its path as given, or the robot. `camera`: empty for a single unnamed camera. `end_ns`: None
    while the event is going on; an open event with an end is over, but its end was not seen. `confidence`: 0
    to 1. `sentence`: the final commentary. `onset_ns`: stamp of the frame at which the trigger was met.
    `latest_ns`: the end as far as known. `stamp_ns`: stamp of the newest frame that a decision about it saw.
    `first_ns`: stamp of the first image of the recording, from which its times count. `model`: the model that
    decided; `speaker`: the model that wrote the sentence. `status`: "ok", "error" or "skipped" once there is
    a final answer; `error` says why. `shown_ns`: stamps of the frames that the speaker was shown.
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
        """The end, or as far as it is known if the end was not seen."""
        if self.end_ns is not None:
            return self.end_ns
        return self.latest_ns if self.latest_ns is not None else self.start_ns


def event_key(origin: str, camera: str, watch: str, span_id: int) -> str:
    """The key of an event: span ids are unique for one watch on one camera of one recording or robot."""
    return f"{origin}/{camera}/{watch}/{span_id}"


def merged(known: Event, event: Event) -> Event:
    """The new event, with the details that only the known one has."""
    if known.state != OPEN and event.state == OPEN:
        return known
    if not (event.sentence or event.status):
        event = replace(
            event,
            sentence=known.sentence,
            status=known.status,
            error=known.error,
            speaker=known.speaker,
            shown_ns=known.shown_ns,
        )
    return replace(
        event,
        has_picture=known.has_picture,
        pose=event.pose or known.pose,
        onset_ns=known.onset_ns if event.onset_ns is None else event.onset_ns,
        first_ns=known.first_ns if event.first_ns is None else event.first_ns,
    )
