"""Random streams of answers against a reading of them that knows how they were made.

STRIDE_FUZZ_STREAMS says how many (default 60), STRIDE_FUZZ_SEED where to begin.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass, field

import pytest

from stride_ros.response.answer_reader import AnswerReader

STREAMS = int(os.environ.get("STRIDE_FUZZ_STREAMS", "60"))
SEED = int(os.environ.get("STRIDE_FUZZ_SEED", "1"))
WORDS = [
    "A ",
    "cup ",
    "falls.",
    "\n",
    " ",
    "ü",
    "\U0001f600",
    "<",
    "</",
    "data: x",
    "[DONE",
    "{",
    "}",
    '"',
    "思考",
    "\r\n",
]
PAIRS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
]
GOOD_ENDS = ["stop", "STOP", "eos_token", "end_turn", {"type": "stop"}]
BAD_ENDS = ["length", "error", "abort", "content_filter", "SAFETY", "whatever"]


@dataclass
class Answer:
    """How an answer is sent, and what is right: ``text`` of it, and whether it is ``whole``."""

    body: bytes
    text: str
    whole: bool
    notes: list[str] = field(default_factory=list)


class Maker:
    """Makes one random answer. What is right follows from what is drawn; nothing of the reader is used."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.notes: list[str] = []

    def one_of(self, *choices):
        choice = self.random.choice(choices)
        self.notes.append(str(choice)[:40])
        return choice

    def words(self, least: int = 1) -> str:
        return "Hm " + "".join(self.random.choice(WORDS) for _ in range(self.random.randint(least, 12)))

    def make(self) -> Answer:
        spoken = self.words()
        thoughts = self.one_of("none", "field", "tags", "unopened", "harmony")
        end = self.one_of("good", "good", "good", "bad", "none", "done", "error")
        values, content = [], spoken
        if thoughts == "field":
            values += [("thought", self.words()) for _ in range(2)]
        elif thoughts == "tags":
            open_, close = self.one_of(*PAIRS)
            content = f"{open_}{self.words()}{close}\n{spoken}"
        elif thoughts == "unopened":
            content = f"{self.words()}</think>\n\n{spoken}"
        elif thoughts == "harmony":
            content = (
                f"<|channel|>analysis<|message|>{self.words()}<|end|><|start|>assistant<|channel|>final<|message|>"
                f"{spoken}"
            )
        values += [("text", piece) for piece in self.cut(content)]
        sent = self.events(values, end)
        whole = end in ("good", "done")
        return Answer(sent, spoken, whole, self.notes)

    def cut(self, text: str) -> list[str]:
        """The text in pieces; surrogate pairs may be split as JSON allows."""
        pieces, at = [], 0
        while at < len(text):
            length = self.random.randint(1, 9)
            pieces.append(text[at : at + length])
            at += length
        if self.random.random() < 0.3:
            pieces = [part for piece in pieces for part in self.split_pair(piece)]
        return pieces

    def split_pair(self, piece: str) -> list[str]:
        at = piece.find("\U0001f600")
        return [piece] if at < 0 else [piece[:at] + "\ud83d", "\ude00" + piece[at + 1 :]]

    def events(self, values: list[tuple[str, str]], end: str) -> bytes:
        framing = self.one_of("sse", "sse", "sse", "lines")
        shape = self.one_of(
            "delta", "delta", "parts", "message", "text", "ollama" if framing == "lines" else "delta"
        )
        newline = self.one_of("\n", "\r\n", "\r") if framing == "sse" else "\n"
        out = ["\ufeff"] if self.random.random() < 0.2 else []
        chunks = [self.chunk(kind, text, shape) for kind, text in values]
        if end in ("good", "bad"):
            reason = self.random.choice(GOOD_ENDS if end == "good" else BAD_ENDS)
            self.notes.append(str(reason))
            if shape == "ollama":
                reason = reason if isinstance(reason, str) else "stop"
                chunks.append({"message": {"content": ""}, "done": True, "done_reason": reason})
            elif self.random.random() < 0.5 or shape == "message":
                chunks.append(
                    {
                        "choices": [
                            {"index": 0, "delta": self.random.choice([{}, None]), "finish_reason": reason}
                        ]
                    }
                )
            else:
                chunks[-1]["choices"][0]["finish_reason"] = reason
        if end == "error":
            chunks.append(
                self.random.choice(
                    [{"error": "no"}, {"error": {"message": "no"}}, {"object": "error", "message": "no"}]
                )
            )
        for number, value in enumerate(chunks):
            last = number == len(chunks) - 1
            out.append(self.frame(value, framing, newline, last=last))
            if not last and self.random.random() < 0.2:
                out.append(self.noise(framing, newline))
        if end in ("good", "bad") and self.random.random() < 0.3:
            out.append(self.frame({"choices": [], "usage": {"completion_tokens": 3}}, framing, newline))
        if end == "done" or (end in ("good", "bad") and self.random.random() < 0.5):
            out.append(f"data: [DONE]{newline}{newline}" if framing == "sse" else f"[DONE]{newline}")
        body = "".join(out)
        return (body.rstrip("\r\n") if self.random.random() < 0.3 else body).encode()

    def chunk(self, kind: str, text: str, shape: str) -> dict:
        if shape == "ollama":
            return {
                "message": {"content": text} if kind == "text" else {"content": "", "thinking": text},
                "done": False,
            }
        if kind == "thought":
            fields = self.random.choice(
                [
                    {"delta": {"reasoning_content": text, "content": None}},
                    {"delta": {"reasoning": text, "content": ""}},
                    {
                        "delta": {
                            "content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]
                        }
                    },
                ]
            )
        else:
            fields = {
                "delta": {"delta": {"content": text}},
                "parts": {"delta": {"content": [{"type": "text", "text": text}]}},
                "message": {"message": {"content": text}},
                "text": {"text": text},
            }[shape]
        finish = self.random.choice([{}, {"finish_reason": None}, {"finish_reason": ""}])
        return {"choices": [{"index": 0, **fields, **finish}]}

    def frame(self, value: dict, framing: str, newline: str, *, last: bool = False) -> str:
        spelled = json.dumps(value, ensure_ascii="\\ud" in json.dumps(value) or self.random.random() < 0.5)
        if framing == "lines":
            return spelled + newline
        space = self.random.choice(["", " "])
        if self.random.random() < 0.2:
            lines = json.dumps(value, indent=1).splitlines()
            return newline.join(f"data:{space}{line}" for line in lines) + newline * 2
        tight = self.random.random() < 0.1 and not last
        return f"data:{space}{spelled}" + newline * (1 if tight else 2)

    def noise(self, framing: str, newline: str) -> str:
        if framing == "lines":
            return self.random.choice([newline, '{"type": "ping"}' + newline])
        lines = [
            ": ping",
            "event: message",
            "id: 7",
            "retry: 3",
            "data:",
            "data: {}",
            'data: {"choices": []}',
        ]
        return self.random.choice(lines) + newline * 2


