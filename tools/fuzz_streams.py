"""Damage the answers of model servers at random: nothing is lost, doubled or held for ever.

    python tools/fuzz_streams.py --count 5000 --seed 1

The answers in `test/response/test_server_families.py` are changed event by event and byte by byte, cut in
bytes and in time, and sent over real connections to the responder's backend and scheduler. What these tell is
held against `test/response/reference_reader.py`, which reads the whole body at once and shares no code with
the package. A fault is a text that differs, a wrong status, an answer with no final or two, one that outlasts
its limits, or an error that is no sentence. It is printed with its number; `--only NUMBER` runs that case
alone and prints what was sent. Exit code 1 when there was a fault.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import random
import re
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "test/response")]

import numpy as np  # noqa: E402
import reference_reader  # noqa: E402
import test_server_families as families  # noqa: E402

from stride_ros.response.backend import ResponseRequest, TimedFrame  # noqa: E402
from stride_ros.response.config import ResponseConfig  # noqa: E402
from stride_ros.response.openai_compatible import OpenAICompatibleBackend  # noqa: E402
from stride_ros.response.scheduler import Answer, AnswerScheduler, AnswerStatus, Job  # noqa: E402

WORDS = (
    *("A ", "cup ", "falls.", "\n", " ", "ü", "\U0001f600", "思考", "\r\n", '"', "\\", "\0", "\u2028"),
    *("<", "</", "<|", "data: x", "[DONE]", "{", "}", "analysis", "final", "\ud83d", "\ude00", "\ufeff"),
    *("<think>", "</think>", "</THINK>", "<thought>", "</thought>", "[THINK]", "[/THINK]"),
    *("◁think▷", "◁/think▷", "\x85", "<|channel|>", "<|message|>", "<|start|>", "<|end|>", "assistantfinal"),
    *("final<|message|>", "e\u0301", "<answer>", "</answer>", "<|im_end|>", "<|end_of_box|>"),
    *("[BEGIN FINAL RESPONSE]", "</analysis>", "<mm:think>"),
)  # fmt: skip
REASONS = (
    *("stop", "STOP", "eos_token", "end_turn", "length", "content_filter", "SAFETY", "error", "abort"),
    *("tool_calls", "", "null", None, {"type": "stop"}, {"type": "abort", "message": "x"}, "of its own"),
    *(0, 1, 2, 7, ["stop"], [], "FinishReason.STOP", "FINISH_REASON_LENGTH", True),
)  # fmt: skip
ERRORS = (
    *({"error": "no room"}, {"error": {"message": "no room", "code": 400}}, {"detail": "no room"}),
    *({"error": True, "message": "no room"}, {"object": "error", "message": "no room"}),
    {"errors": [{"message": "no room"}]},
)  # fmt: skip
NOISE = (
    *(": ping\n\n", "event: message\n", "id: 7\n", "retry: 3\n", "data:\n\n", "data: {}\n\n", "\n\n"),
    *('data: {"choices": []}\n\n', 'data: {"type": "ping"}\n\n', 'data: {"choices": [], "usage": {}}\n\n'),
    *("event: error\ndata: no room\n\n", "error: no room\n\n", "data: [DONE]\n\n", "data: no room\n\n"),
    *("event: ping\n", "no room\n"),
)  # fmt: skip
TAILS = {
    "comments": b": ping\n\n",
    "empty pieces": b'data: {"choices": [{"index": 0, "delta": {"content": ""}}]}\n\n',
    "white space": b'data: {"choices": [{"index": 0, "delta": {"content": " "}}]}\n\n',
    "thoughts": b'data: {"choices": [{"index": 0, "delta": {"reasoning": "hm "}}]}\n\n',
    "text": b'data: {"choices": [{"index": 0, "delta": {"content": "on and on "}}]}\n\n',
}
HEADS = {
    "close": "Connection: close",
    "chunked": "Transfer-Encoding: chunked",
    "length": "Connection: close\r\nContent-Length: {}",
}
SHORT, LONG = 3.0, 30.0  # s without text: where the connection stays open, and elsewhere
CONNECT = 5.0  # s
ACTS = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")  # what a line of a log must not hold


@dataclass
class Stream:
    """One answer as it is sent: `parts` with the pause (s) after each, and how it ends.

    `end`: `close` (as HTTP wants it), `break`, `open`, or a key of TAILS, which is sent for ever.
    """

    parts: list[tuple[bytes, float]]
    head: str
    end: str
    notes: list[str]

    @property
    def body(self) -> bytes:
        return b"".join(part for part, _ in self.parts)


@dataclass
class Case:
    """What one server sends, answer by answer."""

    number: int
    streams: list[Stream] = field(default_factory=list)
    retries: int = 0
    current: int = 0

    @property
    def lasts(self) -> bool:
        return any(stream.end not in ("close", "break") for stream in self.streams)


class Maker:
    """Makes the cases, each from the seed and its number alone."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        faults = ((name, fault[0]) for name, fault in families.FAULTS.items())
        self.answers, self.faults = (
            [(name, body) for name, parts in sent if (body := body_of(parts))]
            for sent in (families.ANSWERS.items(), faults)
        )

    def make(self, number: int) -> Case:
        chance = random.Random(f"{self.seed}:{number}")
        case = Case(number, retries=int(chance.random() < 0.05))
        case.streams = [self.stream(chance) for _ in range(chance.choice((1, 1, 2)))]
        return case

    def stream(self, chance: random.Random) -> Stream:
        name, body = chance.choice(self.faults if chance.random() < 0.2 else self.answers)
        notes = [name]
        for _ in range(chance.choice((0, 1, 1, 2, 3, 5))):
            body = change(body, chance, notes)
        body = respell(body, chance, notes)
        if chance.random() < 0.15:
            body = body[: chance.randrange(len(body) + 1)]
            notes.append("cut off")
        if chance.random() < 0.15:
            body = damage(body, chance)
            notes.append("damaged")
        end = chance.choices(("close", "break", "open", *TAILS), (88, 6, 2, 0.8, 0.8, 0.8, 0.8, 0.8))[0]
        head = chance.choice(("close", "chunked", "length") if end == "close" else ("chunked", "length"))
        return Stream(cut(body, chance), head, end, [*notes, head, end])


