"""The action `describe`: goals that ask the responder's model what a camera sees or saw."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from rclpy.clock import Clock, ClockType
from std_msgs.msg import Header

from stride_ros.action import Describe
from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.errors import StrideError
from stride_ros.msg import Commentary
from stride_ros.nodes.action_server import OpenGoals
from stride_ros.nodes.messages import to_nanoseconds, to_time
from stride_ros.response.questions import NoSuchCamera, Question, QueueFull
from stride_ros.response.scheduler import Answer, AnswerStatus, Job, NothingToShow
from stride_ros.text import topics
from stride_ros.text.foreign import as_reason, mended
from stride_ros.text.wording import counted

if TYPE_CHECKING:
    from rclpy.action.server import ServerGoalHandle

    from stride_ros.nodes.lifecycle import ManagedNode
    from stride_ros.response.responder import Responder

_PERIOD = 0.1  # s between checks of the clock and the queue while questions are open
_LONGEST = 1000  # characters of a question, as of a query


class Outcome(IntEnum):
    """How a goal ends; the values are those of stride_ros/action/Describe."""

    NONE = 0
    UNKNOWN = 1
    TIMEOUT = 2
    QUEUE_FULL = 3
    NO_FRAMES = 4
    MODEL_FAILED = 5
    DEACTIVATED = 6
    CANCELED = 7
    INVALID = 8


_OUTCOMES = {
    AnswerStatus.OK: Outcome.NONE,
    AnswerStatus.ERROR: Outcome.MODEL_FAILED,
    AnswerStatus.SKIPPED: Outcome.DEACTIVATED,
}


class _Refused(StrideError):
    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


@dataclass
class _Open:
    """A question that is not yet answered. deadline: ns on the node's clock."""

    handle: ServerGoalHandle
    responder: Responder
    job: Job
    deadline: int
    model: str
    text: str = ""
    position: int = -1
    latency: float = 0.0
    canceled: bool = False


