"""The event log node: stores the events found on this robot, and answers searches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import ConfigError, StrideError
from stride_ros.events.log import EventLog
from stride_ros.events.search import EventReader, Search
from stride_ros.events.writer import EventWriter
from stride_ros.msg import ActivationSpan, Commentary, Watches
from stride_ros.nodes.diagnostics import Diagnostics, Status, process_memory
from stride_ros.nodes.event_pictures import EventPictures
from stride_ros.nodes.event_poses import EventPoses
from stride_ros.nodes.event_records import key_of, onset_of, to_event, to_record, to_said
from stride_ros.nodes.frame_input import FrameInput
from stride_ros.nodes.home import state_folder
from stride_ros.nodes.lifecycle import ManagedNode
from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.nodes.open_events import OpenEvents
from stride_ros.nodes.qos import (
    FINALS_HEARD_QOS,
    SERVICES_QOS,
    SPANS_HEARD_QOS,
    WATCHES_QOS,
)
from stride_ros.nodes.runner import run
from stride_ros.parameters.cameras import check_cameras
from stride_ros.parameters.event_log import TABLE
from stride_ros.runs.record import thumbnail
from stride_ros.srv import FindEvents
from stride_ros.text import topics
from stride_ros.text.foreign import as_reason, visible
from stride_ros.text.wording import counted, escaped

_JOIN_TIMEOUT = 10.0  # s; a disk may be slow
_WARNING_PERIOD = 5.0  # s between repeated warnings
_MAX_FOUND = 1000  # events in one answer
_FILE = "events.db"


@dataclass(frozen=True)
class _Configured:
    """What `configure` creates and `cleanup` releases."""

    log: EventLog
    reader: EventReader
    diagnostics: Diagnostics


@dataclass(frozen=True)
class _Active:
    """What `activate` creates and `deactivate` releases."""

    writer: EventWriter
    pictures: EventPictures
    open: OpenEvents
    poses: EventPoses | None
    subscriptions: list[Any]


class EventLogNode(ManagedNode):
    """Stores events in a file and serves searches over them.

    Subscribes to `activation/span`, `commentary`, `watches`, `frames` (of each camera), and tf where tf2_ros
    is installed; serves `~/find_events` and publishes /diagnostics.

    Everything happens in the executor's thread, except writing, which has its own thread.
    """

    def __init__(self, **node_options: Any) -> None:
        """`node_options` go to rclpy's Node: context, namespace, parameter_overrides, cli_args ..."""
        self._configured: _Configured | None = None
        self._active: _Active | None = None
        self._frames = FrameInput(self, self._on_frame, wanted=lambda: self._active is not None)
        super().__init__("event_log", TABLE, _check, **node_options)
        self.create_service(FindEvents, "~/find_events", self._on_find, qos_profile=SERVICES_QOS)

    # Transitions

    def configure(self) -> None:
        path = self._path()
        days, megabytes = self.parameters["keep_days"], self.parameters["keep_megabytes"]
        log = EventLog(path, keep_days=days or None, keep_bytes=megabytes * 10**6 or None)
        try:
            reader = EventReader(path)
        except BaseException:
            log.close()
            raise
        self._configured = _Configured(log, reader, Diagnostics(self, self._fill_status))
        self.get_logger().info(
            f"Events are stored in {escaped(str(path))} ({counted(log.count, 'event')} so far)."
        )

    def activate(self) -> None:
        assert self._configured is not None, "a node is configured before it is activated"
        robot = self.parameters["robot"]
        writer = EventWriter(self._configured.log, self._report)
        self._active = active = _Active(
            writer,
            EventPictures(writer.picture),
            OpenEvents(self._configured.log.open_events(robot)),
            self._make_poses(writer.place),
            [],
        )
        writer.start()
        for kind, topic, callback, qos in (
            (ActivationSpan, topics.SPAN, self._on_span, SPANS_HEARD_QOS),
            (Commentary, topics.COMMENTARY, self._on_commentary, FINALS_HEARD_QOS),
            (Watches, topics.WATCHES, self._on_watches, WATCHES_QOS),
        ):
            active.subscriptions.append(self.create_subscription(kind, topic, callback, qos))
        if self.parameters["picture_width"]:
            active.subscriptions.extend(self._frames.subscribe(self.parameters["cameras"]))

    def deactivate(self) -> None:
        active, self._active = self._active, None
        if active is None:
            return
        for subscription in active.subscriptions:
            self.destroy_subscription(subscription)
        if active.poses is not None:
            active.poses.destroy()
        stopped = active.writer.stop(_JOIN_TIMEOUT)
        waiting = active.writer.figures.waiting
        if waiting or not stopped:
            self.get_logger().error(f"{counted(waiting, 'event')} could not be written and will be missing.")

    def cleanup(self) -> None:
        configured, self._configured = self._configured, None
        if configured is None:
            return
        configured.diagnostics.destroy()
        configured.reader.close()
        configured.log.close()

    def _path(self) -> Path:
        """The file; if it is created here, only its owner can read it, since it holds pictures."""
        if given := self.parameters["file"]:
            path = Path(given).expanduser().absolute()  # messages name it, and nobody knows where a node runs
        else:
            folder = state_folder()
            if folder is None:
                raise ConfigError(
                    "There is no place for the log, since this user has no home folder; set the parameter "
                    "file, or set ROS_HOME to a writable folder."
                )
            path = folder / _FILE
            if path.is_symlink():
                raise ConfigError(
                    f"{path} is a symbolic link, which is not followed; set the parameter file."
                )
        with suppress(OSError):  # the log reports what is wrong with the folder
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        return path

    def _make_poses(self, found: Any) -> EventPoses | None:
        map_frame, robot_frame = self.parameters["map_frame"], self.parameters["robot_frame"]
        if not (map_frame and robot_frame):
            return None
        try:
            return EventPoses(self, map_frame, robot_frame, found)
        except ImportError:
            self.get_logger().info("Events have no pose, since tf2_ros is not installed.")
            return None

    # State

    @property
    def path(self) -> Path | None:
        """The file; None unless the node is configured."""
        return self._configured.log.path if self._configured is not None else None

    # Input

    def _on_span(self, message: ActivationSpan) -> None:
        if message.state > ActivationSpan.RETRACTED:
            self.get_logger().warning(
                f"Ignored a span of the unknown state {message.state}.",
                throttle_duration_sec=_WARNING_PERIOD,
            )
            return
        if self._active is None:
            return
        event = to_event(self.parameters["robot"], message)
        self._active.writer.put(event)
        self._active.open.heard(event)
        if message.state == ActivationSpan.ONSET:
            stamp = onset_of(message)
            if self.parameters["picture_width"]:
                self._want_picture(message.camera, stamp, event.key)
            if self._active.poses is not None:
                self._active.poses.want(stamp, event.key)

    def _want_picture(self, camera: str, stamp: int, key: str) -> None:
        assert self._active is not None, "messages are received while active"
        cameras = self.parameters["cameras"] or [""]
        if camera in cameras:
            self._active.pictures.want(camera, stamp, key)
            return
        self.get_logger().warning(
            f"Events of the camera {visible(camera) or 'without a name'} have no pictures, since the "
            "parameter cameras does not name it; set it as in the activation node.",
            once=True,
        )

    def _on_commentary(self, message: Commentary) -> None:
        if message.final and self._active is not None:
            self._active.writer.say(key_of(self.parameters["robot"], message), to_said(message))

    def _on_watches(self, message: Watches) -> None:
        if self._active is None:
            return
        going_on = {span.span_id for watch in message.watches for span in watch.open_spans}
        for event in self._active.open.over(going_on):
            self._active.writer.put(replace(event, end_ns=event.known_end_ns))

    def _on_frame(self, image: NDArray[np.uint8], stamp: int, camera: str) -> None:
        if self._active is not None:
            jpeg = thumbnail(image, self.parameters["picture_width"])
            self._active.pictures.frame(camera, stamp, jpeg)

    def _on_find(self, request: FindEvents.Request, response: FindEvents.Response) -> FindEvents.Response:
        response.success = False
        if self._configured is None:
            response.error_code = FindEvents.Response.UNAVAILABLE
            response.error_msg = "The node is not configured; configure it first."
            return response
        reader = self._configured.reader
        try:
            found = reader.find(
                Search(
                    request.text,
                    cameras=request.cameras,
                    watches=request.watches,
                    since_ns=to_nanoseconds(request.since) or None,
                    until_ns=to_nanoseconds(request.until) or None,
                    min_confidence=request.min_confidence,
                    limit=min(request.limit, _MAX_FOUND),
                )
            )
            response.events = [
                to_record(
                    event, reader.picture(event.key) if request.pictures and event.has_picture else None
                )
                for event in found.events
            ]
        except StrideError as error:
            invalid = isinstance(error, ConfigError)
            response.error_code = FindEvents.Response.INVALID if invalid else FindEvents.Response.UNAVAILABLE
            response.error_msg = as_reason(str(error))
            return response
        response.success, response.total = True, found.total
        return response

    def _report(self, problem: str) -> None:
        """Log what cannot be written; called in the writer's thread."""
        self.last_error = problem
        self.get_logger().error(problem)

    def _fill_status(self, status: Status) -> None:
        """Report the state; the rules are in docs/diagnostics.md."""
        assert self._configured is not None, "diagnostics are published while configured"
        log, active = self._configured.log, self._active
        status.add("state", "inactive" if active is None else "active")
        status.add("file", log.path)
        status.add("size (MB)", log.size / 1e6)
        if active is not None:
            figures = active.writer.figures
            if figures.problem:
                status.error(f"{counted(figures.waiting, 'event')} cannot be written: {figures.problem}")
            if figures.lost:
                status.warn(f"{counted(figures.lost, 'event')} could not be written and will be missing")
            status.add("written", figures.written)
            status.add("waiting", figures.waiting)
            status.add("lost", figures.lost)
            status.add("open", len(active.open))
            status.add("without a picture yet", active.pictures.wanted)
            status.add("poses", "from tf" if active.poses is not None else "none")
        status.add("frames rejected", self._frames.rejected)
        status.add("process memory (MB)", process_memory() / 1e6)
        status.add("last error", self.last_error or "none")


def _check(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for parameters that do not fit together."""
    check_cameras(values["cameras"])
    if 0 < values["keep_megabytes"] < 16:
        raise ConfigError(f"keep_megabytes cannot be {values['keep_megabytes']}; use 16 or more, or 0.")
    if not values["robot"].strip():
        raise ConfigError("The robot has no name; set the parameter robot.")


def main() -> int:
    """Run the node until it is stopped; returns the exit code."""
    return run("stride_ros.nodes.event_log_node:EventLogNode")


if __name__ == "__main__":
    raise SystemExit(main())
