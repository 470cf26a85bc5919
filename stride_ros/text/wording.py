"""Numbers and foreign text in sentences: "1 span", "2 spans", a query with a line break in it."""

from __future__ import annotations

import unicodedata

# Control characters, surrogates, line and paragraph separators; format characters, which change the text
# direction or are invisible, so that a line shows something else than it contains.
_ACTING = frozenset(("Cc", "Cs", "Zl", "Zp", "Cf"))
# Those of them that words and emoji need: joiners, and Arabic signs around numbers.
_WRITING = frozenset("\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2")
# Invisible letters, which Unicode does not class as format characters.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")


def escaped(text: str) -> str:
    """The text with control and invisible characters escaped, such as \\n, so that it stays on one line.

    Encodings, queries, and texts of models and servers come from outside: a line break in them must not start
    a new line, nor an escape code move the cursor.
    """
    return "".join(letter.encode("unicode_escape").decode() if _acts(letter) else letter for letter in text)


def _acts(letter: str) -> bool:
    if letter.isascii():
        return not " " <= letter <= "~"
    return (unicodedata.category(letter) in _ACTING and letter not in _WRITING) or letter in _UNSEEN


def plural(number: float, one: str, many: str = "") -> str:
    """The noun for a number: `one` for exactly 1, otherwise `many` (by default `one` with an s)."""
    return one if number == 1 else many or f"{one}s"


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, such as "1 span" or "2 spans"."""
    return f"{number} {plural(number, one, many)}"


def time_label(seconds: float) -> str:
    """Minutes and seconds, like 1:05.2."""
    minutes, rest = divmod(max(round(seconds, 1), 0.0), 60)
    return f"{int(minutes)}:{rest:04.1f}"


def length_label(seconds: float) -> str:
    """A length of video as people say it: 6.5 s, 40 s, 2.1 min, 1.3 h."""
    if seconds < 119.5:
        return f"{max(seconds, 0.0):.{1 if seconds < 9.95 else 0}f}".removesuffix(".0") + " s"
    minutes = round(seconds / 60, 1)
    number, unit = (minutes, "min") if minutes < 60 else (seconds / 3600, "h")
    return f"{number:,.1f}".removesuffix(".0") + f" {unit}"


def counted_found(found: int, retracted: int, one: str = "span") -> str:
    """How many spans were found, without those that were retracted, such as "8 spans (and 1 retracted)"."""
    return f"{counted(found, one)} (and {retracted} retracted)" if retracted else counted(found, one)


def of_camera(name: str, sentence: str) -> str:
    """Return a sentence about a camera, with its name if it has one."""
    return f"{name}: {sentence}" if name else sentence