class DescribeAction:
    """Serves from the node's construction to its destruction; called in the executor's thread.

    The responder's thread only records the answer. A goal that is canceled or times out ends at once; the
    model stops at the next piece of text.
    """

    def __init__(
        self,
        node: ManagedNode,
        responder: Callable[[], Responder],
        *,
        obstacle: Callable[[], str],
        model: Callable[[], str],
    ) -> None:
        """`obstacle()`: why no question can be answered in the node's state, with the remedy; else empty.

        `responder()`: returns the responder, called only if there is no obstacle. `model()`: the name of its
        model.
        """
        self._node, self._responder, self._obstacle, self._model = node, responder, obstacle, model
        self._news: deque[tuple[bytes, Answer]] = deque()
        self._goals: dict[bytes, _Open] = {}  # by goal id
        self._guard = node.create_guard_condition(self._on_news)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(_PERIOD, self._check, clock=steady)
        self._timer.cancel()
        self._server = OpenGoals(
            node, Describe, topics.DESCRIBE, on_goal=self._on_goal, on_cancel=self._on_cancel
        )

    def end_all(self, reason: str) -> None:
        """End all goals, since the node is deactivated."""
        for goal in list(self._goals.values()):
            self._end(goal, Outcome.DEACTIVATED, reason)

    def clock_was_set(self, before: int, after: int) -> None:
        """Keep what is left of timeouts when the node's clock was set from one time to another."""
        for goal in self._goals.values():
            goal.deadline += after - before

    def _on_goal(self, handle: ServerGoalHandle) -> None:
        key = bytes(handle.goal_id.uuid)
        try:
            goal = self._open(handle, key)
        except _Refused as refusal:
            outcome, reason = refusal.outcome, str(refusal)
        except NoSuchCamera as error:
            outcome, reason = Outcome.INVALID, str(error)
        except QueueFull as error:
            outcome, reason = Outcome.QUEUE_FULL, str(error)
        except NothingToShow as error:
            outcome, reason = Outcome.NO_FRAMES, str(error)
        except Exception as error:  # one goal must not end the executor
            outcome, reason = Outcome.UNKNOWN, f"{type(error).__name__}: {error}"
            self._node.get_logger().error(f"A question failed: {as_reason(reason)}")
        else:
            self._goals[key] = goal
            self._timer.reset()
            self._check()
            return
        self._server.finish(handle, Describe.Result(error_code=int(outcome), error_msg=as_reason(reason)))

    def _on_cancel(self, handle: ServerGoalHandle) -> None:
        if (goal := self._goals.get(bytes(handle.goal_id.uuid))) is not None:
            goal.canceled = True
            self._guard.trigger()  # the goal ends after rclpy has answered the request

    def _open(self, handle: ServerGoalHandle, key: bytes) -> _Open:
        request, parameters = handle.request, self._node.parameters
        if obstacle := self._obstacle():
            raise _Refused(Outcome.DEACTIVATED, obstacle)
        responder = self._responder()
        question = Question(
            request.question,
            to_nanoseconds(request.start),
            to_nanoseconds(request.end),
            to_nanoseconds(request.last),
            request.max_words or int(parameters["describe.max_words"]),
            request.max_frames or int(parameters["max_frames"]),
            request.camera,
        )
        _check(question)
        timeout = to_nanoseconds(request.timeout)
        if timeout <= 0:
            timeout = round(parameters["describe.timeout"] * NANOSECONDS)
        job = responder.questions.ask(
            question, lambda answer: self._tell(key, answer), int(parameters["describe.max_queue"])
        )
        deadline = self._node.get_clock().now().nanoseconds + timeout
        return _Open(handle, responder, job, deadline, self._model())

    def _tell(self, key: bytes, answer: Answer) -> None:
        """Record a partial or final answer; called in any thread."""
        self._news.append((key, answer))
        self._guard.trigger()

    def _on_news(self) -> None:
        while self._news:
            key, answer = self._news.popleft()
            if (goal := self._goals.get(key)) is None or goal.canceled:
                continue
            goal.text, goal.latency = mended(answer.text), answer.latency
            if answer.ended:
                self._end(goal, _OUTCOMES[answer.status], answer.error)
            else:
                goal.handle.publish_feedback(Describe.Feedback(text=goal.text, queue_position=0))
                goal.position = 0
        self._check()

    def _check(self) -> None:
        """End goals that are over, and send the others their place in the queue."""
        now = self._node.get_clock().now().nanoseconds
        for goal in list(self._goals.values()):
            position = goal.responder.questions.position(goal.job)
            if goal.canceled:
                self._end(goal, Outcome.CANCELED, "The client canceled the goal.")
            elif now >= goal.deadline:
                reason = "The answer was not finished in time; send the goal again, or set a longer timeout."
                if position:
                    reason = (
                        "The question was still in the queue, since events and earlier questions come first; "
                        "set a longer timeout, or set respond to false for watches that need no commentary."
                    )
                self._end(goal, Outcome.TIMEOUT, reason)
            elif position != goal.position and not goal.job.closed:
                goal.position = position
                goal.handle.publish_feedback(Describe.Feedback(text=goal.text, queue_position=position))

    def _end(self, goal: _Open, outcome: Outcome, reason: str) -> None:
        del self._goals[bytes(goal.handle.goal_id.uuid)]
        goal.responder.questions.withdraw(goal.job)
        stamps = [to_time(stamp) for stamp in goal.job.frame_stamps]
        commentary = Commentary(
            header=Header(stamp=stamps[-1]),
            query=mended(goal.handle.request.question),
            camera=goal.handle.request.camera,
            text=goal.text,
            final=True,
            model=goal.model,
            latency=goal.latency,
            status={Outcome.NONE: Commentary.OK, Outcome.MODEL_FAILED: Commentary.ERROR}.get(
                outcome, Commentary.SKIPPED
            ),
            error=reason,
            frame_stamps=stamps,
        )
        result = Describe.Result(error_code=int(outcome), error_msg=reason, commentary=commentary)
        if not self._goals:
            self._timer.cancel()
        self._server.finish(goal.handle, result, succeeded=outcome is Outcome.NONE)


def _check(question: Question) -> None:
    """Raise _Refused for an invalid question."""
    if not question.text.strip():
        raise _Refused(Outcome.INVALID, "The question is empty; set what to ask about the images.")
    if len(question.text) > _LONGEST:
        has = counted(len(question.text), "character")
        raise _Refused(Outcome.INVALID, f"The question has {has}; use at most {_LONGEST}.")
    if question.last < 0:
        raise _Refused(Outcome.INVALID, "last is negative; use 0 for the newest frame.")
    if question.end and not 0 <= question.start <= question.end:
        raise _Refused(
            Outcome.INVALID, "The time range ends before it begins; set start to a time before end."
        )
