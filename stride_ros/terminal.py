"""The output of commands: lines that fit the terminal, colours, and a progress bar on stderr."""

from __future__ import annotations

import os
import re
import secrets
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from stride_ros.text.wording import escaped, plural

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What `Style` writes for an escape code until `say` prints it: colours in names and files are not ours.
_MARK = secrets.token_hex(8)
_MARKED = re.compile(f"\x1b{_MARK}(\\[[0-9;]*m)")
_USUAL_COLUMNS = 80
_elsewhere = False  # see `results_on_stderr`
_BAR = 24  # columns of a full progress bar


def columns(stream: TextIO) -> int | None:
    """Width of a stream's terminal, or None if it is not a terminal; COLUMNS takes precedence."""
    if not stream.isatty():
        return None
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        return _USUAL_COLUMNS


def display_width(text: str) -> int:
    """Number of columns of a text: two for wide characters, none for combining ones and colours."""
    return sum(map(_cell, uncoloured(text)))


def uncoloured(text: str) -> str:
    """A text without codes for colours, as other programs put into their messages."""
    return _COLOUR.sub("", text)


def _cell(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrapped(text: str, width: int, hang: int = 0, *, tear: bool = False) -> list[str]:
    """The text in lines of up to `width` columns, broken at spaces or next to wide characters.

    What goes on in a further line is indented by `hang`, at most a third of the width, and so is a text that
    begins with `hang` spaces. A word that is longer than a line, such as a path, stays whole and can be
    copied, unless told to `tear`.
    """
    asked, hang = hang, min(hang, width // 3)
    lines: list[str] = []
    for paragraph in text.split("\n"):
        if asked > hang and paragraph.startswith(" " * asked):
            paragraph = paragraph[asked - hang :]
        line = gap = ""
        for piece in _pieces(paragraph, width - hang if tear else 0):
            if piece.isspace():
                gap += piece
                continue
            room = width - display_width(line)
            needed = display_width(piece)
            if len(gap) + needed > room and line.strip() and needed <= width - hang:
                lines.append(line)
                line, gap = " " * hang, ""
            line += gap + piece
            gap = ""
        lines.append(line.rstrip() if not line.strip() else line)
    return lines


def _pieces(text: str, longest: int = 0) -> Iterator[str]:
    """Runs of spaces, and unbreakable pieces: words (up to `longest` characters), wide characters."""
    for word in re.findall(r" +|[^ ]+", text):
        start = 0
        for i in range(1, len(word)):
            before, here = _cell(word[i - 1]), _cell(word[i])
            torn = longest and i - start >= longest
            # A joiner connects emoji.
            if torn or (here and word[i - 1] != "\u200d" and 2 in (before, here)):
                yield word[start:i]
                start = i
        yield word[start:]


@contextmanager
def results_on_stderr(wanted: bool) -> Iterator[None]:
    """Let `say` print to stderr if `wanted`, since stdout is a file that is being written."""
    global _elsewhere
    before, _elsewhere = _elsewhere, wanted
    try:
        yield
    finally:
        _elsewhere = before


def say(text: str, *styles: str, stream: TextIO | None = None, hang: int = 0) -> None:
    """Print a text, wrapped and in the named styles if the stream (usually stdout) is a terminal.

    Characters that would control the terminal are shown as escapes, except for line breaks and what `Style`
    has coloured.
    """
    stream = stream or (sys.stderr if _elsewhere else sys.stdout)
    width = columns(stream)
    parts = _MARKED.split(text)  # every second one is a code
    safe = "".join(f"\x1b{part}" if i % 2 else printable(part) for i, part in enumerate(parts))
    lines = safe.split("\n") if width is None else wrapped(safe, max(width, 20), hang)
    if styles and Style(stream).enabled:
        begin, end = _codes(styles)
        lines = [f"\x1b{begin}{line}\x1b{end}" if line else line for line in lines]
    print("\n".join(lines), file=stream, flush=True)


def _codes(styles: Sequence[str]) -> tuple[str, str]:
    """What begins and ends these styles, after the escape character."""
    return f"[{';'.join(_CODES[name] for name in styles)}m", "[0m"


def printable(text: str) -> str:
    """The text with terminal control characters escaped, keeping its lines."""
    return "\n".join(escaped(line.replace("\t", " ")) for line in text.split("\n"))


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


class Style:
    """Colours a part of what `say` prints; plain if the stream is not a terminal or NO_COLOR is set."""

    def __init__(self, stream: TextIO) -> None:
        self.enabled = _steers(stream) and "NO_COLOR" not in os.environ

    def __call__(self, text: str, *names: str) -> str:
        """Return `text`, on one line, in the named styles (bold, dim, red, green, yellow, blue, cyan)."""
        text = escaped(text)
        if not self.enabled or not names:
            return text
        begin, end = _codes(names)
        return f"\x1b{_MARK}{begin}{text}\x1b{_MARK}{end}"


def _steers(stream: TextIO) -> bool:
    """Whether the stream is a terminal that understands escape sequences."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Progress:
    """A progress bar with time left and a note; drawn only on a terminal, at most ten times a second.

    `total` and the amounts given to `update` are in `unit` (s of video, or a noun such as "frame"); a total
    of 0 means unknown.
    """

    def __init__(self, label: str, total: float, unit: str = "s", stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._label, self.total, self._unit = escaped(label), total, unit
        self._begun = time.monotonic()
        self._drawn = float("-inf")
        self._shown = False
        self.enabled = _steers(self._stream)

    def update(self, done: float, note: str = "") -> None:
        """Show that `done` of the total is finished."""
        now = time.monotonic()
        if not self.enabled or now - self._drawn < 0.1:
            return
        self._drawn = now
        width = (columns(self._stream) or _USUAL_COLUMNS) - 1  # the last column makes some terminals wrap
        note = f"  {escaped(note)}" if note else ""
        self._write(self._line(done, now - self._begun, note, width))

    def announce(self, text: str) -> None:
        """Show a text, such as what is being waited for, until there is a bar."""
        if self.enabled:
            self._write(escaped(text))

    def clear(self) -> None:
        """Remove the bar, so that a line can be printed in its place."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def _line(self, done: float, spent: float, note: str, width: int) -> str:
        """The longest form that fits: first the bar shrinks, then parts are left out, the note last."""
        unit = self._unit if self._unit == "s" else plural(round(self.total or done), self._unit)
        if self.total <= 0:
            line = f"{self._label} {done:.0f} {unit}{note}"
            return line if display_width(line) <= width else f"{done:.0f} {unit}{note}"
        share = min(max(done / self.total, 0.0), 1.0)
        left = f" {spent / share - spent:4.0f} s left" if share > 0.05 else ""
        percent = f"{share:4.0%}"
        count = f" {done:.0f}/{self.total:.0f} {unit}"
        for figures in (percent + count + left, percent + count):
            room = width - display_width(f"{self._label}  {figures}{note}")
            if room >= 4:
                return f"{self._label} {self._bar(share, min(room, _BAR))} {figures}{note}"
        for line in (f"{self._label} {percent}{count}{note}", f"{self._label} {percent}{note}"):
            if display_width(line) <= width:
                return line
        return f"{percent.lstrip()}{note}"

    def _bar(self, share: float, length: int) -> str:
        full, empty = "█░"
        try:
            (full + empty).encode(self._stream.encoding or "ascii")
        except UnicodeEncodeError:
            full, empty = "#-"
        filled = round(share * length)
        return full * filled + empty * (length - filled)

    def _write(self, text: str) -> None:
        width = (columns(self._stream) or _USUAL_COLUMNS) - 1
        if display_width(text) > width:  # there is only room for one line
            while text and display_width(text) > width - 1:
                text = text[:-1]
            text += "…"
        self._stream.write("\r\x1b[K" + text)
        self._stream.flush()
        self._shown = True


def tell_notes(notes: Iterable[str]) -> None:
    """Print what was odd about an input on stderr, one line each."""
    for note in notes:
        say(f"Note: {escaped(note)}", "yellow", stream=sys.stderr, hang=6)
