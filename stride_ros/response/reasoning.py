"""Reasoning models think before they answer; a robot should only say the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

OPEN, CLOSE = "<think>", "</think>"
# What opens and closes thoughts in the texts of reasoning models, in lower case.
_PAIRS = {
    OPEN: CLOSE,
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<thoughts>": "</thoughts>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|thinking|>": "<|/thinking|>",
    "<mm:think>": "</mm:think>",
    "<longcat_think>": "</longcat_think>",
    "<analysis>": "</analysis>",
    "<reflection>": "</reflection>",
    "<unused94>thought": "<unused95>",
    "<|channel>thought": "<channel|>",
}
# Harmony, the format of gpt-oss: <|start|>assistant<|channel|>analysis<|message|>...<|end|>
_START, _CHANNEL, _MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
_ENDS = ("<|end|>", "<|return|>", "<|call|>")
_HARMONY = (_START, _CHANNEL, _MESSAGE, *_ENDS)
# The same after a server removed all special tokens, or only the first one.
_BARE_OPEN, _BARE_CLOSE = "analysis", "assistantfinal"
_BARE_HEADERS = tuple(f"{name}{_MESSAGE}" for name in ("analysis", "commentary", "final"))
_BEGINNINGS = (_BARE_OPEN, *_BARE_HEADERS)

# What closes thoughts that nothing opens, ever.
_CLOSES_ALONE = "[begin final response]"
# What stands around an answer or at its end where a server hands on more than the text: left out.
_WRAPPERS = (
    *("<answer>", "</answer>", "<response>", "</response>", "<|begin_of_box|>", "<|end_of_box|>"),
    *("<|start_response|>", "<|end_response|>", "[end final response]"),
    *("<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|end_of_turn|>", "<|eot_id|>", "<|eom_id|>"),
    *(
        "<end_of_turn>",
        "<turn|>",
        "<end_of_utterance>",
        "<eos>",
        "</s>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
    ),
)

_IN_TEXT = (*_PAIRS, *_PAIRS.values(), _CLOSES_ALONE, *_HARMONY, *_WRAPPERS)
_LONGEST_DOUBT = 4096  # characters after an opening in mid-text that may yet turn out to be a quotation


class ReasoningFilter:
    """Passes on the text of an answer without the thoughts, piece by piece.

    `opened` says whether the prompt itself has opened the thoughts, as chat templates of reasoning models
    do: the answer then holds only what closes them. None means that it is not known, as with a server: the
    text is kept back until something closes thoughts, opens them, or the answer ends. With `literal` a
    closing that belongs to no opening is text; otherwise it is removed. What stands around an answer
    (<answer>) or at its end (<|im_end|>) is left out. Thoughts in any of the known
    spellings are removed wherever they stand; an opening in mid-text that nothing closes is text too.
    """

    def __init__(self, opened: bool | None = None, *, literal: bool = False) -> None:
        self.orphan = False  # thoughts were closed that the answer had not opened
        self.heard = 0  # characters so far that are not known to be thoughts
        self.said = False  # some of it is more than white space
        self._literal = literal
        self._kept: list[str] | None = [] if opened is None else None  # whole pieces, until more is known
        self._rest = ""  # the end of what was fed, which may be the beginning of a marker
        self._close: tuple[str, ...] = (CLOSE,) if opened else ()  # inside of thoughts: what closes them
        self._sure = bool(opened)  # what is inside is thoughts even if nothing closes them
        self._doubt = ""
        self._header = False  # between <|channel|> and <|message|>
        self._begun = False  # something else than white space has come
        self._trim = False  # white space after thoughts goes with them

    @property
    def thinking(self) -> bool:
        """Whether the answer is inside of thoughts now."""
        return bool(self._close) or self._header

    def known(self) -> list[str]:
        """No thoughts are unopened, since they come apart from the text: return what was kept back."""
        kept, self._kept = self._kept or [], None
        return kept

    def feed(self, piece: str) -> list[str]:
        """Return the texts to pass on now."""
        out: list[str] = []
        text, self._rest = self._rest + piece, ""
        while text:
            if self._header:
                text = self._read_header(text)
            elif self._close:
                text = self._read_thoughts(text, out)
            else:
                text = self._read_text(text, out)
        return out

    def finish(self, *, complete: bool = True, suspect: bool = False) -> list[str]:
        """The answer ends: return what is left of its text.

        `complete`: it was not cut, so that an opening that nothing closed was a quotation. `suspect`: it
        probably began inside of thoughts, so that the text kept back of one that was cut is not passed on.
        """
        out: list[str] = []
        if not self._close and not self._header:
            self._say(self._rest, out)
        elif self._close and not self._sure and complete:
            self._say(self._doubt + self._rest, out)
        self._rest = self._doubt = ""
        if self._kept is None:
            return out
        return self.known() if complete or not suspect else []

    def _read_text(self, text: str, out: list[str]) -> str:
        if not self._begun:
            start = text.lstrip()
            if any(word.startswith(start) and word != start for word in _BEGINNINGS):
                self._rest = text
                return ""
            self._begun = True
            if start.startswith(_BARE_HEADERS):
                self._header = True
                self.known()
                return start
            if start.startswith(_BARE_OPEN):
                self._open((_BARE_CLOSE,), sure=False)
                self._doubt = _BARE_OPEN
                return start[len(_BARE_OPEN) :]
        found = _FIND.search(text)
        if found is None:
            end = _safe_end(text, _IN_TEXT)
            self._say(text[:end], out)
            self._rest = text[end:]
            return ""
        before, marker, after = text[: found.start()], found[0].lower(), text[found.end() :]
        if marker in _PAIRS:
            first = not before.strip() and not self.said
            self._say(before, out)
            self._open((_PAIRS[marker],), sure=first)
            self._doubt = "" if first else found[0]
            if first:
                out += self.known()
        elif marker in _HARMONY:
            self._say(before, out)
            out += self.known()
            self._header = marker in (_START, _CHANNEL)
        elif marker in _WRAPPERS:
            self._say(before, out)
            self._trim = self._trim or not self.said
        elif self._literal:
            self._say(before + found[0], out)
        elif self._kept is not None:  # all of it was thoughts
            self.orphan, self._trim = True, True
            self.heard = 0
            self.said = False
            self.known()
        else:
            self.orphan = True
            self._say(before, out)
        return after

    def _read_thoughts(self, text: str, out: list[str]) -> str:
        found = re.search("|".join(map(re.escape, self._close)), text, re.IGNORECASE)
        if found is None:
            end = _safe_end(text, self._close)
            if not self._sure:
                self._doubt += text[:end]
                self._sure = len(self._doubt) > _LONGEST_DOUBT
            self._rest = text[end:]
            return ""
        self._doubt, self._trim = "", True
        bare = self._close == (_BARE_CLOSE,)
        self._close = ()
        marker = found[0].lower()
        if bare:
            out += self.known()
        self._header = marker in (_START, _CHANNEL)
        return text[found.end() :]

    def _read_header(self, text: str) -> str:
        at = text.find(_MESSAGE)
        if at < 0:
            self._rest = text[-1000:]
            return ""
        words = text[:at].rpartition(_CHANNEL)[2].split()
        self._header, self._trim = False, True
        if words and words[0] not in ("final", "assistant"):
            self._open((*_ENDS, _START, _CHANNEL), sure=True)
        return text[at + len(_MESSAGE) :]

    def _open(self, close: tuple[str, ...], *, sure: bool) -> None:
        self._close, self._sure = close, sure

    def _say(self, text: str, out: list[str]) -> None:
        if self._trim:
            text = text.lstrip()
            self._trim = not text
        if not text:
            return
        self.heard += len(text)
        self.said = self.said or not text.isspace()
        (out if self._kept is None else self._kept).append(text)


_FIND = re.compile("|".join(map(re.escape, _IN_TEXT)), re.IGNORECASE)


def _safe_end(text: str, markers: tuple[str, ...]) -> int:
    """Where the longest end of `text` starts that may be the beginning of a marker."""
    longest = max(map(len, markers)) - 1
    for at in range(max(0, len(text) - longest), len(text)):
        if any(marker.startswith(text[at:].lower()) for marker in markers):
            return at
    return len(text)


def without_reasoning(pieces: Iterator[str], thinking: bool = False) -> Iterator[str]:
    """Pass on the text of an answer without its thoughts.

    `thinking`: the prompt itself has opened the thoughts, as chat templates of reasoning models do. An
    answer that never stops thinking is empty.
    """
    thoughts = ReasoningFilter(thinking, literal=True)
    for piece in pieces:
        yield from thoughts.feed(piece)
    yield from thoughts.finish()
