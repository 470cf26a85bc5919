"""Convert span messages to events of the log, and events to the messages that a search returns."""

from __future__ import annotations

import math

from geometry_msgs.msg import Point, PoseStamped, Quaternion
from geometry_msgs.msg import Pose as PoseMessage
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from stride_ros.events.record import OFFSET, OPEN, RETRACTED, Event, event_key
from stride_ros.events.writer import Said
from stride_ros.msg import ActivationSpan, Commentary, EventRecord
from stride_ros.nodes.messages import to_nanoseconds, to_time

_STATES = {ActivationSpan.OFFSET: OFFSET, ActivationSpan.RETRACTED: RETRACTED}
_STATE_NUMBERS = {state: number for number, state in _STATES.items()}
_STATUSES = {Commentary.OK: "ok", Commentary.ERROR: "error", Commentary.SKIPPED: "skipped"}
_STATUS_NUMBERS = {status: number for number, status in _STATUSES.items()}
_RANDOM = 1 << 21  # ids from here on are unique to one start of a node


def key_of(robot: str, message: ActivationSpan | Commentary) -> str:
    """The key of the event that a span or a commentary is about.

    Ids of recorded results are the same in each run, so those events are also distinguished by their onset.
    """
    key = event_key(robot, message.camera, message.watch, message.span_id)
    if message.span_id >= _RANDOM:
        return key
    return f"{key}@{onset_of(message)}"


def onset_of(message: ActivationSpan | Commentary) -> int:
    """The stamp of the ONSET (ns)."""
    if isinstance(message, Commentary) or message.state == ActivationSpan.ONSET:
        return to_nanoseconds(message.header.stamp)
    return to_nanoseconds(message.onset) or to_nanoseconds(message.header.stamp)


def to_event(robot: str, message: ActivationSpan) -> Event:
    """The event that a span reports."""
    state = _STATES.get(message.state, OPEN)
    end = to_nanoseconds(message.end)
    confidence = message.confidence if math.isfinite(message.confidence) else 0.0
    return Event(
        key=key_of(robot, message),
        span_id=message.span_id,
        watch=message.watch,
        camera=message.camera,
        query=message.query,
        origin=robot,
        start_ns=to_nanoseconds(message.start),
        end_ns=None if state == OPEN else end,
        confidence=min(max(confidence, 0.0), 1.0),
        state=state,
        onset_ns=onset_of(message),
        latest_ns=end,
        stamp_ns=to_nanoseconds(message.header.stamp),
        frame_id=message.header.frame_id,
        model=message.model,
        respond=message.respond,
    )


def to_said(message: Commentary) -> Said:
    """The final words of a commentary."""
    return Said(
        message.text,
        status=_STATUSES.get(message.status, "error"),
        error=message.error,
        speaker=message.model,
        shown_ns=tuple(map(to_nanoseconds, message.frame_stamps)),
    )


def to_record(event: Event, picture: bytes | None) -> EventRecord:
    """An event as a search returns it; an open one is an UPDATE."""
    onset = event.onset_ns if event.onset_ns is not None else event.start_ns
    stamp = event.stamp_ns if event.stamp_ns is not None else event.known_end_ns
    record = EventRecord(
        span=ActivationSpan(
            header=Header(stamp=to_time(stamp), frame_id=event.frame_id),
            span_id=event.span_id,
            state=_STATE_NUMBERS.get(event.state, ActivationSpan.UPDATE),
            query=event.query,
            start=to_time(event.start_ns),
            end=to_time(event.known_end_ns),
            confidence=event.confidence,
            watch=event.watch,
            camera=event.camera,
            respond=event.respond,
            model=event.model,
            onset=to_time(onset),
        )
    )
    if event.status:
        record.commentary = Commentary(
            header=Header(stamp=to_time(onset), frame_id=event.frame_id),
            span_id=event.span_id,
            query=event.query,
            text=event.sentence,
            final=True,
            model=event.speaker,
            status=_STATUS_NUMBERS.get(event.status, Commentary.ERROR),
            error=event.error,
            watch=event.watch,
            camera=event.camera,
            frame_stamps=[to_time(stamp) for stamp in event.shown_ns],
        )
    if event.pose is not None:
        pose = event.pose
        record.pose = PoseStamped(
            header=Header(stamp=to_time(pose.stamp_ns), frame_id=pose.frame),
            pose=PoseMessage(
                position=Point(**dict(zip("xyz", pose.position, strict=True))),
                orientation=Quaternion(**dict(zip("xyzw", pose.orientation, strict=True))),
            ),
        )
    if picture is not None:
        record.picture = CompressedImage(
            header=Header(stamp=to_time(onset), frame_id=event.frame_id), format="jpeg", data=picture
        )
    return record
