"""Give commentary on events: from frames and span reports to commentary, without ROS.

The responder node passes on what arrives on its topics, a replay what it decides; both get a model's answer
about the same frames, settings and history.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from stride_ros.response.backend import ResponseBackend, ResponseRequest
from stride_ros.response.camera_memory import CameraMemory
from stride_ros.response.commentary import LONGEST_NAME, Commentary, CommentarySink, SpanReport, SpanState
from stride_ros.response.config import ResponseConfig
from stride_ros.response.dispatch import MAX_OPEN, AnswerDispatch
from stride_ros.response.frame_cache import Selection
from stride_ros.response.known_onsets import MAX_HEARD, Key, KnownOnsets
from stride_ros.response.questions import Asked, Questions
from stride_ros.response.request import make_request, nanoseconds
from stride_ros.response.scheduler import Answer, AnswerScheduler, Figures, Job, NothingToShow
from stride_ros.text import topics
from stride_ros.text.foreign import mended
from stride_ros.text.wording import counted

_FRAME_WAIT = 1.0  # s; a decision's frame is published before its span, but may arrive after it
_HISTORY_WAIT = 1.0  # s
_DISCOVERY = 5.0  # s that the middleware may take to discover the publishers of all topics
_LATE_FRAME_WAIT = 5.0  # s; a late subscriber has missed that frame, and the next one may take a while
_STARTED_AGAIN = "The responder ended before the answer was finished, and was restarted."
UNWANTED = "Its watch wants no commentary."
_NO_FRAME = "No frame of the event has arrived; check that `{}` is connected."


@dataclass(frozen=True)
class _Event:
    """The first report of an event, and the key under which its answer is remembered."""

    report: SpanReport
    key: Key


@dataclass
class _Late:
    """An event whose ONSET, or the frames before it, were missed."""

    until: float  # time.monotonic() by which the messages that its publisher kept have arrived
    goes_on: bool  # whether a report says so, and none that it is over
    over: threading.Event = field(default_factory=threading.Event)


class Responder:
    """Turns frames and span reports into commentary: exactly one final Commentary for each ONSET.

    All methods are called from one thread. A separate thread talks to the backend and calls `sink`; with
    `inline` there is no such thread: a call returns when the sink has been called, nothing is waited for and
    no clock matters, so that the same calls give the same commentary.

    An event is answered from the frames of its camera and the past commentaries on that camera's events.

    The two threads share the frames, the past commentaries and the known onsets, each with a lock, and the
    configuration, an immutable object that is replaced as a whole.
    """

    def __init__(
        self,
        backend: ResponseBackend,
        config: ResponseConfig,
        sink: CommentarySink,
        *,
        cameras: Sequence[str] = (),
        heard: KnownOnsets | None = None,
        answered: KnownOnsets | None = None,
        inline: bool = False,
    ) -> None:
        """`cameras`: their names; empty for one unnamed camera, to which all spans belong.

        `heard`: onsets that were accepted before; `answered`: those that got or still need their final
        Commentary, possibly in earlier processes. New ones are added to both.
        """
        self._backend, self._config, self._sink = backend, config, sink
        self._heard = KnownOnsets(size=MAX_HEARD) if heard is None else heard
        self._answered = KnownOnsets() if answered is None else answered
        self._inline = inline
        self._cameras = {name: CameraMemory(config) for name in cameras or ("",)}
        self._scheduler = AnswerScheduler(backend, self._tell, config, inline=inline)
        self._dispatch = AnswerDispatch(self._scheduler, config.respond_on)
        frames = {name: memory.frames for name, memory in self._cameras.items()}
        self.questions = Questions(self._scheduler, frames, lambda: self._config)
        self._late: dict[Hashable, _Late] = {}  # oldest first
        # ns since the epoch; for events published before this time, frames may have been missed.
        self._listens_since = 0
        self._enabled = True
        self.onsets = 0  # number of events that were accepted

    # Input

    def start(self) -> None:
        """Start taking reports, and accept again the events that an earlier process did not answer.

        An event that is still going on is answered with new frames; any other is skipped with the reason.
        """
        self._listens_since = time.time_ns() + nanoseconds(_DISCOVERY)
        until = time.monotonic() + _HISTORY_WAIT
        for key, report in self._answered.owed():
            if key not in self._heard:
                late = self._new_late(report, _Late(until, goes_on=False))
                self._begin(report, key, self._late_question(report, late))

    def frame(self, image: NDArray[np.uint8], stamp: int, camera: str = "") -> None:
        """Add a frame of a camera, (H, W, 3) uint8 RGB, with its stamp in ns.

        A step back in time clears earlier frames. The caller must not write to the image afterwards.
        """
        if self._enabled:
            self._cameras[camera].frames.add(image, stamp)

    def span(self, report: SpanReport) -> None:
        """Take a report about a span; pass every report, in order."""
        report, refusal = _bounded(report)
        key = (report.published, report.span_id)
        if report.state <= SpanState.UPDATE and (late := self._late.get(_identity(report))):
            late.goes_on = True
        if report.state is SpanState.ONSET:
            # Publishers keep spans, so a new subscription receives old ones. A time of 0 is unknown.
            if not (report.published and (key in self._heard or key in self._answered)):
                self._begin(report, key, self._question(report, report.stamp), refusal)
        elif not (self._heard.has_span(report.span_id) or self._answered.has_span(report.span_id)):
            self._join(report, key, refusal)
        elif report.state is not SpanState.UPDATE:
            event = _identity(report)
            if event in self._late:
                self._late.pop(event).over.set()
            if report.state is SpanState.OFFSET:
                self._dispatch.offset(event, self._question(report, report.end))
            else:
                self._dispatch.retracted(event)

    def apply(self, config: ResponseConfig) -> None:
        """Use other settings from the next answer on; ConfigError for a setting that cannot change now."""
        if self._config.live_changes(config):
            self._config = config

    # Control

    @property
    def config(self) -> ResponseConfig:
        """The settings of the next answer."""
        return self._config

    @property
    def enabled(self) -> bool:
        """Whether frames are taken and events answered."""
        return self._enabled

    def enable(self) -> None:
        """Answer events again."""
        self._enabled = True

    def disable(self) -> None:
        """Skip pending answers and all events from now on, and ignore frames."""
        self._enabled = False
        self.stop("The responder was disabled before the answer was finished.")

    def stop(self, reason: str) -> None:
        """Skip pending answers with `reason`, and clear the frames."""
        self._dispatch.abandon(reason)
        self._late.clear()
        for memory in self._cameras.values():
            memory.frames.clear()

    def reset(self) -> None:
        """Skip pending answers, and clear the frames and the past commentaries."""
        self.stop("The responder was reset before the answer was finished.")
        for memory in self._cameras.values():
            memory.history.clear()

    def close(self, reason: str, timeout: float = 10.0) -> bool:
        """Skip pending answers and end the thread; False if the backend did not return in `timeout` s."""
        self._dispatch.abandon(reason)
        return self._scheduler.close(reason, timeout)

    # State

    @property
    def frames_kept(self) -> int:
        """Number of frames that an answer could be given now."""
        return sum(len(memory.frames) for memory in self._cameras.values())

    def figures(self) -> Figures:
        """Counters and measurements of the answers."""
        return self._scheduler.figures()

    # The caller's thread

    def _begin(
        self, report: SpanReport, key: Key, request: Callable[[], ResponseRequest], refusal: str = ""
    ) -> None:
        """Accept an event, or refuse it with the reason: one final Commentary in either case."""
        self._heard.add(key)
        if report.published:
            self._answered.owe(key, report)
        self.onsets += 1
        arrival = time.monotonic()
        if not refusal and self._camera(report) is None:
            refusal = (
                f"The event is on the camera {report.camera!r}, which the responder does not know; add it to "
                "the parameter cameras."
            )
        if not refusal and not report.respond:
            refusal = UNWANTED
        if not refusal and not self._enabled:
            refusal = "The responder is disabled."
        event = _Event(report, key)
        if refusal:
            self._scheduler.skip(Job(request, arrival, event), refusal)
        else:
            self._dispatch.onset(_identity(report), _watch(report), request, arrival, event)

    def _join(self, report: SpanReport, key: Key, refusal: str) -> None:
        """Handle an event whose ONSET never came: replaced by its own UPDATEs, or published too long ago."""
        request = self._question(report, report.end)
        if report.state is SpanState.UPDATE:
            late = self._new_late(report, _Late(time.monotonic() + _HISTORY_WAIT, goes_on=True))
            self._begin(report, key, self._late_question(report, late), refusal)
        elif refusal:
            self._begin(report, key, request, refusal)
        elif report.state is SpanState.OFFSET and self._config.respond_on != "onset":
            self._begin(report, key, request)
            self._dispatch.offset(_identity(report), request)
        else:
            self._begin(report, key, request, "The event was over before the responder received it.")

    def _new_late(self, report: SpanReport, late: _Late) -> _Late:
        if len(self._late) >= MAX_OPEN:
            del self._late[next(iter(self._late))]
        self._late[_identity(report)] = late
        return late

    def _question(self, report: SpanReport, until: int) -> Callable[[], ResponseRequest]:
        """Return a function that makes the request when the answer begins, keeping the current frames."""
        if (memory := self._camera(report)) is None:
            return _nothing
        kept = self._select(memory, report.start, until)
        late = None
        if report.state is SpanState.ONSET and 0 < report.published < self._listens_since and not kept.frames:
            late = self._new_late(report, _Late(time.monotonic() + _HISTORY_WAIT, goes_on=True))

        def ask() -> ResponseRequest:
            selection = kept
            if not kept.reaches(until):
                if not self._inline:
                    memory.frames.wait_for(until, _FRAME_WAIT)
                latest = self._select(memory, report.start, until)
                if not kept.frames or latest.life == kept.life:
                    selection = latest
            if late is not None and not selection.frames:
                return self._late_question(report, late)()
            return self._request(report, memory, selection)

        return ask

    # The answering thread

    def _late_question(self, report: SpanReport, late: _Late) -> Callable[[], ResponseRequest]:
        """Return a function that makes the request about an open event that began before subscribing."""
        if (memory := self._camera(report)) is None:
            return _nothing
        frames = memory.frames

        def ask() -> ResponseRequest:
            # Messages that the publisher kept arrive at once, possibly including the end of the event.
            if not self._inline:
                late.over.wait(max(0.0, late.until - time.monotonic()))
            if late.goes_on and frames.newest is None and not self._inline:
                frames.wait_for(None, _LATE_FRAME_WAIT)
            if late.over.is_set():
                raise NothingToShow("The event was over before the responder could answer it.")
            if not late.goes_on:
                raise NothingToShow(_STARTED_AGAIN)
            newest = frames.newest
            until = report.start if newest is None else newest
            return self._request(report, memory, self._select(memory, report.start, until))

        return ask

    def _camera(self, report: SpanReport) -> CameraMemory | None:
        """The memory of a span's camera; None for a camera that this responder does not have."""
        if len(self._cameras) == 1 and "" in (report.camera, *self._cameras):
            return next(iter(self._cameras.values()))
        return self._cameras.get(report.camera)

    def _select(self, memory: CameraMemory, start: int, end: int) -> Selection:
        """The frames to show for an event from `start` to `end` (ns)."""
        config = self._config
        return memory.frames.select(start - nanoseconds(config.pre_seconds), end, config.max_frames)

    def _request(self, report: SpanReport, memory: CameraMemory, selection: Selection) -> ResponseRequest:
        if not selection.frames:
            camera = "" if "" in self._cameras else report.camera
            raise NothingToShow(_NO_FRAME.format(topics.of_camera(camera, topics.FRAMES)))
        said = memory.history.texts()
        return make_request(self._config, report.query, selection.frames, report.start, said)

    # Either thread, one call at a time

    def _tell(self, job: Job, answer: Answer) -> None:
        if isinstance(job.context, Asked):
            job.context.tell(answer)
            return
        event = cast(_Event, job.context)
        commentary = Commentary(
            span=event.report,
            # The ONSET's stamp, even if only an UPDATE of the span was received.
            onset=event.report.onset or event.report.stamp,
            text=mended(answer.text),
            ended=answer.ended,
            final=answer.final,
            status=answer.status,
            error=answer.error,
            model=self._backend.name,
            latency=answer.latency,
            frame_stamps=job.frame_stamps,
        )
        remembered = answer.final and event.report.published
        if remembered:
            # Before it is published: a process killed in between must not publish it again.
            self._answered.publishing(event.key)
        self._sink.commentary(commentary)
        if commentary.spoken and (memory := self._camera(event.report)) is not None:
            memory.history.add(commentary.text)
        if remembered:
            self._answered.add(event.key)


def _nothing() -> ResponseRequest:
    """The request about a refused event, which is never made."""
    raise NothingToShow("The event is not answered.")


def _watch(report: SpanReport) -> Hashable:
    """What found the span, even if its publisher names no watch."""
    return report.camera, report.watch, report.query


def _identity(report: SpanReport) -> Hashable:
    """What distinguishes a span from all others, since other publishers may use the same ids."""
    return report.camera, report.query, report.span_id


def _bounded(report: SpanReport) -> tuple[SpanReport, str]:
    """The report with texts of limited length, and the reason to refuse it, "" if none was too long."""
    texts = {name: getattr(report, name) for name in ("query", "frame_id", "watch", "camera")}
    longest = max(texts, key=lambda name: len(texts[name]))
    if len(texts[longest]) <= LONGEST_NAME:
        return report, ""
    cut = replace(report, **{name: text[:LONGEST_NAME] for name, text in texts.items()})
    length = counted(len(texts[longest]), "character")
    return cut, f"The {longest} of the span has {length}; use at most {LONGEST_NAME}."
