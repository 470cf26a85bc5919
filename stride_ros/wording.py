"""Numbers in sentences: "1 span", "2 spans", "no sentence"."""

from __future__ import annotations


def plural(number: float, one: str, many: str = "") -> str:
    """The noun for a number: ``one`` for exactly 1, else ``many`` (``one`` with an s unless given)."""
    return one if number == 1 else many or f"{one}s"


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, such as "1 span" or "2 spans"."""
    return f"{number} {plural(number, one, many)}"
