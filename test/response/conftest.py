"""Parts for the response tests: a scripted backend, frames, and small checkpoints."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stride_ros.response.backend import ResponseRequest
from stride_ros.response.frame_cache import TimedFrame

GOLDEN = Path(__file__).parent.parent / "golden"
PATIENCE = 30.0  # s that a test waits for an event before it fails


class ScriptedBackend:
    """Says what the test tells it to: ``say`` releases one increment, ``end`` the answer."""

    name = "scripted"
    last_tokens = 3

    def __init__(self) -> None:
        self._lines: list[str | Exception | None] = []
        self._changed = threading.Condition()
        self.requests: list[ResponseRequest] = []
        self.stopped_early = 0

    def say(self, *items: str | Exception | None) -> None:
        with self._changed:
            self._lines += items
            self._changed.notify_all()

    def end(self) -> None:
        self.say(None)

    def wait_for_requests(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, PATIENCE)

    def stream(self, request: ResponseRequest, cancelled: Callable[[], bool]) -> Iterator[str]:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        while True:
            with self._changed:
                while not self._lines:
                    if cancelled():
                        self.stopped_early += 1
                        return
                    self._changed.wait(0.01)
                line = self._lines.pop(0)
            if line is None:
                return
            if isinstance(line, Exception):
                raise line
            yield line

    def close(self) -> None:
        pass


class Record:
    """Collects what a scheduler publishes and waits for what is expected."""

    def __init__(self) -> None:
        self.said: list[tuple[object, object]] = []
        self._changed = threading.Condition()

    def __call__(self, job, answer) -> None:
        with self._changed:
            self.said.append((job.context, answer))
            self._changed.notify_all()

    def of(self, context: object) -> list:
        return [answer for owner, answer in self.said if owner == context]

    def final(self, context: object):
        finals = [answer for answer in self.of(context) if answer.final]
        assert len(finals) <= 1
        return finals[0] if finals else None

    def wait_for(self, condition: Callable[[Record], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), PATIENCE), self.said


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture
def scheduler_of(backend, record) -> Iterator[Callable[..., object]]:
    """Makes schedulers on the scripted backend and closes them."""
    from stride_ros.response.scheduler import AnswerScheduler

    made = []

    def make(**options: object) -> AnswerScheduler:
        made.append(AnswerScheduler(backend, record, **options))
        return made[-1]

    yield make
    for scheduler in made:
        assert scheduler.close("the test is over", PATIENCE)


@pytest.fixture
def make_request() -> Callable[..., ResponseRequest]:
    """A request with coloured noise as frames, one a second from ``first`` on."""

    def make(count: int = 5, first: float = 100.0, size: tuple[int, int] = (96, 128), **fields: object):
        random = np.random.default_rng(count)
        frames = tuple(
            TimedFrame(random.integers(0, 256, (*size, 3), dtype=np.uint8), first + i) for i in range(count)
        )
        values = {"query": "Tell me when the cup moves.", "span_start": first + count - 2, **fields}
        return ResponseRequest(frames=frames, **values)

    return make


@pytest.fixture
def qwen3_vl() -> Path:
    """A tiny random Qwen3-VL checkpoint."""
    return GOLDEN / "checkpoint_dup"


@pytest.fixture
def monotonic() -> Callable[[], float]:
    return time.monotonic
