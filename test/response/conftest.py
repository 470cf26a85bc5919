"""Parts for the response tests: a scripted backend, frames, and small checkpoints."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stride_ros.response.backend import ResponseRequest, TimedFrame

GOLDEN = Path(__file__).parent.parent / "golden"
PATIENCE = 30.0  # s that a test waits for an event before it fails


class ScriptedBackend:
    """Says what the test tells it to: ``say`` releases one increment, ``end`` the answer."""

    name = "scripted"
    last_tokens = 3

    def __init__(self) -> None:
        self._lines: list[str | BaseException | None] = []
        self._changed = threading.Condition()
        self.requests: list[ResponseRequest] = []
        self.stopped_early = 0

    def say(self, *items: str | BaseException | None) -> None:
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
            if isinstance(line, BaseException):
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
    from stride_ros.response.config import ResponseConfig
    from stride_ros.response.scheduler import AnswerScheduler

    made = []

    def make(*, inline: bool = False, **settings: object) -> AnswerScheduler:
        made.append(AnswerScheduler(backend, record, ResponseConfig(**settings), inline=inline))
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


class RawServer:
    """A server on loopback that sends exactly the bytes it is told to, for each request anew.

    ``answers`` holds for each request what to send: bytes, or None, which keeps the connection open until
    the test is over; the last one is for all later requests.
    ``requests`` are (head, body) as they came.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.answers: list[Iterable[object]] = []
        self.requests: list[tuple[str, bytes]] = []
        self.over = threading.Event()
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._loop, daemon=True).start()

    def then(self, *answers: Iterable[object]) -> RawServer:
        self.answers = list(answers)
        return self

    def close(self) -> None:
        self.over.set()
        self._listener.close()

    def _loop(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            data = b""
            while b"\r\n\r\n" not in data and not data.startswith(b"\x16\x03"):  # TLS
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            while length and len(body) < int(length[1]):
                body += connection.recv(65536)
            self.requests.append((head.decode("latin-1"), body))
            for part in self.answers[min(len(self.requests), len(self.answers)) - 1]:
                if self.over.is_set():
                    return
                if part is None:
                    self.over.wait()
                else:
                    connection.sendall(part)


@pytest.fixture
def raw_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RawServer]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    server = RawServer()
    yield server
    server.close()


@pytest.fixture
def ask(raw_server, make_request) -> Iterator[Callable[..., tuple[str, str]]]:
    """Asks a backend at the raw server: returns the text and the error, "" when there is none.

    Backends are kept: the same options ask the same one again.
    """
    from stride_ros.errors import BackendError
    from stride_ros.response.openai_compatible import OpenAICompatibleBackend

    made: dict[str, OpenAICompatibleBackend] = {}

    def ask_it(**options: object) -> tuple[str, str]:
        options = {"base_url": raw_server.url, "max_retries": 0, "read_timeout": 20.0, **options}
        backend = made.setdefault(str(options), None) or OpenAICompatibleBackend("m", **options)
        made[str(options)] = backend
        said: list[str] = []
        try:
            for piece in backend.stream(make_request(1, size=(16, 16)), lambda: False):
                said.append(piece)
        except BackendError as error:
            return "".join(said), str(error)
        return "".join(said), ""

    yield ask_it
    for backend in made.values():
        if backend is not None:
            backend.close()
