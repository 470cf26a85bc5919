"""Export events as messages in an MCAP file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stride_ros.bags import messages
from stride_ros.bags.writer import BagWriter
from stride_ros.events.record import OFFSET, RETRACTED, Event
from stride_ros.text import topics
from stride_ros.user_files.output import whole_file

_ONSET, _UPDATE = 0, 1  # states of ActivationSpan
_STATES = {OFFSET: 2, RETRACTED: 3}
_STATUSES = {"ok": 0, "error": 1, "skipped": 2}


def write_mcap(path: Path, events: Sequence[Event], picture: Callable[[str], bytes | None]) -> None:
    """Write an MCAP file with the spans, the commentary and the pictures, for viewers and other tools.

    Each event is an ONSET and an OFFSET or RETRACTED if it is over, otherwise an UPDATE. Raises SourceError.
    """
    # Messages are made when they are written: all pictures of a log may be more than there is memory.
    made: list[tuple[int, str, Callable[[], Any]]] = []
    for event in events:
        onset = _onset(event)
        last = max(event.stamp_ns if event.stamp_ns is not None else event.known_end_ns, onset)
        for state, stamp in ((_ONSET, onset), (_STATES.get(event.state, _UPDATE), last)):
            made.append((stamp, topics.SPAN, partial(_span, event, state, stamp)))
        if event.status or event.sentence:
            made.append((onset, topics.COMMENTARY, partial(_commentary, event)))
        if event.has_picture:
            topic = topics.compressed(topics.of_camera(event.camera, topics.EVENT_PICTURE))
            made.append((onset, topic, partial(_image, event, picture)))
    with whole_file(path) as beside, TemporaryDirectory(dir=beside.parent, prefix=".events.") as place:
        with BagWriter(Path(place) / "events") as bag:
            for stamp, topic, make in sorted(made, key=lambda item: item[0]):
                if (message := make()) is not None:  # a picture may have been deleted meanwhile
                    # Log times are not negative.
                    bag.write(topics.under(topics.NAMESPACE, topic), message, max(stamp, 0))
        (file,) = (Path(place) / "events").glob("*.mcap")
        os.replace(file, beside)


def _onset(event: Event) -> int:
    return event.onset_ns if event.onset_ns is not None else event.start_ns


def _span(event: Event, state: int, stamp: int) -> Any:
    return messages.span(
        event.span_id,
        state,
        event.query,
        start=event.start_ns,
        end=min(event.known_end_ns, stamp) if state == _ONSET else event.known_end_ns,
        stamp=stamp,
        frame_id=event.frame_id,
        confidence=event.confidence,
        onset=_onset(event),
        watch=event.watch,
        camera=event.camera,
        respond=event.respond,
        model=event.model,
    )


def _commentary(event: Event) -> Any:
    return messages.commentary(
        event.span_id,
        event.query,
        event.sentence,
        stamp=_onset(event),
        frame_id=event.frame_id,
        model=event.speaker,
        status=_STATUSES.get(event.status, 0),
        error=event.error,
        watch=event.watch,
        camera=event.camera,
        frame_stamps=event.shown_ns,
    )


def _image(event: Event, picture: Callable[[str], bytes | None]) -> Any:
    jpeg = picture(event.key)
    return None if jpeg is None else messages.jpeg_image(jpeg, _onset(event), event.frame_id)