def read(answer: Answer, cuts: random.Random) -> tuple[str, str]:
    """What the reader makes of an answer whose bytes come in random parts: text and the kind of the error."""
    said: list[str] = []
    reader = AnswerReader(said.append, longest=100_000)
    at, error = 0, ""
    try:
        while at < len(answer.body) and not reader.done:
            length = cuts.choice([1, 2, 7, 50, 1000])
            reader.feed(answer.body[at : at + length])
            at += length
            if cuts.random() < 0.05:
                reader.settle()
        reader.finish()
    except Exception as problem:
        error = type(problem).__name__
        reader.abandon()
    return "".join(said), error


@pytest.mark.parametrize("seed", range(SEED, SEED + STREAMS))
def test_random_streams_are_read_as_they_were_meant(seed):
    answer = Maker(seed).make()
    for number in range(3):
        text, error = read(answer, random.Random(seed + number))
        assert text == answer.text, answer.notes
        assert (error == "") == answer.whole, (error, answer.notes)


@pytest.mark.parametrize("seed", range(SEED, SEED + STREAMS))
def test_a_damaged_stream_never_breaks_the_reader_and_never_doubles_text(seed):
    """Bytes are lost, added or turned: only the reader's own errors come, and text that can be published."""
    chance = random.Random(seed)
    answer = Maker(seed).make()
    body = bytearray(answer.body)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(body))
        body[at : at + chance.choice([0, 1, 20])] = chance.choice([b"", b"x", bytes([chance.randrange(256)])])
    cut = Answer(bytes(body[: chance.randint(0, len(body))]), "", False)
    text, error = read(cut, chance)
    text.encode()
    assert "\0" not in text
    assert len(text) <= len(body)
    assert error in (
        "",
        "CutOffError",
        "NotAChatError",
        "ServerSaidError",
        "UnfinishedError",
        "RefusedError",
        "OnlyThoughtsError",
    )


@pytest.mark.parametrize("seed", range(SEED, SEED + STREAMS))
def test_a_stream_that_breaks_off_is_never_taken_for_a_whole_one(seed):
    answer = Maker(seed).make()
    chance = random.Random(seed)
    at = chance.randrange(max(1, len(answer.body) // 2))
    text, error = read(Answer(answer.body[:at], "", False), chance)
    ended = any(sign in answer.body[:at] for sign in (b"finish_reason", b"[DONE", b'"done": true'))
    assert error or ended
    if error == "" and answer.whole:
        assert text == answer.text
