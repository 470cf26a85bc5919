"""Give recordings to workers until all are mined; if a worker ends, another one repeats its work."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from stride_ros.errors import StrideError
from stride_ros.mining.content import Contents
from stride_ros.mining.finding import Recording
from stride_ros.mining.jobs import Death, Job, Report, Result
from stride_ros.mining.journal import Entry
from stride_ros.mining.output import Output
from stride_ros.mining.pool import Answer, Pool
from stride_ros.mining.settings import Settings
from stride_ros.mining.stopping import signals_held

RETRIES = 2  # retries of a recording whose worker ended
_PATIENCE = 0.5  # s to wait for answers before checking everything again
_READERS = 2  # threads that read the content of files


@dataclass
class Tally:
    """The progress. Of `total` recordings, `known` were done before, and `mined` and `failed` now.

    `untried`: those that failed before and have not changed, and so were not tried again.
    `running`: sum of the completed fractions of running recordings. `seconds`: seconds of video mined, in
    `spent` s since the first worker was ready.
    """

    total: int
    known: int = 0
    mined: int = 0
    failed: int = 0
    untried: int = 0
    running: float = 0.0
    seconds: float = 0.0
    spent: float = 0.0

    @property
    def speed(self) -> float:
        """Seconds of video per second."""
        return self.seconds / self.spent if self.spent > 0 else 0.0


@dataclass
class _Work:
    """A recording that is waiting or running."""

    recording: Recording
    key: str
    tries: int = 0


@dataclass
class _Seat:
    """A worker: its jobs, by number; whether it owes an answer; whether it has loaded its model."""

    jobs: set[int] = field(default_factory=set)
    progress: dict[int, tuple[float, float]] = field(default_factory=dict)
    busy: bool = False
    ready: bool = False
    alone: bool = False  # with a single recording, whose worker ended
    deaths: int = 0  # times it ended before it was ready

    @property
    def load(self) -> float:
        """What is left of its recordings, each of which counts 1 at its beginning."""
        pairs = (self.progress.get(job, (0.0, 1.0)) for job in self.jobs)
        return sum(1.0 - min(1.0, done / total) if total > 0 else 1.0 for done, total in pairs)


class Driver:
    """Mines recordings and writes the results to an output."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        settings: Settings,
        output: Output,
        contents: Contents,
        make_pool: Callable[[int], Pool],
        *,
        streams: int,
        retry: bool = False,
        report: Callable[[Tally], None] = lambda tally: None,
    ) -> None:
        """`make_pool`: creates the workers for up to this number of recordings, once there is work to do.

        `streams`: recordings that a worker mines at once. `retry`: whether to try unusable recordings again
        that have not changed. `report` gets the progress.
        """
        self._settings, self._output, self._contents = settings, output, contents
        self._make_pool, self._streams, self._report = make_pool, streams, report
        self._retry = retry
        self.tally = Tally(len(recordings))
        self.problems: list[tuple[Recording, str]] = []
        self._unseen = deque(recordings)
        self._ahead: deque[tuple[Recording, Future[str]]] = deque()
        self._fresh: deque[int] = deque()
        self._suspects: deque[int] = deque()
        self._work: dict[int, _Work] = {}
        self._numbers = itertools.count(1)
        self._same: dict[str, list[Recording]] = {}  # by key, waiting for one with the same content
        self._pool: Pool | None = None
        self._seats: list[_Seat] = []
        self._begun: float | None = None
        self._finished_seconds = 0.0

    def run(self) -> None:
        """Mine all recordings. StrideError if the workers cannot work or the results cannot be written."""
        readers = ThreadPoolExecutor(_READERS, thread_name_prefix="stride-content")
        try:
            while self._unseen or self._ahead or self._work:
                self._look_ahead(readers)
                self._sort()
                self._give()
                self._listen()
                self._tell()
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
            if self._pool is not None:
                with signals_held():  # a second Ctrl-C waits until the workers have ended
                    self._pool.close()
            self._output.journal.saw(self._contents.take_fresh())

    # Finding work

    def _look_ahead(self, readers: ThreadPoolExecutor) -> None:
        """Start reading the content of the next recordings, before a worker needs them."""
        most = 2 * self._streams * max(1, len(self._seats)) + _READERS
        while self._unseen and len(self._ahead) + len(self._fresh) < most:
            recording = self._unseen.popleft()
            if recording.problem:
                self._fail(recording, recording.problem)
                continue
            self._ahead.append((recording, readers.submit(self._contents.of_recording, recording.path)))

    def _sort(self) -> None:
        """Sort recordings whose content is known: done before, same as another one, or to be mined."""
        settings = self._settings.digest
        while self._ahead and self._ahead[0][1].done():
            recording, digest = self._ahead.popleft()
            try:
                key = hashlib.sha256(f"{digest.result()} {settings}".encode()).hexdigest()
            except StrideError as error:
                self._fail(recording, str(error))
                continue
            if self._output.has(recording.place, key):
                self.tally.known += 1
            elif not self._retry and (problem := self._output.problem(recording.place, key)):
                self._fail(recording, problem, key)
                self.tally.untried += 1
            elif key in self._same:
                self._same[key].append(recording)
            elif (entry := self._output.same(key)) is not None:
                self._copy(entry, recording)
            else:
                self._add(recording, key)
        self._output.journal.saw(self._contents.take_fresh())

    def _add(self, recording: Recording, key: str) -> None:
        number = next(self._numbers)
        self._work[number] = _Work(recording, key)
        self._same.setdefault(key, [])
        self._fresh.append(number)

    # Workers

    def _give(self) -> None:
        """Give work to every worker that owes no answer, and let it continue."""
        if self._pool is None:
            if not self._fresh:
                return
            waiting = len(self._fresh) + len(self._ahead) + len(self._unseen)
            self._pool = self._make_pool(waiting)
            for number in range(self._pool.size):
                self._seats.append(_Seat(busy=True))
                self._pool.start(number)
        for number, seat in enumerate(self._seats):
            if seat.busy:
                continue
            chosen = self._choose(seat)
            if chosen or seat.jobs:
                seat.jobs.update(chosen)
                seat.busy = True
                self._pool.send(number, [self._job(job) for job in chosen])

    def _choose(self, seat: _Seat) -> list[int]:
        if not seat.jobs:
            seat.alone = False
            if self._suspects:
                seat.alone = True
                return [self._suspects.popleft()]
        if seat.alone:
            return []
        room = self._streams - len(seat.jobs)
        if not self._unseen and not self._ahead:
            room = min(room, self._share(seat))
        return [self._fresh.popleft() for _ in range(min(room, len(self._fresh)))]

    def _share(self, seat: _Seat) -> int:
        """How many of the last recordings a worker may have, so that all end at about the same time.

        Workers that are still loading count too; otherwise the first one to be ready would take everything.
        """
        fair = (len(self._fresh) + sum(other.load for other in self._seats)) / len(self._seats)
        return max(0 if seat.jobs else 1, int(fair - seat.load + 0.5))

    def _job(self, number: int) -> Job:
        recording = self._work[number].recording
        return Job(number, recording.place, str(recording.path), self._output.origin(recording))

    def _listen(self) -> None:
        if self._pool is not None and any(seat.busy for seat in self._seats):
            for number, answer in self._pool.wait(_PATIENCE):
                self._take(number, answer)
        elif self._ahead:
            wait([self._ahead[0][1]], _PATIENCE, FIRST_COMPLETED)

    def _take(self, number: int, answer: Answer) -> None:
        seat = self._seats[number]
        seat.busy = False
        if isinstance(answer, Death):
            self._bury(number, answer)
            return
        if answer.problem:
            raise StrideError(answer.problem)
        if not seat.ready:
            seat.ready, seat.deaths = True, 0
            self._begun = self._begun or time.monotonic()
            return
        self._hear(seat, answer)

    def _hear(self, seat: _Seat, report: Report) -> None:
        seat.progress = report.progress
        for result in report.results:
            seat.jobs.discard(result.number)
            self._finish(result)

    def _bury(self, number: int, death: Death) -> None:
        """Handle the end of a worker: retry its recordings, each alone, and start another worker."""
        seat = self._seats[number]
        if not seat.ready:
            seat.deaths += 1
            if seat.deaths > RETRIES:
                raise StrideError(
                    f"A worker ended {seat.deaths} times in a row while loading the model ({death.reason}); "
                    "if memory ran out, use fewer --workers."
                )
        for job in sorted(seat.jobs):
            work = self._work[job]
            work.tries += 1
            if work.tries <= RETRIES:
                self._suspects.append(job)
                continue
            problem = (
                f"{work.recording.path} was not mined, since its worker ended {work.tries} times in a row "
                f"({death.reason}); if memory ran out, free some or lower frame_max_tokens."
            )
            self._finish(Result(job, problem=problem, lasting=False))
        self._seats[number] = _Seat(busy=True, deaths=seat.deaths)
        assert self._pool is not None
        self._pool.start(number)

    # Results

    def _finish(self, result: Result) -> None:
        work = self._work.pop(result.number)
        same = self._same.pop(work.key)
        if result.problem:
            self._fail(work.recording, result.problem, work.key if result.lasting else "")
            for recording in same:  # each problem names the recording's own path
                self._add(recording, work.key)
            return
        with signals_held():  # so that the progress, which a stopped run reports, is what is written
            self._output.write(work.recording, work.key, result)
            self._finished_seconds += result.seconds
            self.tally.mined += 1
            if same and (entry := self._output.same(work.key)) is not None:
                for recording in same:
                    self._copy(entry, recording)

    def _copy(self, entry: Entry, recording: Recording) -> None:
        with signals_held():
            self._output.copy(entry, recording)
            self.tally.mined += 1

    def _fail(self, recording: Recording, problem: str, key: str = "") -> None:
        self._output.fail(recording, key, problem)
        self.tally.failed += 1
        self.problems.append((recording, problem))

    def _tell(self) -> None:
        progress = [pair for seat in self._seats for pair in seat.progress.values()]
        self.tally.running = sum(min(1.0, done / total) for done, total in progress if total > 0)
        self.tally.seconds = self._finished_seconds + sum(done for done, _ in progress)
        self.tally.spent = time.monotonic() - self._begun if self._begun is not None else 0.0
        self._report(self.tally)
