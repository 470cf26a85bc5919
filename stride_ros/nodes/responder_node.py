"""The responder node: says what happens when the activation node says that something does."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from std_srvs.srv import SetBool, Trigger

from stride_ros.activation.identity import span_number
from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.errors import StrideError
from stride_ros.imaging.images import image_to_rgb
from stride_ros.imaging.resize import shrink
from stride_ros.msg import ActivationSpan, Commentary
from stride_ros.nodes.diagnostics import Diagnostics, Rate, Status, gpu_memory, process_memory
from stride_ros.nodes.lifecycle import ManagedNode
from stride_ros.nodes.messages import to_nanoseconds, to_time
from stride_ros.nodes.qos import COMMENTARY_QOS, FRAMES_QOS, SPAN_QOS, TEXT_QOS
from stride_ros.nodes.runner import run
from stride_ros.nodes.worker import call_in_thread
from stride_ros.parameters.responder import MAX_HISTORY, TABLE, backend_options
from stride_ros.response.backend import ResponseBackend, ResponseRequest, load_backend
from stride_ros.response.desk import SpanDesk
from stride_ros.response.frame_cache import FrameCache, TimedFrame
from stride_ros.response.ledger import Key, Ledger
from stride_ros.response.scheduler import Answer, AnswerScheduler, Figures, Job, NothingToShow, Outcome
from stride_ros.text.foreign import mended
from stride_ros.text.wording import counted, escaped, plural

# Deeper than what publishers keep, so that no onset is lost while frames are converted.
_SPAN_QOS = copy(SPAN_QOS)
_SPAN_QOS.depth = 100
_FRAME_WAIT = 1.0  # s; a decision's frame is published before its span, but may arrive after it
_HISTORY_WAIT = 1.0  # s
_LATE_FRAME_WAIT = 5.0  # s; who joins late has missed that frame, and the next one may take a while
_JOIN_TIMEOUT = 10.0  # s; reading the frames in (prefill) cannot be interrupted
_WARNING_PERIOD = 5.0  # s between repeated warnings

Event = tuple[str, int]  # query and span id


class ResponderNode(ManagedNode):
    """`frames` and `activation/span` in; `commentary`, `commentary/text` and /diagnostics out.

    Callbacks store frames and queue work. The worker thread of an AnswerScheduler talks to the backend; it
    and the executor's thread publish. Each ONSET gets exactly one final Commentary.
    """

    def __init__(self, **node_options: Any) -> None:
        """`node_options` go to rclpy's Node: context, namespace, parameter_overrides, cli_args ..."""
        self._backend: ResponseBackend | None = None
        self._cache: FrameCache | None = None
        self._scheduler: AnswerScheduler | None = None
        self._desk: SpanDesk | None = None
        self._diagnostics: Diagnostics | None = None
        self._publishers_made: list[Any] = []
        self._entities: list[tuple[Any, Any]] = []  # (what destroys it, the entity), made by activate
        self._enabled = True
        self._origin_ns = 0  # stamp of the cache's time 0: floats are too coarse for time since the epoch
        self._newest_ns: int | None = None
        self._history: deque[str] = deque(maxlen=MAX_HISTORY)
        self._seen = Ledger()  # onsets of this life of the node
        # Events that were joined at an UPDATE and are going on; each is set when it is over.
        self._late: dict[Event, threading.Event] = {}
        self._ledger = Ledger()  # onsets that were answered, in earlier lives too
        self._frames = Rate()
        self._onsets = 0
        self._rejected = 0
        super().__init__("responder", TABLE, **node_options)

    # Transitions

    def configure(self) -> None:
        values = self.parameters.values()
        self.get_logger().info(f"Loading {escaped(values['model'])} ...")
        started = time.monotonic()
        self._backend = call_in_thread(lambda: self._load(values), keep_waiting=self.may_wait)
        self._ledger = self._open_ledger()
        self._cache = FrameCache(values["cache_seconds"], values["cache_frames"])
        self._commentary_publisher = self._publisher(Commentary, "commentary", COMMENTARY_QOS)
        self._text_publisher = self._publisher(String, "commentary/text", TEXT_QOS)
        self._scheduler = AnswerScheduler(
            self._backend,
            self._publish,
            policy=values["busy_policy"],
            max_queue=values["max_queue"],
            deadline=values["deadline"],
            partial_rate=values["partial_rate"],
        )
        self._desk = SpanDesk(self._scheduler, values["respond_on"])
        self._diagnostics = Diagnostics(self, self._fill_status, hardware_id=values["device"])
        self.get_logger().info(
            f"{self._backend.name} ({values['backend']}) is ready after {time.monotonic() - started:.1f} s."
        )

    def activate(self) -> None:
        self._entities = [
            (self.destroy_subscription, subscription)
            for subscription in (
                self.create_subscription(Image, "frames", self._on_frame, FRAMES_QOS),
                self.create_subscription(ActivationSpan, "activation/span", self._on_span, _SPAN_QOS),
            )
        ]
        self._entities += [
            (self.destroy_service, service)
            for service in (
                self.create_service(SetBool, "~/enable", self._on_enable),
                self.create_service(Trigger, "~/reset", self._on_reset),
            )
        ]

    def deactivate(self) -> None:
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities = []
        if self._desk is not None:
            self._desk.abandon("The responder was deactivated before the answer was finished.")
        self._late.clear()
        self._forget_frames()

    def cleanup(self) -> None:
        if self._diagnostics is not None:
            self._diagnostics.destroy()
            self._diagnostics = None
        stopped = True
        if self._scheduler is not None:
            stopped = self._scheduler.close("The responder is shutting down.", _JOIN_TIMEOUT)
            self._scheduler = self._desk = None
        if self._backend is not None:
            if stopped:
                self._backend.close()
            else:
                self.get_logger().error(
                    f"{self._backend.name} has not returned for {_JOIN_TIMEOUT:.0f} s; leaving it behind."
                )
            self._backend = None
        for publisher in self._publishers_made:
            self.destroy_publisher(publisher)
        self._publishers_made = []
        self._cache = None
        self._history.clear()

    def _load(self, values: dict[str, Any]) -> ResponseBackend:
        backend = load_backend(
            values["backend"], values["model"], values["device"], values["dtype"], **backend_options(values)
        )
        if values["warm_up"]:
            try:
                backend.warm_up()
            except StrideError as error:
                if not backend.remote:
                    backend.close()
                    raise
                self.get_logger().warning(f"Not ready yet, going on: {error}")
        return backend

    @property
    def backend(self) -> ResponseBackend | None:
        """What answers; None unless the node is configured."""
        return self._backend

    @property
    def frames_kept(self) -> int:
        """Number of frames that an answer could be shown now."""
        return len(self._cache) if self._cache is not None else 0

    # The executor's thread

    def _on_frame(self, message: Image) -> None:
        self._frames.tick()
        if not self._enabled:
            return
        stamp = to_nanoseconds(message.header.stamp)
        if self._newest_ns is not None and stamp < self._newest_ns:
            self._forget_frames()  # a bag looped or the clock was set
        if self._newest_ns is None:
            self._origin_ns = stamp
        if stamp == self._newest_ns:
            return
        try:
            image = shrink(image_to_rgb(message), self.parameters["cache_size"])
            self._cache.add(image, (stamp - self._origin_ns) / NANOSECONDS)
            self._newest_ns = stamp
        except StrideError as error:
            self._rejected += 1
            self.last_error = str(error)
            self.get_logger().warning(f"Skipped a frame: {error}", throttle_duration_sec=_WARNING_PERIOD)

    def _on_span(self, span: ActivationSpan, info: Any) -> None:
        event = (span.query, span.span_id)  # publishers of other makes may count the same
        key = (info["source_timestamp"], span.span_id)
        if span.state == ActivationSpan.ONSET:
            # Spans are kept by their publisher, so a new subscription gets old ones. No time: not known.
            if not (key[0] and (key in self._seen or key in self._ledger)):
                self._begin(span, key, self._asker(span, span.header.stamp))
        elif not (self._seen.has_span(span.span_id) or self._ledger.has_span(span.span_id)):
            self._join(span, event, key)
        elif span.state in (ActivationSpan.OFFSET, ActivationSpan.RETRACTED):
            if event in self._late:
                self._late.pop(event).set()
            if span.state == ActivationSpan.OFFSET:
                self._desk.offset(event, self._asker(span, span.end))
            else:
                self._desk.retracted(event)

    def _begin(
        self, span: ActivationSpan, key: Key, request: Callable[[], ResponseRequest], refusal: str = ""
    ) -> None:
        """Owe an event its answer, or refuse it with the reason: one final Commentary in either case."""
        self._seen.add(key)
        self._onsets += 1
        arrival = time.monotonic()
        if not refusal and not span.respond:
            refusal = "Its watch wants no commentary."
        if not refusal and not self._enabled:
            refusal = "The responder is disabled."
        if refusal:
            self._scheduler.skip(Job(request, arrival, (span, key)), refusal)
        else:
            self._desk.onset((span.query, span.span_id), span.query, request, arrival, (span, key))

    def _join(self, span: ActivationSpan, event: Event, key: Key) -> None:
        """An event whose ONSET never came: pushed out by its own UPDATEs, or published too long ago."""
        request = self._asker(span, span.end)
        if span.state == ActivationSpan.UPDATE:
            over = self._late[event] = threading.Event()
            self._begin(span, key, self._late_asker(span, over))
        elif span.state == ActivationSpan.OFFSET and self.parameters["respond_on"] != "onset":
            self._begin(span, key, request)
            self._desk.offset(event, request)
        else:
            self._begin(span, key, request, "The event was over before the responder heard of it.")

    def _late_asker(self, span: ActivationSpan, over: threading.Event) -> Callable[[], ResponseRequest]:
        """What makes the request about an event that is going on and began before this node listened."""

        def ask() -> ResponseRequest:
            # What the publisher has kept comes at once, and the end of the event may be among it.
            if not over.wait(_HISTORY_WAIT):
                self._cache.wait_for(float("-inf"), _LATE_FRAME_WAIT)
            if over.is_set():
                raise NothingToShow("The event was over before the responder could answer it.")
            begin = to_nanoseconds(span.start)
            origin, frames = self._show(begin, self._newest_ns or begin)
            if not frames:
                raise NothingToShow("No frame of the event has arrived: check that `frames` is connected.")
            return self._request(span.query, frames, begin, origin)

        return ask

    def _asker(self, span: ActivationSpan, until: Time) -> Callable[[], ResponseRequest]:
        """What makes the request when the answer begins; frames that are here now stay with it."""
        begin, end = to_nanoseconds(span.start), to_nanoseconds(until)
        kept = self._show(begin, end)

        def ask() -> ResponseRequest:
            origin, frames = kept
            if not frames or frames[-1].time < (end - origin) / NANOSECONDS:
                self._cache.wait_for((end - self._origin_ns) / NANOSECONDS, _FRAME_WAIT)
                latest = self._show(begin, end)
                if not frames or latest[0] == origin:
                    origin, frames = latest
            if not frames:
                raise NothingToShow("No frame of the event has arrived: check that `frames` is connected.")
            return self._request(span.query, frames, begin, origin)

        return ask

    def _show(self, begin: int, end: int) -> tuple[int, list[TimedFrame]]:
        """The frames to show of the event from begin to end (ns), and the stamp of their time 0."""
        origin = self._origin_ns
        start = (begin - origin) / NANOSECONDS - self.parameters["pre_seconds"]
        frames = self._cache.select(start, (end - origin) / NANOSECONDS, self.parameters["max_frames"])
        return origin, frames

    def _request(self, query: str, frames: list[TimedFrame], begin: int, origin: int) -> ResponseRequest:
        told = self.parameters["history"]
        return ResponseRequest(
            query=query,
            frames=tuple(frames),
            span_start=(begin - origin) / NANOSECONDS,
            history=tuple(self._history)[-told:] if told else (),
            system_prompt=self.parameters["system_prompt"],
            frame_stamps=tuple(origin + round(frame.time * NANOSECONDS) for frame in frames),
        )

    def _forget_frames(self) -> None:
        if self._cache is not None:
            self._cache.clear()
        self._newest_ns = None

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        if not request.data:
            self._desk.abandon("The responder was disabled before the answer was finished.")
            self._forget_frames()
        response.success = True
        response.message = (
            "enabled" if request.data else "disabled: events are skipped, the model stays loaded"
        )
        return response

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._desk.abandon("The responder was reset before the answer was finished.")
        self._forget_frames()
        self._history.clear()
        response.success = True
        response.message = "frames, queue and past commentaries are forgotten"
        return response

    # Either thread

    def _publish(self, job: Job, answer: Answer) -> None:
        span, key = job.context
        text = mended(answer.text)
        # The ONSET's header, also where only an UPDATE of the span was heard.
        onset = span.onset if to_nanoseconds(span.onset) else span.header.stamp
        message = Commentary(
            header=Header(stamp=onset, frame_id=span.header.frame_id),
            span_id=span.span_id,
            query=span.query,
            text=text,
            final=answer.final,
            model=self._backend.name,
            latency=answer.latency,
            status=int(answer.outcome),
            error=mended(answer.error),
            watch=span.watch,
            camera=span.camera,
            frame_stamps=[to_time(stamp) for stamp in job.frame_stamps],
        )
        try:
            self._commentary_publisher.publish(message)
            if answer.ended and answer.outcome is Outcome.OK:
                self._text_publisher.publish(String(data=text))
                self._history.append(text)  # only what could be published
        except Exception:  # on Ctrl-C the middleware may be gone before the last answers are
            if self.context.ok():
                raise
        if answer.final and key[0]:
            self._ledger.add(key)
        if answer.outcome is Outcome.ERROR:
            self.last_error = answer.error
            self.get_logger().error(answer.error, throttle_duration_sec=_WARNING_PERIOD)
        elif answer.outcome is Outcome.SKIPPED:
            self.get_logger().warning(
                f"Span {span_number(span.span_id)} was not answered: {answer.error}",
                throttle_duration_sec=_WARNING_PERIOD,
            )

    def _fill_status(self, status: Status) -> None:
        """Report the state; docs/diagnostics.md tells the rules."""
        backend, scheduler = self._backend, self._scheduler
        figures = scheduler.figures() if scheduler is not None else Figures()
        if figures.last_error:
            status.error(f"the latest answer failed: {figures.last_error}")
        if figures.waiting >= self.parameters["max_queue"]:
            waiting = f"{counted(figures.waiting, 'event')} {plural(figures.waiting, 'waits', 'wait')}"
            status.warn(f"{waiting} for an answer, and the next one pushes the oldest out")
        active = bool(self._entities)
        status.add("state", "inactive" if not active else "active" if self._enabled else "disabled")
        status.add("backend", self.parameters["backend"])
        status.add("backend health", "failing" if figures.last_error else "ok" if backend else "none")
        status.add("model", backend.name if backend is not None else "none")
        status.add("threads", getattr(backend, "threads", "none"))
        status.add("frames (Hz)", self._frames.hertz)
        status.add("frames kept", self.frames_kept)
        status.add("frames rejected", self._rejected)
        status.add("onsets", self._onsets)
        status.add("answered", figures.answered)
        status.add("errors", figures.errors)
        status.add("skipped", figures.skipped)
        status.add("queue", figures.waiting)
        status.add("busy", figures.busy)
        status.add("first text (s)", figures.first_token)
        status.add("speed (tokens/s)", figures.tokens_per_second)
        status.add("process memory (MB)", process_memory() / 1e6)
        status.add("GPU memory (MB)", gpu_memory() / 1e6)
        status.add("last error", self.last_error or "none")

    # Making things

    def _open_ledger(self) -> Ledger:
        if not self.parameters["remember"]:
            return Ledger()
        name = self.get_fully_qualified_name().strip("/").replace("/", ".")
        home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
        ledger = Ledger(home / "stride_ros" / f"{name}.{self.context.get_domain_id()}.answered")
        if ledger.problem:
            self.get_logger().warning(
                f"Answers are forgotten at exit ({ledger.problem}): set ROS_HOME to a writable folder."
            )
        return ledger

    def _publisher(self, message_type: Any, topic: str, qos: Any) -> Any:
        publisher = self.create_publisher(message_type, topic, qos)
        self._publishers_made.append(publisher)
        return publisher


def main() -> int:
    """Run the node until it is stopped; returns the exit code."""
    return run("stride_ros.nodes.responder_node:ResponderNode")


if __name__ == "__main__":
    raise SystemExit(main())