def body_of(parts: list[bytes | None]) -> bytes:
    """What is sent after the head."""
    return b"".join(part for part in parts if part is not None).partition(b"\r\n\r\n")[2]


def is_closed(parts: list[bytes | None]) -> bool:
    return None not in parts and b"Content-Length" not in parts[0]


def change(body: bytes, chance: random.Random, notes: list[str]) -> bytes:
    """One change to one event, or to their order."""
    pieces = [piece for piece in re.split(rb"(?<=\n)(?=data|\{|:|event|error)", body) if piece]
    if not pieces:
        return body
    at = chance.randrange(len(pieces))
    kinds = ("json", "json", "json", "json", "drop", "twice", "swap", "noise", "error", "glue")
    kind = chance.choice(kinds)
    notes.append(kind)
    if kind == "json":
        pieces[at] = change_json(pieces[at], chance, notes)
    elif kind == "drop":
        del pieces[at]
    elif kind == "glue":
        pieces[at] = pieces[at].rstrip()
    elif kind == "twice":
        pieces.insert(at, pieces[at])
    elif kind == "swap":
        other = chance.randrange(len(pieces))
        pieces[at], pieces[other] = pieces[other], pieces[at]
    elif kind == "noise":
        pieces.insert(at, chance.choice(NOISE).encode())
    else:
        pieces.insert(at, b"data: " + json.dumps(chance.choice(ERRORS)).encode() + b"\n\n")
    return b"".join(pieces)


def change_json(piece: bytes, chance: random.Random, notes: list[str]) -> bytes:
    """One change inside of an event's JSON; `piece` where it has none."""
    start = piece.find(b"{")
    try:
        value, end = json.JSONDecoder().raw_decode(piece[start:].decode())
    except ValueError:
        return piece
    choices = value.get("choices") or [{}]
    choice: dict[str, Any] = choices[0]
    inner = next((choice[key] for key in ("delta", "message") if isinstance(choice.get(key), dict)), choice)
    kind = chance.choice(("text", "text", "text", "reason", "field", "kind", "usage", "index", "split"))
    notes.append(kind)
    text = "".join(chance.choice(WORDS) for _ in range(chance.randint(0, 6)))
    said = inner.get("content")
    said = said if isinstance(said, str) else ""
    more = [value]
    if kind == "text":
        inner["content"] = chance.choice((text, said + text, text + said, None, ""))
    elif kind == "reason":
        holder = value if chance.random() < 0.1 else choice
        holder[chance.choice(("finish_reason", "finish_reason", "finishReason"))] = chance.choice(REASONS)
    elif kind == "field":
        inner[chance.choice(("reasoning_content", "reasoning", "refusal", "role", "thinking"))] = text
    elif kind == "kind":
        part = {"type": chance.choice(("text", "thinking", "image_url", "output_text")), "text": text}
        inner["content"] = chance.choice(
            ([part], [said, part], part, [], [{"type": "text", "text": said}], 7, 0.5, True)
        )
    elif kind == "usage":
        value["usage"] = chance.choice((None, {}, {"completion_tokens": chance.choice((0, 3, -1, "x"))}))
    elif kind == "index":
        choice["index"] = chance.choice((None, 0, 1))
    else:
        middle = chance.randint(0, len(said))
        first = json.loads(json.dumps(value))
        inner["content"] = said[middle:]
        for key in ("delta", "message"):
            target = (first.get("choices") or [{}])[0].get(key)
            if isinstance(target, dict):
                target["content"] = said[:middle]
        more = [first, value]
    spelled = [json.dumps(each, ensure_ascii=True).encode() for each in more]
    tail = piece[start + len(piece[start:].decode()[:end].encode()) :]
    return b"".join(piece[:start] + each + (tail or b"\n\n") for each in spelled)


