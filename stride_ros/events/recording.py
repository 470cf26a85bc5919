"""Everything that the event log stores about one recording, written together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stride_ros.events.log import EventLog
from stride_ros.events.record import Event


@dataclass(frozen=True)
class PicturedEvent:
    """An event with its picture: the JPEG of the frame at its onset, or empty."""

    event: Event
    picture: bytes


def write_recording(log: EventLog, origin: str, document: str, events: Iterable[PicturedEvent]) -> None:
    """Replace what the log has of a recording by its new events, in one transaction.

    `origin`: the recording, by its path as given; `document`: the JSON of its run. Raises EventLogError.
    """
    log.remove(origin)
    log.run(origin, document)
    for one in events:
        log.put(one.event)
        if one.picture:
            log.picture(one.event.key, one.picture)
    log.commit()
