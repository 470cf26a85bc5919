"""What is said about events: from frames and span reports to commentary, without ROS.

The responder node hands over what arrives on its topics, a replay what it decides; both get what a model says
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
_DISCOVERY = 5.0  # s that the middleware may take to find the publishers of all topics
_LATE_FRAME_WAIT = 5.0  # s; who joins late has missed that frame, and the next one may take a while
_STARTED_AGAIN = "The responder ended before the answer was finished, and was started again."
_NO_FRAME = "No frame of the event has arrived: check that `{}` is connected."


@dataclass(frozen=True)
class _Event:
    """The first report of an event, and the key under which its answer is remembered."""

    report: SpanReport
    key: Key


@dataclass
class _Late:
    """An event of which something was missed: its ONSET, or the frames before it."""

    until: float  # time.monotonic() by which what its publisher has kept is here
    goes_on: bool  # a report says so, and none that it is over
    over: threading.Event = field(default_factory=threading.Event)


class Responder:
    """Frames and span reports in, commentary out: exactly one final Commentary for each ONSET.

    Everything is called from one thread. A thread of its own talks to the backend and tells `sink`; with
    `inline` there is none: a call returns when the sink has been told, nothing is waited for and no clock
    decides, so that the same calls give the same commentary.

    An event is answered from the frames of its camera, and after what was said about that camera's events.

    What the two threads share is the frames, the past commentaries and the known onsets, each with a lock,
    and the configuration, an immutable object that is replaced whole.
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
        """`cameras`: names, none where the only one has none, and all spans are its.

        `heard`: onsets that were taken on before; `answered`: those that got their final Commentary or are
        owed it, perhaps in earlier processes. Both are added to.
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
        # ns since the epoch; of what was published before, frames may have been missed.
        self._listens_since = 0
        self._enabled = True
        self.onsets = 0  # events that were taken on

    # What comes in

    def start(self) -> None:
        """Reports come from now on. Take on again what an earlier process owed: exactly one final Commentary.

        An event that goes on is answered with the frames that come, any other skipped with the reason.
        """
        self._listens_since = time.time_ns() + nanoseconds(_DISCOVERY)
        until = time.monotonic() + _HISTORY_WAIT
        for key, report in self._answered.owed():
            if key not in self._heard:
                late = self._new_late(report, _Late(until, goes_on=False))
                self._begin(report, key, self._late_question(report, late))

    def frame(self, image: NDArray[np.uint8], stamp: int, camera: str = "") -> None:
        """Remember a frame of a camera, (H, W, 3) uint8 RGB, with its stamp in ns.

        A step back in time forgets those before it. The caller must not write to the image afterwards.
        """
        if self._enabled:
            self._cameras[camera].frames.add(image, stamp)

    def span(self, report: SpanReport) -> None:
        """Take note of what became of a span: every report counts, in order."""
        report, refusal = _bounded(report)
        key = (report.published, report.span_id)
        if report.state <= SpanState.UPDATE and (late := self._late.get(_identity(report))):
            late.goes_on = True
        if report.state is SpanState.ONSET:
            # Spans are kept by their publisher, so a new subscription gets old ones. No time: not known.
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
        """Use other settings from the next answer on; ConfigError for one that cannot change now."""
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
        """Skip what is owed and every event from now on, and take no frames."""
        self._enabled = False
        self.stop("The responder was disabled before the answer was finished.")

    def stop(self, reason: str) -> None:
        """Skip what is owed, with `reason`, and forget the frames."""
        self._dispatch.abandon(reason)
        self._late.clear()
        for memory in self._cameras.values():
            memory.frames.clear()

    def reset(self) -> None:
        """The same, and forget the past commentaries."""
        self.stop("The responder was reset before the answer was finished.")
        for memory in self._cameras.values():
            memory.history.clear()

    def close(self, reason: str, timeout: float = 10.0) -> bool:
        """Skip what is owed and end the thread; False if the backend still held on after `timeout` s."""
        self._dispatch.abandon(reason)
        return self._scheduler.close(reason, timeout)

    # What can be seen of it

    @property
    def frames_kept(self) -> int:
        """Number of frames that an answer could be shown now."""
        return sum(len(memory.frames) for memory in self._cameras.values())

    def figures(self) -> Figures:
        """Counters and measurements of the answers."""
        return self._scheduler.figures()

    # The caller's thread

    def _begin(
        self, report: SpanReport, key: Key, request: Callable[[], ResponseRequest], refusal: str = ""
    ) -> None:
        """Owe an event its answer, or refuse it with the reason: one final Commentary in either case."""
        self._heard.add(key)
        if report.published:
            self._answered.owe(key, report)
        self.onsets += 1
        arrival = time.monotonic()
        if not refusal and self._camera(report) is None:
            refusal = (
                f"The event is on the camera {report.camera!r}, which the responder does not know: list it "
                "in the parameter cameras."
            )
        if not refusal and not report.respond:
            refusal = "Its watch wants no commentary."
        if not refusal and not self._enabled:
            refusal = "The responder is disabled."
        event = _Event(report, key)
        if refusal:
            self._scheduler.skip(Job(request, arrival, event), refusal)
        else:
            self._dispatch.onset(_identity(report), _watch(report), request, arrival, event)

    def _join(self, report: SpanReport, key: Key, refusal: str) -> None:
        """An event whose ONSET never came: pushed out by its own UPDATEs, or published too long ago."""
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
            self._begin(report, key, request, "The event was over before the responder heard of it.")

    def _new_late(self, report: SpanReport, late: _Late) -> _Late:
        if len(self._late) >= MAX_OPEN:
            del self._late[next(iter(self._late))]
        self._late[_identity(report)] = late
        return late

    def _question(self, report: SpanReport, until: int) -> Callable[[], ResponseRequest]:
        """What makes the request when the answer begins; frames that are here now stay with it."""
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
        """What makes the request about an event that is going on and began before anybody listened."""
        if (memory := self._camera(report)) is None:
            return _nothing
        frames = memory.frames

        def ask() -> ResponseRequest:
            # What the publisher has kept comes at once, and the end of the event may be among it.
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
        """What is remembered of the camera of a span; None for one that this responder does not have."""
        if len(self._cameras) == 1 and "" in (report.camera, *self._cameras):
            return next(iter(self._cameras.values()))
        return self._cameras.get(report.camera)

    def _select(self, memory: CameraMemory, start: int, end: int) -> Selection:
        """The frames to show of an event from `start` to `end` (ns)."""
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
            # The ONSET's stamp, also where only an UPDATE of the span was heard.
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
            # Before it is published: whoever is killed in between must not publish it once more.
            self._answered.publishing(event.key)
        self._sink.commentary(commentary)
        if commentary.spoken and (memory := self._camera(event.report)) is not None:
            memory.history.add(commentary.text)
        if remembered:
            self._answered.add(event.key)


def _nothing() -> ResponseRequest:
    """The request about an event that was refused, which nobody makes."""
    raise NothingToShow("The event is not answered.")


def _watch(report: SpanReport) -> Hashable:
    """What found the span, also where its publisher names no watch."""
    return report.camera, report.watch, report.query


def _identity(report: SpanReport) -> Hashable:
    """What tells a span from all others: publishers of other makes may count the same."""
    return report.camera, report.query, report.span_id


def _bounded(report: SpanReport) -> tuple[SpanReport, str]:
    """The report with texts of bounded length, and the reason to refuse it, "" if none had to be cut."""
    texts = {name: getattr(report, name) for name in ("query", "frame_id", "watch", "camera")}
    longest = max(texts, key=lambda name: len(texts[name]))
    if len(texts[longest]) <= LONGEST_NAME:
        return report, ""
    cut = replace(report, **{name: text[:LONGEST_NAME] for name, text in texts.items()})
    length = counted(len(texts[longest]), "character")
    return cut, f"The {longest} of the span has {length}: use at most {LONGEST_NAME}."