def respell(body: bytes, chance: random.Random, notes: list[str]) -> bytes:
    """The same in another spelling: line ends, a byte order mark, Unicode for escapes."""
    if chance.random() < 0.25:
        body = re.sub(rb"\r\n|\r|\n", chance.choice((b"\n", b"\r\n", b"\r")), body)
        notes.append("line ends")
    if chance.random() < 0.1:
        body = b"\xef\xbb\xbf" + body
    if chance.random() < 0.3:
        letters = r"\\u(?!d[89a-f]|00[01]|2028|0085|005c|0022)([0-9a-f]{4})"
        body = re.sub(letters, lambda found: chr(int(found[1], 16)), body.decode()).encode()
    return body.rstrip(b"\r\n") if chance.random() < 0.15 else body


def damage(body: bytes, chance: random.Random) -> bytes:
    found = bytearray(body)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(found) + 1)
        found[at : at + chance.choice((0, 1, 1, 8, 40))] = chance.choice(
            (b"", b"\n", b"\n\n", b"x", b'"', b"data: ", b"\xf0\x9f", bytes([chance.randrange(256)]))
        )
    return bytes(found)


def cut(body: bytes, chance: random.Random) -> list[tuple[bytes, float]]:
    """The bytes in random parts with random pauses; none where a slow machine would make them an end."""
    sizes = chance.choice(((1, 2, 3), (1, 7, 50), (50, 1000), (1 << 20,)))
    ended = re.search(rb'(finish|done)_reason": *(["{])(?!")|"done": *true', body)
    calm = len(body) if ended is None else ended.start()
    parts, at = [], 0
    while at < len(body):
        size = chance.choice(sizes)
        pause = chance.choice((0.0, 0.0, 0.0, 0.001, 0.02)) if at + size < calm and len(parts) < 200 else 0.0
        parts.append((body[at : at + size], pause))
        at += size
    return parts


class Server:
    """Sends each case's streams, one a request; which case is asked for stands in the path."""

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
        """Send an answer; returns whether the connection can be used again."""
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
    """Some bytes, or all up to `until` and more. Raises OSError when the client has hung up."""
    data = b""
    while not data or until not in data:
        more = connection.recv(65536)
        if not more:
            raise OSError("the client has hung up")
        data += more
    return data


