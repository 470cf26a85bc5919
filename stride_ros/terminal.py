"""What the commands print: colours where the output is a terminal, and a progress bar on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


class Style:
    """Colours a text for one stream; plain when the stream is no terminal or NO_COLOR is set."""

    def __init__(self, stream: TextIO) -> None:
        self.enabled = stream.isatty() and "NO_COLOR" not in os.environ

    def __call__(self, text: str, *names: str) -> str:
        """Return ``text`` in the named styles (bold, dim, red, green, yellow, blue, cyan)."""
        if not self.enabled or not names:
            return text
        return f"\x1b[{';'.join(_CODES[name] for name in names)}m{text}\x1b[0m"


class Progress:
    """A progress bar with time left and a note; drawn only on a terminal, at most ten times a second.

    ``total`` and the amounts given to `update` are in ``unit`` (s of video, frames, clips ...); a total of 0
    is one that is not known.
    """

    def __init__(self, label: str, total: float, unit: str = "s", stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._label, self.total, self._unit = label, total, unit
        self._begun = time.monotonic()
        self._drawn = float("-inf")
        self._shown = False
        self.enabled = self._stream.isatty()

    def update(self, done: float, note: str = "") -> None:
        """Show that ``done`` of the total is finished."""
        now = time.monotonic()
        if not self.enabled or now - self._drawn < 0.1:
            return
        self._drawn = now
        if self.total <= 0:
            self._write(f"{self._label} {done:.0f} {self._unit}  {note}")
            return
        share = min(max(done / self.total, 0.0), 1.0)
        filled = round(share * 24)
        spent = now - self._begun
        left = f"{spent / share - spent:4.0f} s left" if share > 0.02 else "      "
        line = f"{self._label} {'█' * filled}{'░' * (24 - filled)} {share:4.0%} {done:.0f}/{self.total:.0f} "
        self._write(f"{line}{self._unit} {left}  {note}")

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

    def _write(self, text: str) -> None:
        width = os.get_terminal_size(self._stream.fileno()).columns
        self._stream.write("\r\x1b[K" + text[: width - 1])
        self._stream.flush()
        self._shown = True


def tell_notes(notes: Iterable[str]) -> None:
    """Print what was odd about an input on stderr, a line each."""
    style = Style(sys.stderr)
    for note in notes:
        print(style(f"Note: {note}", "yellow"), file=sys.stderr)
