"""The action `wait_for_event`: goals that end when a watch reports an event."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rclpy.clock import Clock, ClockType
from std_msgs.msg import Header

from stride_ros.action import WaitForEvent
from stride_ros.activation.frame_path import DecisionSink
from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.activation.spans import SpanState
from stride_ros.activation.waits import Outcome, Sighting, SpanHistory, Until, Wait, WaitTerms
from stride_ros.activation.watch_list import Refusal, Source, WatchEntry, WatchError, WatchSpec
from stride_ros.activation.watch_sharing import WatchSharing, is_added
from stride_ros.msg import ActivationSpan
from stride_ros.nodes.action_server import OpenGoals
from stride_ros.nodes.finals import Finals
from stride_ros.nodes.image_input import LiveFrame
from stride_ros.nodes.messages import to_nanoseconds
from stride_ros.nodes.watch_services import to_spec
from stride_ros.text import topics
from stride_ros.text.foreign import as_reason
from stride_ros.text.wording import counted, escaped

if TYPE_CHECKING:
    from rclpy.action.server import ServerGoalHandle

    from stride_ros.activation.stamped_stream import Decision
    from stride_ros.nodes.activation_watches import ActivationWatches
    from stride_ros.nodes.lifecycle import ManagedNode

_PERIOD = 0.1  # s between checks of the clock while goals wait


@dataclass(frozen=True)
class _Tick:
    """The decisions on a frame: P(active) of the newest slot by watch."""

    header: Header
    stamp: int
    camera: str
    probabilities: dict[str, float]


@dataclass
class _Open:
    """A waiting goal."""

    handle: ServerGoalHandle
    wait: Wait[ActivationSpan]
    shares: bool  # whether its watch is removed with the last goal that waits for it
    canceled: bool = False
    has_seen: bool = False  # whether there was a decision on a frame of its cameras


class WaitAction(DecisionSink[LiveFrame]):
    """Serves from the node's construction to its destruction.

    `span` and `decided` are called in the worker's thread and only record what happened; everything else
    happens in the executor's thread, which waits for neither the worker nor the model.
    """

    def __init__(
        self,
        node: ManagedNode,
        watches: ActivationWatches,
        *,
        obstacle: Callable[[], str],
        on_change: Callable[[], object],
    ) -> None:
        """`obstacle()`: why no goal can wait in the node's state, with the remedy; else empty.

        `on_change()`: the list of watches has changed.
        """
        self._node, self._watches, self._obstacle, self._on_change = node, watches, obstacle, on_change
        self._news: deque[Sighting[ActivationSpan] | _Tick] = deque()
        self._goals: dict[bytes, _Open] = {}  # by goal id
        self._history: SpanHistory[ActivationSpan] = SpanHistory()
        self._sharing = WatchSharing()
        # Query by watch and camera, for those that have decided.
        self._deciding: dict[tuple[str, str], str] = {}
        self._newest: dict[str, int] = {}  # stamp of the newest decided frame, by camera
        self._finals = Finals(node, self.check)
        self._guard = node.create_guard_condition(self._on_news)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(_PERIOD, self._on_timer, clock=steady)
        self._timer.cancel()
        self._server = OpenGoals(
            node, WaitForEvent, topics.WAIT_FOR_EVENT, on_goal=self._on_goal, on_cancel=self._on_cancel
        )

    # The worker's thread

    def span(self, message: ActivationSpan) -> None:
        """Record a published change of a span."""
        state = SpanState(message.state)
        start, end = to_nanoseconds(message.start), to_nanoseconds(message.end)
        self._news.append(
            Sighting(
                message.watch, message.camera, message.query, message.span_id, state, start, end, message
            )
        )
        self._guard.trigger()

    def decided(self, stream: str, frame: LiveFrame, decisions: Sequence[Decision]) -> None:
        """See `DecisionSink`."""
        probabilities = {decision.watch: decision.update.newest_probability for decision in decisions}
        self._news.append(_Tick(frame.header, frame.stamp, stream, probabilities))
        self._guard.trigger()

    # The executor's thread

    def end_all(self, outcome: Outcome, reason: str, camera: str | None = None) -> None:
        """End all goals, or only those whose watch covers this camera.

        Earlier events do not count for later goals.
        """
        self._on_news()
        specs = {entry.spec.id: entry.spec for entry in self._watches.entries()}
        for goal in list(self._goals.values()):
            spec = specs.get(goal.wait.terms.watch)
            if camera is None or spec is None or camera in self._watches.cameras_of(spec):
                self._end(goal, outcome, reason)
        self._history.clear(camera)

    def clock_was_set(self, before: int, after: int) -> None:
        """Keep what is left of timeouts when the node's clock was set from one time to another."""
        for goal in self._goals.values():
            goal.wait.postpone(after - before)

    def restart(self) -> None:
        """Forget what an earlier activation has seen."""
        self._news.clear()
        self._history.clear()
        self._deciding, self._newest = {}, {}

    def check(self) -> None:
        """End the goals that are over."""
        entries = {entry.spec.id: entry.spec.query for entry in self._watches.entries()}
        self._history.keep_only(entries)
        self._deciding = {key: query for key, query in self._deciding.items() if entries.get(key[0]) == query}
        now = self._node.get_clock().now().nanoseconds
        for goal in list(self._goals.values()):
            terms = goal.wait.terms
            if goal.canceled:
                self._end(goal, Outcome.CANCELED, "The client canceled the goal.")
            elif self._is_complete(goal):
                self._end(goal, Outcome.NONE, "")
            elif entries.get(terms.watch) != terms.query:
                reason = f"The watch {terms.watch} was removed or replaced, or its lifetime is over."
                self._end(goal, Outcome.WATCH_REMOVED, reason)
            elif now >= terms.deadline:
                reason = "The event did not happen in time; send the goal again, or set a longer timeout."
                if not goal.has_seen:
                    reason = "No image was processed in this time; check the camera, or set a longer timeout."
                self._end(goal, Outcome.TIMEOUT, reason)

    def _on_goal(self, handle: ServerGoalHandle) -> None:
        self._on_news()  # of before
        try:
            goal = self._open(handle.request, handle)
        except WatchError as error:
            self._server.finish(handle, _result(Outcome.REFUSED, as_reason(str(error))))
            return
        except Exception as error:  # one goal must not end the executor
            reason = as_reason(f"{type(error).__name__}: {error}")
            self._node.get_logger().error(f"A goal failed: {reason}")
            self._server.finish(handle, _result(Outcome.UNKNOWN, reason))
            return
        self._goals[bytes(handle.goal_id.uuid)] = goal
        if goal.wait.terms.want_commentary:
            self._finals.want()
        self._timer.reset()
        self.check()

    def _on_cancel(self, handle: ServerGoalHandle) -> None:
        if (goal := self._goals.get(bytes(handle.goal_id.uuid))) is not None:
            goal.canceled = True
            self._guard.trigger()  # the goal ends after rclpy has answered the request

    def _on_timer(self) -> None:
        self._watches.expire()
        self.check()

    def _on_news(self) -> None:
        while self._news:
            news = self._news.popleft()
            if isinstance(news, _Tick):
                self._on_tick(news)
            else:
                self._history.record(news)
                if self._deciding.get((news.watch, news.camera)) == news.query:
                    for goal in self._goals.values():
                        goal.wait.see(news)
        self.check()

    def _on_tick(self, tick: _Tick) -> None:
        if tick.stamp < self._newest.get(tick.camera, 0):
            self._history.clear(tick.camera)  # from before a jump in time, which would look like the future
        self._newest[tick.camera] = tick.stamp
        entries = {entry.spec.id: entry for entry in self._watches.entries()}
        first = {id for id in tick.probabilities if id in entries and (id, tick.camera) not in self._deciding}
        self._deciding.update({(id, tick.camera): entries[id].spec.query for id in first})
        for goal in self._goals.values():
            terms = goal.wait.terms
            if terms.watch in first:
                goal.wait.recall(self._history.of(terms.watch, terms.query, tick.camera))
            entry = entries.get(terms.watch)
            if entry is not None and tick.camera in self._watches.cameras_of(entry.spec):
                goal.has_seen = True
                goal.handle.publish_feedback(self._feedback(tick, entry))

    def _feedback(self, tick: _Tick, entry: WatchEntry) -> WaitForEvent.Feedback:
        id = entry.spec.id
        state = WaitForEvent.Feedback.WAITING
        if self._history.is_open(id, entry.spec.query, tick.camera):
            state = WaitForEvent.Feedback.OPEN
        elif (id, tick.camera) not in self._deciding and entry.spec.look_back:
            state = WaitForEvent.Feedback.CATCHING_UP
        return WaitForEvent.Feedback(
            header=tick.header,
            state=state,
            camera=tick.camera,
            probability=tick.probabilities.get(id, self._watches.probability(entry.spec)),
        )

    # How a goal begins and ends

    def _open(self, request: WaitForEvent.Goal, handle: ServerGoalHandle) -> _Open:
        """Start waiting for a goal; WatchError if that is not possible."""
        if obstacle := self._obstacle():
            raise WatchError(Refusal.UNKNOWN, obstacle)
        if request.until not in tuple(Until):
            raise WatchError(Refusal.INVALID, f"until is {request.until}; use 0 (ONSET) or 1 (OFFSET).")
        if len(self._goals) >= self._node.parameters["max_goals"]:
            raise WatchError(
                Refusal.LIMIT,
                f"{counted(len(self._goals), 'goal')} are already waiting; cancel one, or raise the "
                "parameter max_goals.",
            )
        spec, until = self._watches.resolved(to_spec(request.watch)), Until(request.until)
        now = self._node.get_clock().now().nanoseconds
        chosen = self._sharing.choose(
            spec, self._watches.entries(), until=until, accept_open=request.accept_open, now=now
        )
        id, query, shares = self._use(chosen)
        timeout = to_nanoseconds(request.timeout)
        if timeout <= 0:
            timeout = round(self._node.parameters["max_wait"] * NANOSECONDS)
        since = None
        if spec.look_back:  # each camera has a clock of its own
            since = {camera: newest - spec.look_back for camera, newest in self._newest.items()}
        wait: Wait[ActivationSpan] = Wait(
            WaitTerms(id, query, until, request.accept_open, since, now + timeout, request.want_commentary)
        )
        wait.recall(self._history.of(id, query))
        return _Open(handle, wait, shares)

    def _use(self, chosen: WatchEntry | WatchSpec) -> tuple[str, str, bool]:
        """Use or add the specified watch; return its id and query, and whether its last user removes it."""
        if isinstance(chosen, WatchEntry):
            if is_added(chosen):
                self._sharing.use(chosen.spec.id)
            return chosen.spec.id, chosen.spec.query, is_added(chosen)
        id = self._watches.add(chosen, source=Source.ACTION)
        self._sharing.use(id)
        self._node.get_logger().info(f"Watch {escaped(id)} for a goal: {escaped(chosen.query)}")
        self._on_change()
        return id, chosen.query, True

    def _is_complete(self, goal: _Open) -> bool:
        found, terms = goal.wait.found, goal.wait.terms
        if found is None or not terms.want_commentary:
            return found is not None
        return self._finals.of(found.span_id) is not None or not self._finals.may_come()

    def _end(self, goal: _Open, outcome: Outcome, reason: str) -> None:
        """End a goal; one that only lacks its Commentary has succeeded, unless it was canceled."""
        del self._goals[bytes(goal.handle.goal_id.uuid)]
        terms, found = goal.wait.terms, goal.wait.found
        unused = goal.shares and self._sharing.leave(terms.watch)
        # A service may have removed the watch meanwhile, or added it permanently.
        if unused and self._watches.remove(terms.watch, source=Source.ACTION):
            self._on_change()
        if found is not None and outcome is not Outcome.CANCELED:
            outcome, reason = Outcome.NONE, ""
        result = _result(outcome, reason)
        if found is not None:
            result.span = found.message
        if terms.want_commentary:
            if found is not None and (final := self._finals.of(found.span_id)) is not None:
                result.commentary = final
            self._finals.unwant()
        if not self._goals:
            self._timer.cancel()
        self._server.finish(goal.handle, result, succeeded=outcome is Outcome.NONE)


def _result(outcome: Outcome, reason: str) -> WaitForEvent.Result:
    return WaitForEvent.Result(error_code=int(outcome), error_msg=reason)
