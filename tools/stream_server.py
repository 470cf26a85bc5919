"""A server on loopback that sends damaged answers (damaged_streams.py) byte for byte, with their pauses."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time

from damaged_streams import HEADS, TAILS, Case, Stream


class Server:
    """Sends each case's streams, one per request; the path names the case."""

    def __init__(self) -> None:
        self.cases: dict[int, Case] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._loop, daemon=True).start()

    def _loop(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            again = True
            while again:
                head, _, body = _receive(connection, b"\r\n\r\n").partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                number = re.search(rb"^POST /(\d+)/", head)
                if length is None or number is None:
                    return
                while len(body) < int(length[1]):
                    body += _receive(connection)
                case = self.cases[int(number[1])]
                again = self._send(connection, case.streams[case.current])

    def _send(self, connection: socket.socket, stream: Stream) -> bool:
        """Send an answer; return whether the connection can be reused."""
        chunked = stream.head == "chunked"
        size = len(stream.body) + (0 if stream.end == "close" else 1 << 30)
        kind = "text/event-stream" if b"data" in stream.body else "application/json"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{HEADS[stream.head].format(size)}\r\n\r\n"
        connection.sendall(head.encode())

        def send(part: bytes) -> None:
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)

        for part, pause in stream.parts:
            send(part)
            if pause:
                time.sleep(pause)
        if stream.end == "close" and chunked:
            connection.sendall(b"0\r\n\r\n")
        elif stream.end == "open":
            connection.recv(1)  # until the client hangs up
        while stream.end in TAILS:
            send(TAILS[stream.end])
            time.sleep(0.02)
        return stream.end == "close" and chunked


def _receive(connection: socket.socket, until: bytes = b"") -> bytes:
    """Receive some bytes, or all up to `until` and more. Raises OSError if the client has hung up."""
    data = b""
    while not data or until not in data:
        more = connection.recv(65536)
        if not more:
            raise OSError("the client has hung up")
        data += more
    return data
