"""Workers in processes on this machine; those on a cluster are in `ray_pool`."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from stride_ros.errors import StrideError
from stride_ros.mining.jobs import Death, Job, Report
from stride_ros.mining.settings import Settings
from stride_ros.mining.stopping import signals_held
from stride_ros.mining.worker import Worker

Answer = Report | Death


class Pool(Protocol):
    """Workers, numbered from 0. Each answers once to `start` and once to every `send`."""

    size: int

    def start(self, number: int) -> None:
        """Start a worker, or replace one that has ended."""

    def send(self, number: int, jobs: Sequence[Job]) -> None:
        """Let a worker begin these jobs and continue its others."""

    def wait(self, seconds: float) -> list[tuple[int, Answer]]:
        """Wait for answers, and return them as soon as there are any."""

    def close(self) -> None:
        """End all workers immediately."""


class ProcessPool:
    """See `Pool`. Ctrl-C and signals that mean the same reach only the driver, which ends the workers."""

    def __init__(self, settings: Settings, size: int) -> None:
        self.size = size
        self._settings = settings
        self._workers: dict[int, tuple[SpawnProcess, Connection]] = {}

    def start(self, number: int) -> None:
        """See `Pool`."""
        self._workers[number] = start_process(_serve, self._settings, f"stride-mining-{number}")

    def send(self, number: int, jobs: Sequence[Job]) -> None:
        """See `Pool`."""
        with suppress(OSError):  # it has ended, which `wait` reports
            self._workers[number][1].send(tuple(jobs))

    def wait(self, seconds: float) -> list[tuple[int, Answer]]:
        """See `Pool`."""
        numbers = {connection: number for number, (_, connection) in self._workers.items()}
        return [(numbers[ready], self._answer(numbers[ready])) for ready in wait(list(numbers), seconds)]  # type: ignore[index]

    def close(self) -> None:
        """See `Pool`."""
        for process, _ in self._workers.values():
            process.kill()
        for process, connection in self._workers.values():
            process.join()
            connection.close()
        self._workers.clear()

    def _answer(self, number: int) -> Answer:
        process, connection = self._workers[number]
        try:
            answer: Answer = connection.recv()
        except (EOFError, OSError):
            process.join()
            answer = Death(how_it_ended(process.exitcode or 0))
        if isinstance(answer, Death):
            process.kill()
            process.join()
            connection.close()
            del self._workers[number]
        return answer


def start_process(
    target: Callable[[Connection, Any], None], request: Any, name: str
) -> tuple[SpawnProcess, Connection]:
    """Start a process that calls `target` with its end of a pipe and `request`; the other end is returned.

    It is not reached by Ctrl-C and the signals that mean the same.
    """
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # which unblocks SIGINT once it has started
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, request), name=name, daemon=True)
    # A process keeps the signal mask it starts with, so they cannot reach the worker at any moment.
    with signals_held():
        process.start()
    theirs.close()
    return process, ours


def how_it_ended(code: int) -> str:
    """What an exit code means."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{name}, as when memory runs out" if -code == signal.SIGKILL else name


def _serve(connection: Connection, settings: Settings) -> None:
    """Run a worker in its process."""
    with suppress(EOFError, OSError):  # the driver has ended
        try:
            worker = Worker(settings)
        except StrideError as error:
            connection.send(Report(problem=str(error)))
            return
        connection.send(Report())
        while True:
            jobs = connection.recv()
            try:
                report: Answer = worker.step(jobs)
            except Exception as error:  # the driver tries again, with another worker
                report = failed(error)
            connection.send(report)


def failed(error: Exception) -> Death:
    """The end of a worker by an unexpected error."""
    text = str(error).strip().splitlines()
    return Death(f"{type(error).__name__}{': ' + text[0][:300] if text else ''}".rstrip("."))
