"""The client that a mission uses to talk to a robot with the nodes of this package."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import rclpy
from builtin_interfaces.msg import Duration, Time
from rclpy.action import ActionClient
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions

from stride_ros.action import Describe, WaitForEvent
from stride_ros.client.calls import CallRun
from stride_ros.client.client_thread import ClientThread
from stride_ros.client.goals import GoalRun
from stride_ros.client.over import ENDS, OverRun
from stride_ros.client.pending import Pending
from stride_ros.client.watch import RobotWatch
from stride_ros.msg import ActivationSpan, Commentary, Watches, WatchSpec
from stride_ros.srv import AddWatch, RemoveWatch
from stride_ros.text import topics

_DEPTH = QoSProfile(depth=100)  # messages that wait here, such as the feedback for all goals
_SPANS = QoSProfile(depth=100, durability=QoSDurabilityPolicy.VOLATILE)  # no old messages
_WATCHES = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
_ENDED = 1000  # events whose end is remembered
T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    """An event that was waited for. commentary: the final one, if it was wanted and has arrived."""

    span: ActivationSpan
    commentary: Commentary | None = None

    @property
    def text(self) -> str:
        """The text of the commentary; empty if there is none."""
        return str(self.commentary.text) if self.commentary is not None else ""

    @property
    def retracted(self) -> bool:
        """Whether it has turned out to be a false alarm."""
        return bool(self.span.state == ActivationSpan.RETRACTED)


class Robot:
    """A client of a robot's nodes: every method returns at once, with something to await or block on.

        with Robot() as robot:
            event = robot.wait_for("Tell me when a person is in view.", timeout=30.0).result()
            answer = robot.describe("What does the person carry?", last=3.0).result()

        async with Robot() as robot:
            event = await robot.wait_for("Tell me when a person is in view.", timeout=30.0)

    It has its own ROS node and thread, so it may be used from any thread and any callback.
    """

    def __init__(
        self, namespace: str = topics.NAMESPACE, *, patience: float = 10.0, context: Any = None
    ) -> None:
        """`namespace`: namespace of the nodes. patience: s within which they must be there.

        context: rclpy's context, the default one if None. If it is not initialised yet, the client does that,
        without signal handlers: Ctrl-C raises KeyboardInterrupt as in any program, and `close` still reaches
        the nodes.
        """
        context = context if context is not None else rclpy.get_default_context()
        self._owns_context = not context.ok()
        if self._owns_context:
            rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
        self._context, self._patience = context, patience
        name = f"robot_client_{secrets.token_hex(4)}"
        self._node = rclpy.create_node(
            name, namespace=namespace, context=context, enable_rosout=False, start_parameter_services=False
        )
        qos = {f"{part}_service_qos_profile": _DEPTH for part in ("goal", "result", "cancel")}
        self._waiting = ActionClient(
            self._node, WaitForEvent, topics.WAIT_FOR_EVENT, feedback_sub_qos_profile=_DEPTH, **qos
        )
        self._describing = ActionClient(
            self._node, Describe, topics.DESCRIBE, feedback_sub_qos_profile=_DEPTH, **qos
        )
        self._adding = self._node.create_client(AddWatch, "activation/add_watch", qos_profile=_DEPTH)
        self._removing = self._node.create_client(RemoveWatch, "activation/remove_watch", qos_profile=_DEPTH)
        self._is_closed = False
        # Whole names for messages, while there is a node.
        resolve = self._node.resolve_topic_name
        self._waiting_name, self._describing_name = resolve(topics.WAIT_FOR_EVENT), resolve(topics.DESCRIBE)
        self._adding_name, self._removing_name = map(
            self._node.resolve_service_name, (self._adding.srv_name, self._removing.srv_name)
        )
        self._watches: dict[str, RobotWatch] = {}
        self._ended: deque[ActivationSpan] = deque(maxlen=_ENDED)
        self._overs: list[OverRun[Event]] = []
        self._thread = ClientThread(self._node, context, self._on_tick)
        # From the beginning, since discovery of a new subscription takes a while and an ONSET comes only
        # once.
        self._node.create_subscription(ActivationSpan, topics.SPAN, self._on_span, _SPANS)
        self._node.create_subscription(Watches, topics.WATCHES, self._on_watches, _WATCHES)
        self._thread.start()

    # Requests

    def wait_for(
        self,
        query: str = "",
        *,
        watch: str = "",
        until: str = "onset",
        timeout: float | None = None,
        look_back: float = 0.0,
        cameras: Sequence[str] = (),
        accept_open: bool = True,
        commentary: bool = False,
        on_feedback: Callable[[WaitForEvent.Feedback], object] | None = None,
        **spec: Any,
    ) -> Pending[Event]:
        """Wait until something happens; see WaitForEvent.action.

        query: what to wait for, in natural language; watch: id of an existing watch, or of a new one. until:
        `onset` or `offset`. timeout: s, the node's max_wait if None. look_back: s; events in this time before
        the request count, too. cameras: their names, all if empty. accept_open: an event that is already
        going on counts. commentary: also wait for the commentary on it. spec: further fields of WatchSpec.
        Fails with TimedOut, Refused, Canceled, NodeLost, or with ClientError if the watch was removed, the
        node deactivated or a clock set.
        """
        moments = {"onset": WaitForEvent.Goal.ONSET, "offset": WaitForEvent.Goal.OFFSET}
        if until not in moments:
            raise ValueError(f"until is {until!r}; use 'onset' or 'offset'.")
        goal = WaitForEvent.Goal(
            watch=WatchSpec(
                query=query, id=watch, look_back=duration(look_back), cameras=list(cameras), **spec
            ),
            until=moments[until],
            accept_open=accept_open,
            timeout=duration(timeout or 0.0),
            want_commentary=commentary,
        )

        def convert(result: WaitForEvent.Result) -> Event:
            return Event(result.span, result.commentary if result.commentary.final else None)

        return self._run(self._waiting, self._waiting_name, goal, convert, on_feedback, timeout)

    def wait_until_over(
        self, event: Event | ActivationSpan, *, timeout: float | None = None
    ) -> Pending[Event]:
        """Wait until an event is over that `wait_for` returned, or a span that `on_event` got.

        It is over when it has ended, and when it was a false alarm: then the result is `retracted`. timeout:
        s of real time; None: as long as it takes. Fails with TimedOut, Canceled or NodeLost.
        """
        span = event.span if isinstance(event, Event) else event
        run = OverRun(span, Event, post=self._thread.post, limit=timeout)

        def begin() -> None:
            for ended in self._ended:
                run.see(ended)
            self._overs.append(run)

        self._thread.post(begin)
        return self._thread.begin(run)

    def describe(
        self,
        question: str,
        *,
        camera: str = "",
        last: float = 0.0,
        start: float | None = None,
        end: float | None = None,
        max_words: int = 0,
        max_frames: int = 0,
        timeout: float | None = None,
        on_text: Callable[[str], object] | None = None,
    ) -> Pending[Commentary]:
        """Ask what a camera sees or saw; the Commentary has the answer in `text`.

        camera: its name, if there are several. last: s, use the frames of this last time; 0: the newest
        frame. start, end: a time range instead, s since the epoch on the clock of the images. on_text(text):
        gets the whole text so far, as it arrives, in the client's thread. For limits of 0 or None, the node's
        apply. Fails with TimedOut, Refused, Canceled, NodeLost or ClientError.
        """
        goal = Describe.Goal(
            question=question,
            camera=camera,
            last=duration(last),
            start=_time(start or 0.0),
            end=_time(end or 0.0),
            max_words=max_words,
            max_frames=max_frames,
            timeout=duration(timeout or 0.0),
        )

        def tell(feedback: Describe.Feedback) -> None:
            if feedback.text and on_text is not None:
                on_text(feedback.text)

        return self._run(
            self._describing, self._describing_name, goal, lambda result: result.commentary, tell, timeout
        )

    def watch(
        self,
        query: str,
        *,
        id: str = "",
        on_event: Callable[[ActivationSpan], object] | None = None,
        lifetime: float = 30.0,
        **spec: Any,
    ) -> RobotWatch:
        """Watch for something while a `with` block runs, or until `remove` is called.

            with robot.watch("Tell me when the door opens.", on_event=print) as door:
                robot.wait_for(watch=door.id).result()

        on_event(span): gets each change of its spans from now on, in the client's thread. lifetime: s; the
        watch is renewed while this process lives, and expires this long after its end; 0: it stays until it
        is removed. spec: further fields of WatchSpec. The block, or `added`, fails with Refused or NodeLost.
        """
        name = id or f"watch_{secrets.token_hex(8)}"  # the same if the request is sent again
        made = WatchSpec(query=query, id=name, lifetime=duration(lifetime), **spec)
        return RobotWatch(self, made, lifetime, on_event)

    def close(self) -> None:
        """Cancel pending requests, remove the watches of this client and end its thread, in about 2 s."""
        if self._is_closed:
            return
        self._is_closed = True
        removals = [watch.remove() for watch in list(self._watches.values())]
        if not self._thread.close(removals):
            return
        self._waiting.destroy()
        self._describing.destroy()
        self._node.destroy_node()
        if self._owns_context:
            self._context.try_shutdown()

    def __enter__(self) -> Robot:
        """See the class."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    async def __aenter__(self) -> Robot:
        """See the class."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close without blocking the event loop."""
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    # For the watches of this client

    def add_watch(self, spec: WatchSpec) -> Pending[str]:
        """Add or renew a watch; the result is its id."""
        call = CallRun(
            self._adding,
            AddWatch.Request(spec=spec),
            lambda response: str(response.id),
            name=self._adding_name,
            post=self._thread.post,
            patience=self._patience,
        )
        return self._thread.begin(call)

    def remove_watch(self, id: str) -> Pending[None]:
        """Remove a watch."""
        self.unfollow(id)
        call = CallRun(
            self._removing,
            RemoveWatch.Request(id=id),
            lambda response: None,
            name=self._removing_name,
            post=self._thread.post,
            patience=self._patience,
            done_before=RemoveWatch.Response.NOT_FOUND,
        )
        return self._thread.begin(call)

    def follow(self, watch: RobotWatch, id: str) -> None:
        """Pass a watch the changes of its spans and renew it, until `unfollow`."""
        self._watches[id] = watch

    def unfollow(self, id: str) -> None:
        """Stop following a watch."""
        self._watches.pop(id, None)

    # The client's thread

    def _run(
        self,
        client: Any,
        name: str,
        goal: Any,
        convert: Callable[[Any], T],
        on_feedback: Callable[[Any], object] | None,
        timeout: float | None,
    ) -> Pending[T]:
        call = self._thread.call
        run = GoalRun(
            client,
            goal,
            convert,
            name=name,
            post=self._thread.post,
            on_feedback=None if on_feedback is None else lambda told: call(lambda: on_feedback(told)),
            patience=self._patience,
            limit=timeout,
        )
        return self._thread.begin(run)

    def _on_tick(self) -> None:
        self._overs = [run for run in self._overs if not run.pending.done()]
        for watch in list(self._watches.values()):
            watch.renew()

    def _on_span(self, span: ActivationSpan) -> None:
        if span.state in ENDS:
            self._ended.append(span)
        for run in self._overs:
            run.see(span)
        if (watch := self._watches.get(span.watch)) is not None:
            self._thread.call(lambda: watch.tell(span))

    def _on_watches(self, message: Watches) -> None:
        for run in self._overs:
            run.hear(message)


def duration(seconds: float) -> Duration:
    """Seconds as a Duration message."""
    return Duration(sec=int(seconds // 1), nanosec=int(seconds % 1 * 1e9))


def _time(seconds: float) -> Time:
    return Time(sec=int(seconds // 1), nanosec=int(seconds % 1 * 1e9))
