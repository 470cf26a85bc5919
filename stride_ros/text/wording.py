"""Numbers and foreign text in sentences: "1 span", "2 spans", a query with a line break in it."""

from __future__ import annotations

import unicodedata

# Control characters, surrogates, line and paragraph separators.
_CONTROL = frozenset(("Cc", "Cs", "Zl", "Zp"))
# They turn the direction of what follows, so that a line shows something else than it says.
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def escaped(text: str) -> str:
    """The text with its control characters as escapes, such as \\n: it stays on its line of a log.

    Encodings, queries, models' and servers' texts come from others, and a line break in one must not make a
    line of its own, nor an escape code move a terminal's cursor.
    """
    return "".join(letter.encode("unicode_escape").decode() if _acts(letter) else letter for letter in text)


def _acts(letter: str) -> bool:
    return unicodedata.category(letter) in _CONTROL or letter in _DIRECTION


def plural(number: float, one: str, many: str = "") -> str:
    """The noun for a number: `one` for exactly 1, else `many` (`one` with an s unless given)."""
    return one if number == 1 else many or f"{one}s"


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, such as "1 span" or "2 spans"."""
    return f"{number} {plural(number, one, many)}"


def time_label(seconds: float) -> str:
    """Minutes and seconds, like 1:05.2."""
    minutes, rest = divmod(max(round(seconds, 1), 0.0), 60)
    return f"{int(minutes)}:{rest:04.1f}"


def of_camera(name: str, sentence: str) -> str:
    """Return a sentence about a camera, with its name where it has one."""
    return f"{name}: {sentence}" if name else sentence
