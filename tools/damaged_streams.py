"""Make randomly damaged answers of model servers: by event, by byte, cut in bytes and in time.

They are made from the tables in `test/response/test_server_families.py`, each from a seed and its number.
"""

from __future__ import annotations

import json
import random
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "test/response"))

import test_server_families as families

WORDS = (
    *("A ", "cup ", "falls.", "\n", " ", "ü", "\U0001f600", "思考", "\r\n", '"', "\\", "\0", "\u2028"),
    *("<", "</", "<|", "data: x", "[DONE]", "{", "}", "analysis", "final", "\ud83d", "\ude00", "\ufeff"),
    *("<think>", "</think>", "</THINK>", "<thought>", "</thought>", "[THINK]", "[/THINK]"),
    *("◁think▷", "◁/think▷", "\x85", "<|channel|>", "<|message|>", "<|start|>", "<|end|>", "assistantfinal"),
    *("final<|message|>", "e\u0301", "<answer>", "</answer>", "<|im_end|>", "<|end_of_box|>"),
    *("[BEGIN FINAL RESPONSE]", "</analysis>", "<mm:think>", "`", "\u201c", "\u201d", "<think>", "</think>"),
    *("<think:v1>", "</think:v1>", "<|think|>", "<|content|>", "to=self<|message|>", "<|eom|>"),
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


@dataclass
class Stream:
    """One answer to send: `parts` with the pause (s) after each, and how it ends.

    `end`: `close` (as HTTP requires), `break`, `open`, or a key of TAILS, which is sent endlessly.
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
    """The answers that one server sends."""

    number: int
    streams: list[Stream] = field(default_factory=list)
    retries: int = 0
    current: int = 0

    @property
    def lasts(self) -> bool:
        return any(stream.end not in ("close", "break") for stream in self.streams)


class Maker:
    """Makes the cases, each only from the seed and its number."""

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
    """The body to send."""
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
    """One change inside an event's JSON; `piece` if it has none."""
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
    """Spell the same differently: line ends, a byte order mark, Unicode for escapes."""
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
    """Split the bytes into random parts with random pauses, but none that could be taken for an end."""
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