class Asker:
    """Asks for one case's answers and says what is wrong with what is told."""

    def __init__(self, server: Server, case: Case, grace: float, quiet: float = SHORT) -> None:
        self.server, self.case, self.grace = server, case, grace
        self.quiet = quiet if case.lasts else LONG
        self.told: list[tuple[Job, Answer]] = []
        self.ended = threading.Condition()

    def ask(self) -> list[str]:
        case = self.case
        self.server.cases[case.number] = case
        backend = OpenAICompatibleBackend(
            "m",
            base_url=f"http://127.0.0.1:{self.server.port}/{case.number}/v1",
            connect_timeout=CONNECT,
            read_timeout=self.quiet,
            max_retries=case.retries,
            max_new_tokens=100 if case.lasts else 4000,
        )
        scheduler = AnswerScheduler(backend, self._publish, ResponseConfig(partial_rate=1000.0))
        faults, opened = [], None
        limit = (case.retries + 1) * (CONNECT + 2 * self.quiet) + case.retries
        try:
            for number, stream in enumerate(case.streams):
                case.current = number
                job = Job(lambda: REQUEST, time.monotonic())
                begun = time.monotonic()
                scheduler.submit(job)
                with self.ended:
                    done = self.ended.wait_for(partial(self._finals, job), limit + self.grace)
                if not done:
                    return [*faults, f"no final within its limits ({time.monotonic() - begun:.0f} s)"]
                expected, opened = expect(stream, opened, case.retries)
                faults += self._judge(job, stream, expected)
        finally:
            if not scheduler.close("the tool is over", limit + self.grace):
                faults.append("the scheduler does not stop")
            backend.close()
            del self.server.cases[case.number]
        return faults

    def _publish(self, job: Job, answer: Answer) -> None:
        with self.ended:
            self.told.append((job, answer))
            self.ended.notify_all()

    def _finals(self, job: Job) -> list[Answer]:
        return [answer for owner, answer in self.told if owner is job and answer.final]

    def _judge(self, job: Job, stream: Stream, expected: reference_reader.Reading) -> list[str]:
        finals = self._finals(job)
        if len(finals) != 1:
            return [f"{len(finals)} finals"]
        [final] = finals
        faults = []
        for owner, answer in self.told:
            if owner is job and not final.text.startswith(answer.text):
                faults.append(f"a partial text that is no part of the final: {answer.text!r}")
        if final.error and (ACTS.search(final.error) or final.error[-1] not in ".…"):
            faults.append(f"no sentence: {final.error!r}")
        if "failed with" in final.error:
            faults.append(final.error)
        if stream.end == "text" and not expected.stopped:
            return faults  # how much of it is told depends on when it is cut
        whole = final.status is AnswerStatus.OK
        if (final.text, whole) != (expected.text, expected.whole):
            faults.append(
                f"told {final.text!r} {final.status.name} ({final.error}), expected {expected.text!r} "
                f"{'OK' if expected.whole else 'ERROR'}"
            )
        words = re.match(r"[ -;=-~]{0,20}", expected.said.strip())  # of a page, the title is told
        if not faults and words and " ".join(words[0].split()).rstrip(".: ") not in final.error:
            faults.append(f"the server's words {expected.said!r} are not in {final.error!r}")
        return faults


def expect(stream: Stream, opened: bool | None, retries: int) -> tuple[reference_reader.Reading, bool | None]:
    """What is right, and what is known of the server after it."""
    closed = stream.end == "close"
    body = stream.body + 2 * TAILS.get(stream.end, b"")
    reading = reference_reader.read(body, closed=closed, opened=opened)
    if retries and not reading.whole and not reading.text:
        reading = reference_reader.read(body, closed=closed, opened=reading.opened)
    return reading, reading.opened


REQUEST = ResponseRequest(
    "Tell me when the cup falls.", (TimedFrame(np.zeros((16, 16, 3), np.uint8), 1.0),), 1.0
)


def check_reference() -> list[str]:
    """The reference reads the undamaged answers as their tests expect them."""
    wrong = []
    for name, parts in families.ANSWERS.items():
        if body := body_of(parts):
            reading = reference_reader.read(body, closed=is_closed(parts))
            if (reading.text, reading.whole) != (families.SAID, True):
                wrong.append(f"the reference reads {name!r} as {reading}")
    for name, (parts, text, _) in families.FAULTS.items():
        reading = reference_reader.read(body_of(parts), closed=is_closed(parts))
        if (reading.text, reading.whole) != (text.strip(), False):
            wrong.append(f"the reference reads {name!r} as {reading}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=500, help="cases to run (default 500)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--workers", type=int, default=6, help="cases at a time (default 6)")
    parser.add_argument(
        "--grace", type=float, default=10.0, help="s beyond its limits that an answer may take"
    )
    parser.add_argument("--only", type=int, help="one case, with what is sent")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    maker, server = Maker(arguments.seed), Server()
    faults = check_reference()
    for fault in faults:
        print(fault)
    tally: Counter[str] = Counter()

    def run(number: int) -> None:
        case = maker.make(number)
        asker = Asker(server, case, arguments.grace)
        found = asker.ask()
        if found and case.lasts:  # once more with time for a busy machine
            asker = Asker(server, case, arguments.grace, quiet=4 * SHORT)
            found = asker.ask()
        tally["cases"] += 1
        tally.update(answer.status.name.lower() for _, answer in asker.told if answer.final)
        for fault in found:
            faults.append(f"{number}: {fault}")
            print(faults[-1], flush=True)
        if arguments.only is not None:
            for stream in case.streams:
                print(stream.notes, stream.body)
            print(*(answer for _, answer in asker.told), sep="\n")

    if arguments.only is not None:
        run(arguments.only)
        return 1 if faults else 0
    with ThreadPoolExecutor(arguments.workers) as pool:
        list(pool.map(run, range(arguments.first, arguments.first + arguments.count)))
    print(json.dumps({**tally, "faults": len(faults)}))
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
