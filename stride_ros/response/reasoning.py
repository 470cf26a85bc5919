"""Remove the thoughts of reasoning models: a robot should say only the answer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from stride_ros.response.thought_markers import (
    BARE_HEADERS,
    BEGINNINGS,
    CHANNEL,
    CLOSE,
    ENDS,
    HARMONY,
    IN_TEXT,
    MESSAGE,
    OPEN,
    START,
    TO_ITSELF,
    WRAPPERS,
    Markers,
    closes_of,
    is_closing,
)

_LONGEST_DOUBT = 4096  # characters after an opening within a text that may still turn out to be a quotation
_LONGEST_HEADER = 1000  # characters
_BLOCK = 4096  # characters read at a time: each marker in them costs a copy of what follows it
# A marker between such marks is only mentioned. Straight quotes can also end thoughts and begin an answer.
_QUOTES = {"`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_STRAIGHT = {'"': '"', "'": "'"}


class ReasoningFilter:
    """Passes on the text of an answer without its thoughts, piece by piece.

    `opened` tells whether the prompt itself opened the thoughts, as chat templates of reasoning models do:
    the answer then contains only the closing marker. None means that this is unknown, as with a server: the
    text is held back until something closes thoughts, opens them, or the answer ends. With `literal`, a
    closing without an opening is text; otherwise it is removed. Markers around an answer (<answer>) or at its
    end (<|im_end|>) are left out. Thoughts in any of the known formats are removed wherever they occur; an
    opening within a text that nothing closes is text, too, and so is a marker in quotation marks. Nested
    thoughts must be closed as often as they were opened: what follows the first closing is held back until
    another one or the end of the answer shows what it is.
    """

    def __init__(self, opened: bool | None = None, *, literal: bool = False) -> None:
        self.orphan = False  # the answer closed thoughts that it had not opened
        self.heard = 0  # number of characters so far that are not known to be thoughts
        self.said = False  # some of them are not white space
        self._literal = literal
        self._kept: list[str] | None = [] if opened is None else None  # whole pieces, until more is known
        self._rest = ""  # the end of the fed text, which may be the beginning of a marker
        self._before = ""  # the character before it
        self._close: tuple[str, ...] = (CLOSE,) if opened else ()  # inside thoughts: what closes them
        self._again = OPEN if opened else ""  # the marker that opened them
        self._nested = 0  # how often they were opened again
        self._held: int | None = None  # after the first closing: how many pieces were held back before it,
        self._held_said = False  # and whether anything had been said
        self._sure = bool(opened)  # the content is thoughts even if nothing closes them
        self._doubt = ""
        self._unmarked = False  # their opening counts only at the beginning of an answer
        self._header = False  # between <|channel|> and <|message|>
        self._begun = False  # something other than white space has come
        self._trim = False  # white space after thoughts is removed with them
        self._over = False  # nothing more will come

    @property
    def thinking(self) -> bool:
        """Whether the answer is currently inside thoughts."""
        return bool(self._close) or self._header

    def known(self) -> list[str]:
        """Note that thoughts come separately from the text; return what was held back."""
        kept, self._kept = self._kept or [], None
        self._nested, self._held = 0, None
        return kept

    def feed(self, piece: str) -> list[str]:
        """Read a piece; return the texts to pass on now."""
        out: list[str] = []
        for at in range(0, len(piece), _BLOCK):
            self._read(piece[at : at + _BLOCK], out)
        return out

    def _read(self, piece: str, out: list[str]) -> None:
        text, self._rest = self._rest + piece, ""
        while text:
            if self._header:
                text = self._read_header(text)
            elif self._close:
                text = self._read_thoughts(text, out)
            else:
                text = self._read_text(text, out)

    def finish(self, *, complete: bool = True, suspect: bool = False) -> list[str]:
        """Handle the end of the answer; return the rest of its text.

        `complete`: the answer was not cut off, so an opening that nothing closed was a quotation. `suspect`:
        it probably began inside thoughts, so if it was cut off, the held-back text is not passed on.
        """
        self._over = True
        out: list[str] = []
        self._read("", out)
        if self._close and not self._sure and complete:
            self._say(self._doubt, out)
        self._doubt = ""
        if self._kept is None:
            return out
        return out + (self.known() if complete or not suspect or self._held == 0 else [])

    def _read_text(self, text: str, out: list[str]) -> str:
        if not self._begun:
            start = text.lstrip()
            openings = (*BEGINNINGS, *BARE_HEADERS)
            if not self._over and any(word.startswith(start) and word != start for word in openings):
                self._rest = text
                return ""
            self._begun, self._before = True, ""
            if start.startswith(BARE_HEADERS):
                self._header = True
                self.known()
                return start
            for word, closes in BEGINNINGS.items():
                if start.startswith(word):
                    self._open(word, closes, sure=False, unmarked=True)
                    self._doubt = word
                    return start[len(word) :]
        found = IN_TEXT.search(text)
        if found is None:
            end = len(text) if self._over else IN_TEXT.safe_end(text)
            self._pass_on(text[:end], out)
            self._rest = text[end:]
            return ""
        before, marker, after = text[: found.start()], found[0].lower(), text[found.end() :]
        closes = closes_of(marker)
        quoted = self._quoted(before, after, {**_QUOTES, **_STRAIGHT} if closes else _QUOTES)
        if quoted is None:
            self._pass_on(before, out)
            self._rest = text[found.start() :]
            return ""
        self._before = text[found.end() - 1]
        if quoted:
            self._say(before + found[0], out)
        elif closes:
            first = not before.strip() and not self.said
            self._say(before, out)
            self._open(marker, closes, sure=first)
            self._doubt = "" if first else found[0]
            if first:
                out += self.known()
        elif marker in HARMONY:
            self._say(before, out)
            out += self.known()
            self._header = marker in (START, CHANNEL)
        elif marker in WRAPPERS:
            self._say(before, out)
            self._trim = self._trim or not self.said
        else:
            assert is_closing(marker)
            self._close_nothing(before, found[0], out)
        return after

    def _close_nothing(self, before: str, marker: str, out: list[str]) -> None:
        """Handle a `marker` that closes thoughts while none are open."""
        if self._held is not None:
            self._nested -= 1
            self._forget(self._held, said=self._held_said)
            if not self._nested:
                self._kept, self._held = self._kept if self._held else None, None
        elif self._literal:
            self._say(before + marker, out)
        elif self._kept is not None:
            self.orphan = True
            self._forget()
            self._kept = None
        else:
            self.orphan = True
            self._say(before, out)

    def _forget(self, start: int = 0, *, said: bool = False) -> None:
        """Drop the pieces held back from `start` on, which were thoughts; `said`: the value to restore."""
        assert self._kept is not None
        self.heard -= sum(map(len, self._kept[start:]))
        self.said, self._trim = said, True
        del self._kept[start:]

    def _read_thoughts(self, text: str, out: list[str]) -> str:
        markers = _around(self._again, self._close)
        at = 0
        while True:
            found = markers.search(text, at)
            if found is None:
                end = len(text) if self._over else max(at, markers.safe_end(text))
                break
            quoted = self._quoted(text[: found.start()], text[found.end() :], _QUOTES)
            if quoted is None:
                end = found.start()
                break
            if not quoted and found[0].lower() in self._close:
                return self._leave_thoughts(text[found.end() :], found[0].lower(), out)
            self._nested += not quoted
            at = found.end()
        if not self._sure:
            self._doubt += text[:end]
            self._sure = len(self._doubt) > _LONGEST_DOUBT
        self._before = text[end - 1] if end else self._before
        self._rest = text[end:]
        return ""

    def _leave_thoughts(self, after: str, marker: str, out: list[str]) -> str:
        self._doubt, self._trim, self._before = "", True, marker[-1]
        if self._unmarked:
            out += self.known()
        if self._nested and self._held is None:
            self._kept = self._kept or []
            self._held, self._held_said = len(self._kept), self.said
        self._close, self._unmarked = (), False
        self._header = marker in (START, CHANNEL)
        return after

    def _read_header(self, text: str) -> str:
        at = text.find(MESSAGE)
        if at < 0:
            self._rest = "" if self._over else text[-_LONGEST_HEADER:]
            return ""
        words = text[:at].rpartition(CHANNEL)[2].split()
        self._header, self._trim = False, True
        if words and (words[0] not in ("final", "assistant", "to=user") or TO_ITSELF in words):
            self._open(MESSAGE, (*ENDS, START, CHANNEL), sure=True)
        return text[at + len(MESSAGE) :]

    def _open(self, marker: str, closes: tuple[str, ...], *, sure: bool, unmarked: bool = False) -> None:
        self._again = marker.lower() if closes_of(marker) else ""
        self._close, self._sure, self._unmarked = closes, sure, unmarked

    def _quoted(self, before: str, after: str, quotes: dict[str, str]) -> bool | None:
        """Whether a marker between these texts is only mentioned; None if the next character decides."""
        closing = quotes.get(before[-1:] or self._before)
        if closing is None:
            return False
        if not after and not self._over:
            return None
        return after.startswith(closing)

    def _pass_on(self, text: str, out: list[str]) -> None:
        if text:
            self._before = text[-1]
        self._say(text, out)

    def _say(self, text: str, out: list[str]) -> None:
        if self._trim:
            text = text.lstrip()
            self._trim = not text
        if not text:
            return
        self.heard += len(text)
        self.said = self.said or not text.isspace()
        (out if self._kept is None else self._kept).append(text)


@lru_cache(maxsize=64)
def _around(opening: str, closes: tuple[str, ...]) -> Markers:
    """Markers that may close thoughts or, unless "", open them again."""
    return Markers((*((opening,) if opening else ()), *closes), suffixed=False)


def without_reasoning(pieces: Iterator[str], thinking: bool = False) -> Iterator[str]:
    """Pass on the text of an answer without its thoughts.

    `thinking`: the prompt itself opened the thoughts, as chat templates of reasoning models do. An answer
    that never stops thinking is empty.
    """
    thoughts = ReasoningFilter(thinking, literal=True)
    for piece in pieces:
        yield from thoughts.feed(piece)
    yield from thoughts.finish()
