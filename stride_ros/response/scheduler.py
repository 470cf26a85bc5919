"""Schedule answers: one at a time, with a bounded queue and exactly one end for every job."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from stride_ros.errors import StrideError
from stride_ros.response.backend import ResponseBackend, ResponseRequest, brief
from stride_ros.response.config import ResponseConfig
from stride_ros.text.foreign import as_reason
from stride_ros.text.wording import counted

_LOG = logging.getLogger(__name__)


class AnswerStatus(IntEnum):
    """How an answer ended; the numbers are those of Commentary.status."""

    OK = 0
    ERROR = 1
    SKIPPED = 2


class NothingToShow(StrideError):
    """No frame of the event is available, so there is nothing to ask about."""


@dataclass(eq=False)
class Job:
    """One pending answer.

    `request` is called on the worker when the answer begins; `arrival` is time.monotonic() of the onset, from
    which latency counts; `context` is the caller's own. The end of a job that is not the `last` for its onset
    is not published as final: another job follows, and once that has ended, nothing more of this one, its
    `earlier`, is published.
    """

    request: Callable[[], ResponseRequest]
    arrival: float
    context: object = None
    last: bool = True
    earlier: Job | None = None
    is_question: bool = False  # answered when no event waits, and not counted
    max_words: int = 0  # above 0: the text ends after this number of words
    text: str = field(default="", init=False)
    frame_stamps: tuple[int, ...] = field(default=(), init=False)  # ns, of the frames shown
    submitted: float = field(default=0.0, init=False)  # time.monotonic() from which the deadline counts
    begun: bool = field(default=False, init=False)
    closed: bool = field(default=False, init=False)


@dataclass(frozen=True)
class Answer:
    """The state of an answer: all `text` so far; `final` is true exactly once for each last job.

    `ended` tells that this job adds no more text. `latency` is in s from the job's arrival; `error` is
    one sentence unless the status is OK.
    """

    text: str
    ended: bool
    final: bool
    status: AnswerStatus
    error: str
    latency: float


@dataclass
class Figures:
    """Counters and the latest measurements, for diagnostics."""

    answered: int = 0
    errors: int = 0
    skipped: int = 0
    waiting: int = 0
    busy: bool = False
    first_token: float = 0.0  # s from arrival to the first text of the latest answer
    tokens_per_second: float = 0.0  # of the latest answer
    last_error: str = ""  # empty once an answer succeeds again


class AnswerScheduler:
    """Runs jobs one after the other and reports through `publish(job, answer)`.

    Every submitted job ends exactly once, whatever the backend does: OK, or ERROR or SKIPPED with the reason.
    `publish` is called from several threads, one call at a time, and must not call back into the scheduler.

    `config` sets what a new job does to others (`busy_policy`, `max_queue`), how many seconds after its
    submission a job is skipped, even if the backend hangs (`deadline`), and the maximum rate of partial
    answers (`partial_rate`).

    A separate thread answers. With `inline` there is no thread: `submit` returns when the job has ended, and
    deadlines do not apply, so that the same jobs give the same answers.
    """

    def __init__(
        self,
        backend: ResponseBackend,
        publish: Callable[[Job, Answer], None],
        config: ResponseConfig,
        *,
        inline: bool = False,
    ) -> None:
        self._backend = backend
        self._publish = publish
        self._policy = config.busy_policy
        self._max_queue = config.max_queue
        self._deadline = 0.0 if inline else config.deadline
        self._partial_interval = 1.0 / config.partial_rate
        self._waiting: deque[Job] = deque()
        self._questions: deque[Job] = deque()
        self._current: Job | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self.lock = self._changed  # reentrant; while it is held, nothing begins, ends or is published
        self._figures = Figures()
        self._inline = inline
        self._threads: list[threading.Thread] = []
        if not inline:
            self._start("stride-responder", self._work)
        if self._deadline:
            self._start("stride-deadline", self._watch)

    def _start(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def submit(self, job: Job) -> None:
        """Accept a job; never blocks on the backend, unless jobs are answered inline."""
        with self._changed:
            if self._stopping:
                self._finish(job, AnswerStatus.SKIPPED, "The responder is shutting down.")
                return
            if self._policy != "queue":
                for waiting in tuple(self._waiting):
                    self._finish(waiting, AnswerStatus.SKIPPED, "A newer event came before the answer began.")
                current = self._current
                if self._policy == "interrupt" and current is not None and not current.is_question:
                    self._finish(current, AnswerStatus.SKIPPED, "A newer event interrupted the answer.")
            elif len(self._waiting) >= self._max_queue:
                self._finish(
                    self._waiting[0],
                    AnswerStatus.SKIPPED,
                    f"More than {counted(self._max_queue, 'event')} waited for an answer, and this was "
                    "the oldest.",
                )
            job.submitted = time.monotonic()
            self._waiting.append(job)
            self._changed.notify_all()
        if self._inline:
            self._answer_next()

    def ask(self, job: Job, max_waiting: int) -> bool:
        """Accept a question, which waits for all events; False if the queue is full."""
        with self._changed:
            if len(self._questions) >= max_waiting and not self._stopping:
                return False
            job.submitted = time.monotonic()
            self._questions.append(job)
            if self._stopping:
                self._finish(job, AnswerStatus.SKIPPED, "The responder is shutting down.")
            self._changed.notify_all()
        if self._inline:
            self._answer_next()
        return True

    def position(self, job: Job) -> int:
        """The place of a question among those waiting, from 1; 0: it is not waiting."""
        with self._changed:
            return self._questions.index(job) + 1 if job in self._questions else 0

    def skip(self, job: Job, reason: str) -> None:
        """End a job, submitted or not, without an answer; does nothing if it has already ended."""
        with self._changed:
            self._finish(job, AnswerStatus.SKIPPED, reason)

    def drop(self, job: Job) -> None:
        """Stop a job and publish nothing more of it, since another job gives the final answer."""
        with self.lock:
            job.closed = True
            job.request = _over
            self._leave_queue(job)

    def skip_all(self, reason: str) -> None:
        """End every job now as SKIPPED with `reason`."""
        with self._changed:
            for job in (*self._owed(), *self._questions):
                self._finish(job, AnswerStatus.SKIPPED, reason)

    def close(self, reason: str, timeout: float = 10.0) -> bool:
        """Skip pending jobs and stop the threads; False if the backend has not returned after `timeout` s."""
        self.skip_all(reason)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no job is waiting or running; False if `timeout` (s) passed first."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._next and self._current is None, timeout)

    def figures(self) -> Figures:
        """A copy of the counters and measurements."""
        with self._changed:
            values = dict(self._figures.__dict__, waiting=len(self._waiting), busy=self._current is not None)
        return Figures(**values)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._next) or self._stopping)
                if not self._next:
                    return
            self._answer_next()

    def _answer_next(self) -> None:
        with self._changed:
            if not self._next:  # it was skipped in the meantime
                return
            job = self._current = self._next.popleft()
            job.begun = True
        try:
            self._answer(job)
        finally:
            with self._changed:
                self._current = None
                self._changed.notify_all()

    def _answer(self, job: Job) -> None:
        if job.closed:
            return
        started = last_partial = 0.0
        try:
            request = job.request()
            job.frame_stamps = request.frame_stamps
            for piece in self._backend.stream(request, lambda: job.closed):
                now = time.monotonic()
                if not job.text:
                    started = now
                job.text += piece
                if job.max_words and (cut := _first_words(job.text, job.max_words)):
                    job.text = cut
                    break
                if now - last_partial >= self._partial_interval and job.text.strip():
                    self._partial(job)
                    last_partial = now
                if job.closed:
                    break
        except NothingToShow as nothing:
            self._finish(job, AnswerStatus.SKIPPED, str(nothing))
        except StrideError as error:
            self._finish(job, AnswerStatus.ERROR, str(error))
        except BaseException as error:
            # Nothing that a model does may end the worker, and panics are not an Exception.
            _LOG.exception("The response backend %s failed.", self._backend.name)
            self._finish(job, AnswerStatus.ERROR, _unexpected(self._backend.name, error))
            if self._inline and isinstance(error, KeyboardInterrupt | SystemExit):  # the caller's own
                raise
        else:
            self._measure(job, started)
            if job.text.strip():
                self._finish(job, AnswerStatus.OK, "")
            else:
                self._finish(
                    job,
                    AnswerStatus.ERROR,
                    f"{self._backend.name} gave an empty answer; try another model or prompt.",
                )

    def _partial(self, job: Job) -> None:
        with self._changed:
            if not job.closed:
                self._tell(job, _answer_of(job, False, AnswerStatus.OK, ""))

    def _finish(self, job: Job, status: AnswerStatus, error: str) -> None:
        """Publish the end of a job; a second call does nothing."""
        with self._changed:
            if job.closed:
                return
            job.closed = True
            self._leave_queue(job)
            job.request = _over  # which does not hold frames
            error = as_reason(error)
            if job.earlier is not None:
                self.drop(job.earlier)
            if not job.is_question:
                self._count(status, error)
            self._tell(job, _answer_of(job, True, status, error))
            self._changed.notify_all()

    def _tell(self, job: Job, answer: Answer) -> None:
        try:
            self._publish(job, answer)
        except Exception:  # a message that cannot be sent must not end the worker
            _LOG.exception("An answer could not be published.")

    def _count(self, status: AnswerStatus, error: str) -> None:
        figures = self._figures
        figures.answered += status is AnswerStatus.OK
        figures.errors += status is AnswerStatus.ERROR
        figures.skipped += status is AnswerStatus.SKIPPED
        if status is not AnswerStatus.SKIPPED:
            figures.last_error = error

    def _measure(self, job: Job, started: float) -> None:
        if not started or job.is_question:
            return
        with self._changed:
            spent = time.monotonic() - started
            self._figures.first_token = started - job.arrival
            self._figures.tokens_per_second = self._backend.last_tokens / spent if spent > 0 else 0.0

    def _watch(self) -> None:
        """Skip jobs that reach their deadline, even while the worker is stuck in the backend."""
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                for job in self._due():
                    if now - job.submitted >= self._deadline:
                        self._finish(
                            job, AnswerStatus.SKIPPED, f"The deadline of {self._deadline:g} s passed."
                        )
                ends = [job.submitted + self._deadline for job in self._due()]
                self._changed.wait(max(0.0, min(ends) - time.monotonic()) if ends else None)

    @property
    def _next(self) -> deque[Job]:
        """The queue to serve next: questions wait for all events."""
        return self._waiting or self._questions

    def _leave_queue(self, job: Job) -> None:
        for queue in (self._waiting, self._questions):
            if job in queue:
                queue.remove(job)

    def _due(self) -> list[Job]:
        """The jobs whose deadline counts."""
        return [job for job in self._owed() if not job.is_question]

    def _owed(self) -> list[Job]:
        running = [self._current] if self._current is not None and not self._current.closed else []
        return [*running, *self._waiting]


def _first_words(text: str, count: int) -> str:
    """The first `count` words of a text that has begun another word; empty if it has not."""
    match = re.match(rf"\s*(?:\S+\s+){{{count}}}(?=\S)", text)
    return match.group().rstrip() if match else ""


def _over() -> ResponseRequest:
    raise NothingToShow("The answer is over.")


def _answer_of(job: Job, ended: bool, status: AnswerStatus, error: str) -> Answer:
    latency = time.monotonic() - job.arrival
    return Answer(job.text.strip(), ended, ended and job.last, status, error, latency)


def _unexpected(name: str, error: BaseException) -> str:
    return f"{name} failed with {type(error).__name__}: {brief(error)}; see the node's log for details."
