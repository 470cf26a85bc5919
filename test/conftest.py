"""Parts that tests of several rooms share."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class ChatServer:
    """A chat-completions server on loopback that behaves, request by request, as the test says.

    ``then`` queues behaviours: "ok TEXT" streams the text word by word, "cut TEXT" breaks the connection
    before the end, "hang" says nothing until the server closes, "stall TEXT" hangs after the text, "empty",
    "rubbish" (no JSON), "html" (no stream), "error" (an error inside the stream), "filter", "busy SECONDS"
    (429 with Retry-After) and any HTTP status number. Without one it answers "ok A cup falls.".
    """

    def __init__(self) -> None:
        self.requests: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.disconnected = threading.Event()
        self._script: list[str] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def then(self, *behaviours: str) -> ChatServer:
        with self._lock:
            self._script += behaviours
        return self

    def start(self) -> ChatServer:
        """Listen; a server that was stopped listens on its old port again."""
        self._closing.clear()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def next_behaviour(self) -> str:
        with self._lock:
            return self._script.pop(0) if self._script else "ok A cup falls."

    def hang(self) -> None:
        self._closing.wait()


class _Handler(BaseHTTPRequestHandler):
    owner: ChatServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._reply(200, {"object": "list", "data": [{"id": "tiny", "object": "model", "created": 0}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.owner.requests.append(json.loads(body))
        self.owner.headers.append({name.lower(): value for name, value in self.headers.items()})
        kind, _, rest = self.owner.next_behaviour().partition(" ")
        try:
            if kind == "hang":
                self.owner.hang()
            elif kind == "busy":
                self._reply(429, {"error": {"message": "too many requests"}}, {"Retry-After": rest})
            elif kind.isdigit():
                self._reply(int(kind), {"error": {"message": rest or "the server says no"}})
            else:
                self._stream(kind, rest)
        except OSError:
            self.owner.disconnected.set()

    def _stream(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if kind == "html" else "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if kind == "rubbish":
            self._chunk("data: {this is no JSON\n\n")
        elif kind == "html":
            self._chunk("<html>welcome</html>")
        elif kind == "error":
            self._chunk('data: {"error": {"message": "the model fell over"}}\n\n')
        else:
            for word in text.split(" ") if text else []:
                self._event({"content": word + " "})
        if kind == "cut":
            self.close_connection = True
            return
        if kind == "stall":
            self.owner.hang()
        if kind in ("ok", "empty", "filter"):
            self._event({}, "content_filter" if kind == "filter" else "stop")
            self._chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, delta: dict, finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        event = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "tiny"}
        self._chunk(f"data: {json.dumps({**event, 'choices': [choice]})}\n\n")

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _reply(self, status: int, body: dict, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def chat_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    """A chat server that is up; no proxy of the environment stands in front of it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ChatServer().start()
    yield server
    server.stop()
